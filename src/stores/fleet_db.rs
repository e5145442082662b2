//! The fleet, and what has happened, in an SQLite database, `fleet.db` in the state directory.
//!
//! One thread owns the connection that writes; what is committed while the disk is busy goes to
//! it in one transaction. Readers have a connection that can't write.

mod changes;
mod events;
mod examine;
mod file;
mod read;
mod rows;
mod schema;
mod sessions;
mod wal;
mod words;
mod write;

#[cfg(test)]
mod tests;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    thread::JoinHandle,
    time::Duration,
};

use jiff::Timestamp;
use rusqlite::Connection;
use tokio::sync::{Mutex, mpsc, oneshot};

pub use self::{
    examine::{Examined, examine},
    write::Committed,
};
use self::{
    file::Location,
    words::Trouble,
    write::{Call, Outcome, Work, Writer},
};
use super::refusal::{failed, refused};
use crate::{
    app::ports::{
        StoreError,
        event_store::{Event, EventStore, Events, Query, Retention},
        fleet_store::{Change, FleetStore, Page, Paged, Stored, StoredFleet},
    },
    fleet::{AgentId, LogEntry, Task, TaskId},
};

/// Calls that may wait for the disk. Agents are read no further while their lines wait, so this
/// is only reached when the disk has stopped; then a call is refused rather than memory used up.
const MAX_WAITING: usize = 16 * 1024;

/// The fleet's database. Dropping it waits until what was committed is on the disk.
#[derive(Debug)]
pub struct FleetDb {
    path: PathBuf,
    /// `None` only while it is dropped.
    calls: Option<mpsc::Sender<Call>>,
    writer: Option<JoinHandle<()>>,
    committed: Arc<Committed>,
    /// `None` once it is closed.
    reader: Option<Arc<Mutex<Connection>>>,
}

impl FleetDb {
    /// Opens the database in a state directory; makes it, mode 0600, if there is none, and brings
    /// one of an earlier version up to date. Blocks on the disk.
    ///
    /// # Errors
    /// When the file is not ours, not safe, damaged, or of a later version (it was not changed
    /// then), or when the disk refuses.
    pub fn open(state_dir: &Path) -> Result<Self, StoreError> {
        let location = Location::check(state_dir)?;
        let path = location.path.clone();
        let connection = file::open(&location, schema::STEPS)?;
        let reader = file::reader(&path).map_err(|e| Trouble::from(e).words(&path))?;
        let committed = Arc::new(Committed::default());
        let writer = Writer::new(connection, path.clone(), Arc::clone(&committed));
        let (calls, waiting) = mpsc::channel(MAX_WAITING);
        let writer = std::thread::Builder::new()
            .name("fleet-db".to_owned())
            .spawn(move || writer.run(waiting))
            .map_err(|e| failed("start the thread that writes", &path, e))?;
        Ok(Self {
            path,
            calls: Some(calls),
            writer: Some(writer),
            committed,
            reader: Some(Arc::new(Mutex::new(reader))),
        })
    }

    /// What was made durable since the start.
    pub fn committed(&self) -> &Committed {
        &self.committed
    }

    /// Has it done in the order of these calls, whether or not the future is polled.
    fn have_done(&self, work: Work) -> Stored<u64> {
        let enqueued = self.enqueue(work);
        let path = self.path.clone();
        Box::pin(async move { enqueued?.await.unwrap_or_else(|_| Err(ended(&path))) })
    }

    fn enqueue(&self, work: Work) -> Result<oneshot::Receiver<Outcome>, StoreError> {
        let (answer, answered) = oneshot::channel();
        let Some(calls) = &self.calls else { return Err(ended(&self.path)) };
        match calls.try_send(Call { work, answer }) {
            Ok(()) => Ok(answered),
            Err(mpsc::error::TrySendError::Full(_)) => Err(overrun(&self.path)),
            Err(mpsc::error::TrySendError::Closed(_)) => Err(ended(&self.path)),
        }
    }

    /// Reads in a thread that may block. Readers take turns, so that waiting takes no threads.
    fn read<T: Send + 'static>(
        &self,
        what: impl FnOnce(&mut Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Stored<T> {
        let (reader, path) = (self.reader.clone(), self.path.clone());
        Box::pin(async move {
            let Some(reader) = reader else { return Err(ended(&path)) };
            let mut connection = reader.lock_owned().await;
            let read = tokio::task::spawn_blocking(move || what(&mut connection)).await;
            match read {
                Ok(read) => read.map_err(|e| Trouble::from(e).words(&path)),
                // The runtime ends before it got to it.
                Err(_) => Err(ended(&path)),
            }
        })
    }
}

impl Drop for FleetDb {
    fn drop(&mut self) {
        // First: only a connection that may write leaves one file to back up, and only if it is the last.
        self.reader = None;
        self.calls = None;
        if let Some(writer) = self.writer.take() {
            // A panic in it was reported where it happened.
            let _ = writer.join();
        }
    }
}

impl FleetStore for FleetDb {
    fn load(&self) -> Result<StoredFleet, StoreError> {
        // Its own connection: the other may be waited for only by async code.
        file::reader(&self.path)
            .and_then(|mut connection| read::load(&mut connection))
            .map_err(|e| Trouble::from(e).words(&self.path))
    }

    fn commit(&self, changes: Vec<Change>) -> Stored<()> {
        let committed = self.have_done(Work::Changes(changes));
        Box::pin(async move { committed.await.map(drop) })
    }

    fn task(&self, id: TaskId) -> Stored<Option<Task>> {
        self.read(move |connection| read::task(connection, id))
    }

    fn last_message(&self, task: TaskId) -> Stored<Option<String>> {
        self.read(move |connection| read::last_message(connection, task))
    }

    fn history(&self, agent: AgentId, page: Page) -> Stored<Paged<Task>> {
        self.read(move |connection| read::history(connection, agent, page))
    }

    fn log(&self, agent: AgentId, page: Page) -> Stored<Paged<LogEntry>> {
        self.read(move |connection| read::log(connection, agent, page))
    }

    fn log_after(&self, agent: AgentId, after: i64, limit: usize) -> Stored<Vec<LogEntry>> {
        self.read(move |connection| read::log_after(connection, agent, after, limit))
    }
}

impl EventStore for FleetDb {
    fn record(&self, events: Vec<Event>) -> Stored<()> {
        let recorded = self.have_done(Work::Record(events));
        Box::pin(async move { recorded.await.map(drop) })
    }

    fn expire(&self, retention: Retention, now: Timestamp, passed: Duration) -> Stored<u64> {
        self.have_done(Work::Expire(retention, now, passed))
    }

    fn events(&self, query: Query) -> Stored<Events> {
        self.read(move |connection| events::find(connection, &query))
    }
}

fn overrun(path: &Path) -> StoreError {
    refused(
        format!("the disk does not keep up: {MAX_WAITING} changes wait for `{}`", path.display()),
        "look whether the disk has stopped (`iostat -x 1`, `journalctl -k`), then try again",
    )
}

fn ended(path: &Path) -> StoreError {
    refused(
        format!("`{}` is closed", path.display()),
        "fleet-mcp is stopping; if it is not, its log says what went wrong: restart it",
    )
}
