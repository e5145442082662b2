//! The daemon's end of the connection with an agent host.

mod task;

use std::{path::PathBuf, time::Duration};

use tokio::{net::UnixStream, sync::mpsc, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use self::task::Task;
use super::{
    host::frames::{End, Job, Made, Start, Workspace},
    io::AgentIo,
};

/// What a host is told.
#[derive(Debug)]
pub enum Command {
    /// Make the workspace ready: answered with [`Event::Prepared`] or [`Event::Failed`].
    Prepare(Workspace),
    /// Start the program: answered with [`Event::Started`] or [`Event::Failed`].
    Start(Start),
    /// End the program and all that it has started: answered with [`Event::Ended`] if it runs.
    Stop(Duration),
    /// Do something in the workspace: answered with [`Event::JobDone`]. Its parts go to `parts`.
    Job(Job, Option<mpsc::Sender<Vec<u8>>>),
}

/// What a host tells, apart from what goes through [`AgentIo`].
#[derive(Debug)]
pub enum Event {
    /// The workspace is ready.
    Prepared {
        /// What keeps programs in it.
        confinement: String,
        /// Where it is. Said by a process that the agent may have taken over.
        directory: PathBuf,
    },
    /// What was asked can't be done.
    Failed(String),
    /// The program runs; these are its streams.
    Started(AgentIo),
    /// The program has ended, nothing of it is left, and all its lines were taken.
    Ended(End),
    /// What came of a job.
    JobDone(Result<Made, String>),
    /// The connection is lost: the last event. What the host had started it ends by itself.
    Lost(String),
}

/// A connection with a host. Dropping it hangs up, and the host ends its agent and itself; unless the
/// daemon has let go of all hosts, which then wait for the next one.
#[derive(Debug)]
pub struct Link {
    commands: mpsc::Sender<Command>,
    events: mpsc::Receiver<Event>,
    task: JoinHandle<()>,
}

impl Link {
    /// Begins to speak with the host at the other end. Once `let_go` is cancelled it is not hung up
    /// on any more.
    pub fn new(stream: UnixStream, let_go: CancellationToken) -> Self {
        let (commands, orders) = mpsc::channel(8);
        let (tell, events) = mpsc::channel(8);
        let task = tokio::spawn(Task::new(stream, let_go, orders, tell).run());
        Self { commands, events, task }
    }

    /// Tells the host something. Lost with the host, which [`Event::Lost`] tells.
    pub async fn tell(&self, command: Command) {
        let _ = self.commands.send(command).await;
    }

    /// What the host tells next. Cancel-safe.
    pub async fn next(&mut self) -> Event {
        self.events.recv().await.unwrap_or_else(|| Event::Lost("the connection is closed".into()))
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.task.abort();
    }
}
