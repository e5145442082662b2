//! The bounded queue and the one thread that empties it: the only place that waits for the journal,
//! for standard error, or for the disk.

use std::{
    io::Write,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
        mpsc::{Receiver, RecvTimeoutError, SyncSender, TryRecvError, TrySendError, sync_channel},
    },
    time::{Duration, Instant},
};

use jiff::{SignedDuration, Timestamp, tz::TimeZone};
use nix::errno::Errno;

use super::{
    access::{Access, AccessFile, Lost},
    entry::Entry,
    human,
    journald::{self, Journal},
    text::VALUE_LIMIT,
};
use crate::app::clock::Clock;

/// Most items waiting. What a burst brings in a second or two; a few MiB as entries usually are.
const QUEUE_LENGTH: usize = 8192;

/// Bytes of a value when an entry was too large for one datagram.
const SMALL_VALUE_LIMIT: usize = 256;

/// How long to wait before telling again about drops that could not be told.
const TELL_AGAIN: Duration = Duration::from_secs(1);

/// How often a failing access log is worth an entry.
const ACCESS_REPORTS: SignedDuration = SignedDuration::from_secs(60);

/// What the thread does, in order.
pub(super) enum Item {
    Entry(Box<Entry>),
    Access(Box<Access>),
    /// Answer when all before is written.
    Flush(SyncSender<()>),
    /// The same, and end.
    Stop(SyncSender<()>),
}

/// What the thread shares with those who log and with the guard.
#[derive(Debug)]
pub(super) struct Shared {
    /// Entries and lines that nobody will see.
    pub(super) dropped: AtomicU64,
    /// Whether the last entry went to the journal.
    pub(super) is_on_journal: AtomicBool,
    /// The access log, if there is one.
    access: Mutex<Option<AccessFile>>,
    /// Held while waiting for [`Shared::room`].
    turn: Mutex<()>,
    /// The thread took something out of the queue.
    room: Condvar,
}

impl Shared {
    pub(super) fn starting_with(access: Option<AccessFile>, is_on_journal: bool) -> Self {
        Self {
            dropped: AtomicU64::new(0),
            is_on_journal: AtomicBool::new(is_on_journal),
            access: Mutex::new(access),
            turn: Mutex::new(()),
            room: Condvar::new(),
        }
    }

    pub(super) fn access(&self) -> MutexGuard<'_, Option<AccessFile>> {
        self.access.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes over to another file, or to none; what is buffered goes to the old one.
    pub(super) fn replace_access(&self, file: Option<AccessFile>) -> Result<(), Lost> {
        let old = std::mem::replace(&mut *self.access(), file);
        old.map_or(Ok(()), |mut old| old.flush())
    }

    fn turn(&self) -> MutexGuard<'_, ()> {
        self.turn.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The end of the queue that takes items.
#[derive(Clone)]
pub(super) struct Queue {
    items: SyncSender<Item>,
    shared: Arc<Shared>,
}

impl Queue {
    pub(super) fn new(shared: Arc<Shared>) -> (Self, Receiver<Item>) {
        let (items, receiver) = sync_channel(QUEUE_LENGTH);
        (Self { items, shared }, receiver)
    }

    /// Puts in an entry or a line, or counts it as dropped. Never waits.
    pub(super) fn offer(&self, item: Item) {
        if self.items.try_send(item).is_err() {
            self.shared.dropped.fetch_add(1, Relaxed);
        }
    }

    /// Puts in a request behind all that is waiting; whether it was answered within the limit.
    pub(super) fn ask(&self, request: fn(SyncSender<()>) -> Item, limit: Duration) -> bool {
        let deadline = Instant::now() + limit;
        let left = || deadline.saturating_duration_since(Instant::now());
        let (done, answer) = sync_channel(1);
        let mut item = request(done);
        let mut turn = self.shared.turn();
        loop {
            match self.items.try_send(item) {
                Ok(()) => break,
                Err(TrySendError::Full(back)) if !left().is_zero() => {
                    item = back;
                    let woken = self.shared.room.wait_timeout(turn, left());
                    turn = woken.unwrap_or_else(PoisonError::into_inner).0;
                }
                Err(_) => return false,
            }
        }
        drop(turn);
        answer.recv_timeout(left()).is_ok()
    }
}

/// The thread's own things.
pub(super) struct Writer {
    pub(super) items: Receiver<Item>,
    pub(super) shared: Arc<Shared>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) journal: Option<Journal>,
    pub(super) stderr: Box<dyn Write + Send>,
    pub(super) time_zone: TimeZone,
    pub(super) reports: Reports,
}

/// What has been told about what went missing.
#[derive(Debug, Default)]
pub(super) struct Reports {
    /// Of [`Shared::dropped`].
    told: u64,
    /// Access log lines lost since the last report.
    lost_lines: u64,
    lost_at: Option<Timestamp>,
}

impl Writer {
    /// Works until told to stop, or until everyone who could log is gone.
    pub(super) fn run(mut self) {
        while let Some(item) = self.next() {
            // With the lock taken, no asker can be between finding the queue full and waiting.
            drop(self.shared.turn());
            self.shared.room.notify_all();
            match item {
                Item::Entry(entry) => self.entry(&entry),
                Item::Access(access) => self.access(&access),
                Item::Flush(done) => {
                    self.settle();
                    let _ = done.try_send(());
                }
                Item::Stop(done) => {
                    self.settle();
                    let _ = done.try_send(());
                    return;
                }
            }
        }
        self.settle();
    }

    fn next(&mut self) -> Option<Item> {
        loop {
            match self.items.try_recv() {
                Ok(item) => return Some(item),
                Err(TryRecvError::Disconnected) => return None,
                Err(TryRecvError::Empty) => self.settle(),
            }
            if self.untold() == 0 {
                return self.items.recv().ok();
            }
            match self.items.recv_timeout(TELL_AGAIN) {
                Ok(item) => return Some(item),
                Err(RecvTimeoutError::Disconnected) => return None,
                Err(RecvTimeoutError::Timeout) => {}
            }
        }
    }

    /// Leaves nothing behind for now: the queue is empty, or someone wants to see it all.
    fn settle(&mut self) {
        let flushed = self.shared.access().as_mut().map_or(Ok(()), AccessFile::flush);
        self.report_lost(flushed);
        if self.untold() > 0 {
            self.tell_drops();
        }
    }

    fn entry(&mut self, entry: &Entry) {
        if !self.write(entry) {
            self.shared.dropped.fetch_add(1, Relaxed);
        } else if self.untold() > 0 {
            self.tell_drops();
        }
    }

    fn access(&mut self, access: &Access) {
        let line = access.line(&self.time_zone);
        let written = self.shared.access().as_mut().map_or(Ok(()), |file| file.write(&line));
        self.report_lost(written);
    }

    fn untold(&self) -> u64 {
        self.shared.dropped.load(Relaxed) - self.reports.told
    }

    fn tell_drops(&mut self) {
        let count = self.untold();
        let message =
            format!("{count} log entries were dropped because the journal did not keep up");
        let entry = Entry::own_warning(self.clock.now(), message).with("dropped", count);
        if self.write(&entry) {
            self.reports.told += count;
        }
    }

    fn report_lost(&mut self, result: Result<(), Lost>) {
        let Err(Lost { lines, error }) = result else { return };
        self.reports.lost_lines += lines;
        let now = self.clock.now();
        // The distance, so that a clock set back does not silence the reports.
        if self.reports.lost_at.is_some_and(|at| now.duration_since(at).abs() < ACCESS_REPORTS) {
            return;
        }
        self.reports.lost_at = Some(now);
        let lines = std::mem::take(&mut self.reports.lost_lines);
        let message = format!("could not write {lines} lines of the access log: {error}");
        let entry = Entry::own_warning(now, message).with("lines", lines).with("error", &error);
        self.entry(&entry);
    }

    /// Whether the entry went anywhere.
    fn write(&mut self, entry: &Entry) -> bool {
        let Some(journal) = &self.journal else { return self.write_line(entry) };
        let sent = match journal.send(&journald::encode(entry, VALUE_LIMIT)) {
            Err(error) if is(&error, Errno::EMSGSIZE) => {
                journal.send(&journald::encode(entry, SMALL_VALUE_LIMIT))
            }
            sent => sent,
        };
        match sent {
            Ok(()) => {
                self.shared.is_on_journal.store(true, Relaxed);
                true
            }
            // It is there but does not take this entry: the next may fare better.
            Err(error)
                if [Errno::EAGAIN, Errno::ENOBUFS, Errno::EMSGSIZE]
                    .iter()
                    .any(|&errno| is(&error, errno)) =>
            {
                false
            }
            // It is not there.
            Err(_) => {
                self.shared.is_on_journal.store(false, Relaxed);
                self.write_line(entry)
            }
        }
    }

    fn write_line(&mut self, entry: &Entry) -> bool {
        // One write for each line, so that others' output does not end up in the middle.
        let line = human::line(entry, &self.time_zone);
        self.stderr.write_all(line.as_bytes()).and_then(|()| self.stderr.flush()).is_ok()
    }
}

fn is(error: &std::io::Error, errno: Errno) -> bool {
    error.raw_os_error() == Some(errno as i32)
}
