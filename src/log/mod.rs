//! The log: journald's native protocol when standard error is the journal, else lines for people;
//! and the access log, if one is wanted.
//!
//! Any thread may log and none ever waits for it: events become owned entries in a bounded queue
//! (`layer`), and one thread writes them (`writer`). What does not fit is dropped, counted and
//! told. Audit events go to the recorder too. The reasons for not using tracing-journald are in `docs/adr/0003-journald-writer.md`.
//!
//! Everything from outside is cut and escaped before it is queued (`text`), whatever the sink.

mod access;
mod entry;
mod filter;
mod human;
mod journald;
mod layer;
mod text;
mod writer;

use std::{
    env,
    io::{self, Write},
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, RwLock, atomic::Ordering::Relaxed},
    thread::{self, JoinHandle},
    time::Duration,
};

use jiff::tz::TimeZone;
use tracing::Subscriber;
use tracing_subscriber::{
    filter::{ParseError, Targets},
    layer::SubscriberExt,
};

use self::{
    access::AccessFile,
    entry::Entry,
    journald::Journal,
    layer::{Chain, LogLayer, Rules},
    writer::{Item, Queue, Reports, Shared, Writer},
};
use crate::app::{clock::Clock, recorder::Recorder, settings::LogSettings};

/// How long the end of the program may be held up by a sink that does not take the last entries.
pub const FLUSH_TIMEOUT: Duration = Duration::from_secs(1);

/// Where entries go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sink {
    /// journald, by its native protocol.
    Journal,
    /// Lines on standard error.
    Stderr,
}

/// Why the log could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum InitError {
    /// The filter is not `level` and `target=level` directives.
    #[error("invalid log filter `{filter}`")]
    Filter {
        /// The filter.
        filter: String,
        /// What is wrong with it.
        #[source]
        source: ParseError,
    },
    /// The access log cannot be written.
    #[error("could not open the access log `{}`", path.display())]
    AccessFile {
        /// Its path.
        path: PathBuf,
        /// The system's reason; `ELOOP` if the path is a symbolic link.
        #[source]
        source: io::Error,
    },
    /// No socket to send entries from.
    #[error("could not make a socket for the journal")]
    Socket(#[source] io::Error),
    /// No thread to write entries.
    #[error("could not start the log's thread")]
    Thread(#[source] io::Error),
    /// The process has a log already.
    #[error("the log is already set up")]
    Twice(#[source] tracing::subscriber::SetGlobalDefaultError),
}

/// What the process offers to write to. Tests bring their own.
pub struct Output {
    /// journald's socket, if standard error is the journal.
    pub journal: Option<PathBuf>,
    /// Where human lines go.
    pub stderr: Box<dyn Write + Send>,
    /// The zone of the times in human lines and in the access log.
    pub time_zone: TimeZone,
    /// Who makes audit events durable.
    pub recorder: Option<Recorder>,
}

impl Output {
    /// What this process was started with.
    pub fn of_process(settings: &LogSettings, recorder: Recorder) -> Self {
        let is_journal = nix::sys::stat::fstat(io::stderr()).is_ok_and(|stat| {
            let variable = env::var_os("JOURNAL_STREAM");
            journald::is_stream(variable.as_deref(), stat.st_dev, stat.st_ino)
        });
        Self {
            journal: is_journal.then(|| settings.journal_socket.clone()),
            stderr: Box::new(io::stderr()),
            time_zone: TimeZone::system(),
            recorder: Some(recorder),
        }
    }
}

/// Sets up the log of this process.
///
/// Keep the guard until the last moment: when it is dropped, what is queued gets written, and what
/// is logged afterwards does not.
///
/// # Errors
///
/// The filter is invalid, the access log cannot be opened, the process is out of descriptors or
/// threads, or there is a log already.
pub fn init(
    settings: &LogSettings,
    clock: Arc<dyn Clock>,
    recorder: Recorder,
) -> Result<Guard, InitError> {
    let (subscriber, guard) = build(settings, clock, Output::of_process(settings, recorder))?;
    tracing::subscriber::set_global_default(subscriber).map_err(InitError::Twice)?;
    Ok(guard)
}

/// The same for one of several subscribers in a process, not set as anyone's default.
///
/// # Errors
///
/// As [`init`], except that there can be others.
pub fn build(
    settings: &LogSettings,
    clock: Arc<dyn Clock>,
    output: Output,
) -> Result<(impl Subscriber + Send + Sync + use<>, Guard), InitError> {
    let targets = parse_filter(&settings.filter)?;
    let access = settings.access_file.as_deref().map(open_access_file).transpose()?;
    let rules = Arc::new(RwLock::new(Rules { targets, access: access.is_some() }));

    let is_on_journal = output.journal.as_deref().is_some_and(journald::is_reachable);
    let shared = Arc::new(Shared::starting_with(access, is_on_journal));
    let (queue, items) = Queue::new(Arc::clone(&shared));
    let writer = Writer {
        items,
        shared: Arc::clone(&shared),
        clock: Arc::clone(&clock),
        journal: output.journal.map(Journal::new).transpose().map_err(InitError::Socket)?,
        stderr: output.stderr,
        time_zone: output.time_zone,
        reports: Reports::default(),
    };
    let thread = thread::Builder::new()
        .name("log".to_owned())
        .spawn(move || writer.run())
        .map_err(InitError::Thread)?;

    let layer = LogLayer {
        rules: Arc::clone(&rules),
        queue: queue.clone(),
        clock: Arc::clone(&clock),
        recorder: output.recorder,
    };
    let subscriber = tracing_subscriber::registry().with(layer);
    Ok((subscriber, Guard { rules, queue, shared, clock, thread: Some(thread) }))
}

/// Whether a filter would be accepted, for checking settings before they are used.
///
/// # Errors
///
/// [`InitError::Filter`], as `init` would.
pub fn check_filter(filter: &str) -> Result<(), InitError> {
    parse_filter(filter).map(drop)
}

/// Holds the log. Dropping it writes what is queued, for at most one second.
pub struct Guard {
    rules: Arc<RwLock<Rules>>,
    queue: Queue,
    shared: Arc<Shared>,
    clock: Arc<dyn Clock>,
    thread: Option<JoinHandle<()>>,
}

impl Guard {
    /// Takes over the filter, and opens the access log anew (moved, closed or rotated).
    ///
    /// What cannot be taken over stays as it was, and a warning tells. Where entries go does not
    /// change. Opens a file, so it may wait for the disk.
    pub fn reload(&self, settings: &LogSettings) {
        let targets = parse_filter(&settings.filter)
            .inspect_err(|error| self.warn("the log filter stays as it was", error))
            .ok();
        match settings.access_file.as_deref().map(open_access_file).transpose() {
            Ok(file) => {
                if let Err(lost) = self.shared.replace_access(file) {
                    let text = format!("could not write {} lines of the access log", lost.lines);
                    self.warn(&text, &lost.error);
                }
            }
            Err(error) => self.warn("the access log stays as it was", &error),
        }

        let access = self.shared.access().is_some();
        {
            let mut rules = self.rules.write().unwrap_or_else(PoisonError::into_inner);
            rules.access = access;
            if let Some(targets) = targets {
                rules.targets = targets;
            }
        }
        // Asks the layer about every call site, which reads the rules: not while they are locked.
        tracing::callsite::rebuild_interest_cache();
    }

    /// Waits until all that was logged before is written; whether that was in time.
    pub fn flush(&self, limit: Duration) -> bool {
        self.queue.ask(Item::Flush, limit)
    }

    /// Where the last entry went, or the first one will.
    pub fn sink(&self) -> Sink {
        if self.shared.is_on_journal.load(Relaxed) { Sink::Journal } else { Sink::Stderr }
    }

    /// How many entries were dropped so far, because the queue was full or no sink took them.
    pub fn dropped(&self) -> u64 {
        self.shared.dropped.load(Relaxed)
    }

    fn warn(&self, text: &str, error: &(dyn std::error::Error + 'static)) {
        let error = Chain(error);
        let entry = Entry::own_warning(self.clock.now(), format!("{text}: {error}"));
        self.queue.offer(Item::Entry(Box::new(entry.with("error", &error))));
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        // A thread that does not answer hangs in a write: it ends with the process.
        if self.queue.ask(Item::Stop, FLUSH_TIMEOUT)
            && let Some(thread) = self.thread.take()
        {
            let _ = thread.join();
        }
    }
}

fn parse_filter(filter: &str) -> Result<Targets, InitError> {
    filter::parse(filter).map_err(|source| InitError::Filter { filter: filter.to_owned(), source })
}

fn open_access_file(path: &Path) -> Result<AccessFile, InitError> {
    AccessFile::open(path).map_err(|source| InitError::AccessFile { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests;
