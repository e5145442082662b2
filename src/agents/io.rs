//! An agent program's standard streams, as a driver sees them.

use tokio::sync::{mpsc, oneshot};

/// The program's streams. The program has ended once `lines` has.
#[derive(Debug)]
pub struct AgentIo {
    /// What it writes, in order.
    pub lines: mpsc::Receiver<AgentLine>,
    /// Lines for its standard input, without line ends. Closing it closes the standard input.
    pub input: mpsc::Sender<String>,
}

/// A line that the program wrote, without its line end. Bytes that are no UTF-8 were replaced.
#[derive(Debug)]
pub struct AgentLine {
    /// Where it wrote it.
    pub stream: Stream,
    /// What it wrote. Untrusted.
    pub text: String,
    /// To be fired once everything that comes of it is durable; the host keeps the line until then.
    pub receipt: oneshot::Sender<()>,
}

/// Where a program writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Out,
    /// Standard error.
    Err,
}
