//! The thread that writes: what waits while the disk is busy is made durable together.

use std::{
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use jiff::Timestamp;
use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};

use super::{
    changes::{self, Failure},
    events,
    words::{self, Trouble},
};
use crate::app::{
    metrics::{Buckets, Histogram},
    ports::{
        StoreError,
        event_store::{Event, Retention},
        fleet_store::Change,
    },
};

/// Most calls of one transaction: about 5 ms of work beside the disk's, so that the first of
/// them does not wait long for the last.
const MAX_BATCH: usize = 256;

/// What is to be done, all or nothing.
#[derive(Debug)]
pub(super) enum Work {
    Changes(Vec<Change>),
    Record(Vec<Event>),
    Expire(Retention, Timestamp, Duration),
}

/// How many rows were removed by [`Work::Expire`]; else 0.
pub(super) type Outcome = Result<u64, StoreError>;

/// One call.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) work: Work,
    pub(super) answer: oneshot::Sender<Outcome>,
}

/// Counts what was made durable.
#[derive(Debug, Default)]
pub struct Committed {
    calls: AtomicU64,
    transactions: Histogram,
}

impl Committed {
    /// Calls of `commit` that succeeded.
    pub fn calls(&self) -> u64 {
        self.calls.load(Ordering::Relaxed)
    }

    /// The transactions that it took, and how long: each waited once for the disk.
    pub fn transactions(&self) -> Buckets {
        self.transactions.read()
    }
}

/// The connection that writes.
#[derive(Debug)]
pub(super) struct Writer {
    db: Connection,
    path: PathBuf,
    /// Which file it was when it was opened.
    file: Option<Identity>,
    committed: Arc<Committed>,
}

/// A file, whatever its name: its device and its number there.
type Identity = (u64, u64);

fn identity(path: &Path) -> Option<Identity> {
    fs::metadata(path).ok().map(|meta| (meta.dev(), meta.ino()))
}

impl Writer {
    pub(super) fn new(db: Connection, path: PathBuf, committed: Arc<Committed>) -> Self {
        Self { db, file: identity(&path), path, committed }
    }

    #[cfg(test)]
    pub(super) fn connection(&self) -> &Connection {
        &self.db
    }

    #[cfg(test)]
    pub(super) fn committed(&self) -> &Committed {
        &self.committed
    }

    /// Carries out calls in their order until nobody can make one any more.
    pub(super) fn run(self, mut calls: mpsc::Receiver<Call>) {
        let mut batch = Vec::new();
        while calls.blocking_recv_many(&mut batch, MAX_BATCH) > 0 {
            self.commit(&mut batch);
        }
    }

    /// Makes each call's changes, or none of that call's, durable together; then answers all.
    pub(super) fn commit(&self, batch: &mut Vec<Call>) {
        // SQLite goes on with a file that has lost its name, and the next start would not find it.
        if identity(&self.path) != self.file {
            for call in batch.drain(..) {
                let _ = call.answer.send(Err(words::away(&self.path)));
            }
            return;
        }
        let start = Instant::now();
        let outcomes = self.transaction(batch);
        if outcomes.is_err() && !self.db.is_autocommit() {
            // If even this fails, so will the next `BEGIN`, and that is told.
            let _ = self.db.execute_batch("ROLLBACK");
        }
        match outcomes {
            Ok(outcomes) => {
                let made = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
                self.committed.calls.fetch_add(made as u64, Ordering::Relaxed);
                self.committed.transactions.observe(start.elapsed());
                for (call, outcome) in batch.drain(..).zip(outcomes) {
                    // Not everyone waits for the answer.
                    let _ = call.answer.send(outcome);
                }
            }
            Err(trouble) => {
                for call in batch.drain(..) {
                    let _ = call.answer.send(Err(trouble.words(&self.path)));
                }
            }
        }
    }

    /// # Errors
    /// When nothing of the batch can be made.
    fn transaction(&self, batch: &[Call]) -> Result<Vec<Outcome>, Trouble> {
        let mut outcomes = Vec::with_capacity(batch.len());
        self.step("BEGIN IMMEDIATE")?;
        for call in batch {
            outcomes.push(self.call(&call.work)?);
        }
        self.step("COMMIT")?;
        Ok(outcomes)
    }

    /// One call's work, all or nothing.
    ///
    /// # Errors
    /// When the trouble is not this call's alone.
    fn call(&self, work: &Work) -> Result<Outcome, Trouble> {
        self.step("SAVEPOINT call")?;
        let error = match self.work(work) {
            Ok(removed) => {
                self.step("RELEASE call")?;
                return Ok(Ok(removed));
            }
            Err(Failure::Refused(words)) => words,
            Err(Failure::Trouble(trouble)) if trouble.is_the_calls_own() => {
                trouble.words(&self.path)
            }
            Err(Failure::Trouble(trouble)) => return Err(trouble),
        };
        self.step("ROLLBACK TO call")?;
        self.step("RELEASE call")?;
        Ok(Err(error))
    }

    fn work(&self, work: &Work) -> Result<u64, Failure> {
        match work {
            Work::Changes(changes) => {
                changes.iter().try_for_each(|change| changes::apply(&self.db, change)).map(|()| 0)
            }
            Work::Record(events) => events::record(&self.db, events).map(|()| 0),
            Work::Expire(retention, now, passed) => {
                events::expire(&self.db, *retention, *now, *passed)
            }
        }
    }

    fn step(&self, sql: &str) -> Result<(), Trouble> {
        self.db.prepare_cached(sql)?.execute(())?;
        Ok(())
    }
}
