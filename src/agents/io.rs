//! What goes between an agent's host and its driver: what the host tells of the program on one side,
//! and on the other what came of it.

use std::time::Duration;

use tokio::sync::mpsc;

use super::host::frames::End;
use crate::app::ports::sessions::News;

/// A driver's ends.
#[derive(Debug)]
pub struct AgentIo {
    /// What the host tells, in order. Ends when nothing more can come.
    pub heard: mpsc::Receiver<Heard>,
    /// What came of it, and of orders.
    pub steps: mpsc::Sender<Step>,
}

/// Something that a host tells of its program.
#[derive(Debug)]
pub struct Heard {
    /// Grows from each to the next.
    pub number: u64,
    /// What it is.
    pub what: What,
}

/// What a host tells of its program.
#[derive(Debug)]
pub enum What {
    /// It runs.
    Started,
    /// It could not be started, for this reason.
    Failed(String),
    /// A line that it wrote, without its line end. Bytes that are no UTF-8 were replaced. Untrusted.
    Line(Stream, String),
    /// It has ended, nothing of it is left, and this is all that it said.
    Ended(End),
}

/// Where a program writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Out,
    /// Standard error.
    Err,
}

/// What came of all that was heard and obeyed since the last one. It becomes durable as a whole, and
/// only then the host is told anything of it, and forgets what it had told.
#[derive(Debug, Default)]
pub struct Step {
    /// What happened.
    pub news: Vec<News>,
    /// What the host is told.
    pub says: Vec<Say>,
    /// The newest that was heard: [`Heard::number`].
    pub heard: u64,
    /// How many orders were obeyed since the session began.
    pub obeyed: u64,
    /// What the next daemon's driver has to know to go on from here: JSON. `None` if it can't: before
    /// the session is open, and once it closes.
    pub state: Option<String>,
}

/// Something that a host is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Say {
    /// A line for the program's standard input, without its line end.
    Line(String),
    /// Close its standard input.
    CloseInput,
    /// Start the program with these arguments.
    Start(Vec<String>),
    /// End it, and all that it has started.
    Stop(Duration),
}

/// Where a former daemon's driver was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resumed {
    /// [`Step::obeyed`].
    pub obeyed: u64,
    /// [`Step::heard`].
    pub heard: u64,
    /// [`Step::state`].
    pub state: String,
}
