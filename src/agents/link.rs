//! The daemon's end of the connection with an agent host.

mod jobs;
mod ledger;
mod task;

use std::{path::PathBuf, time::Duration};

use tokio::{net::UnixStream, sync::mpsc, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use self::{ledger::Ledger, task::Task};
use super::{
    host::frames::{End, Job, Made, Start, Workspace},
    io::{AgentIo, Resumed},
};
use crate::{
    app::ports::sessions::{Checkpoint, Report},
    fleet::AgentId,
};

/// What a host is told, beside what its driver has to say.
#[derive(Debug)]
pub enum Command {
    /// Make the workspace ready: answered with [`Event::Prepared`] or [`Event::Failed`].
    Prepare(Workspace),
    /// What the driver may start: answered with nothing.
    Program(Start),
    /// Start this now. What comes of it goes to the driver.
    Start(Start),
    /// End the program and all that it has started: answered with [`Event::Over`]. The session is not
    /// to be taken up any more.
    Stop(Duration),
    /// Do something in the workspace: answered with [`Event::JobDone`]. Its parts go to `parts`.
    Job(Job, Option<mpsc::Sender<Vec<u8>>>),
}

/// What a host tells, apart from what goes to the driver.
#[derive(Debug)]
pub enum Event {
    /// The workspace is ready.
    Prepared {
        /// What keeps programs in it.
        confinement: String,
        /// Where it is. Said by a process that the agent may have taken over.
        directory: PathBuf,
    },
    /// The workspace can't be made ready.
    Failed(String),
    /// No program runs, and all that it said is reported and durable. Told when one has ended, and
    /// when one was to be stopped.
    Over(Option<End>),
    /// What came of a job.
    JobDone(Result<Made, String>),
    /// This is not the host that the session was with, or it can't go on: told instead of
    /// [`Event::Lost`].
    Refused(String),
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

/// Where a link reports to.
#[derive(Debug, Clone)]
pub struct Teller {
    /// Whose session it is.
    pub agent: AgentId,
    /// Who listens.
    pub reports: mpsc::Sender<Report>,
    /// Whether another daemon may take the session up, so that checkpoints are needed.
    pub keeps: bool,
    /// Once cancelled, the host is told nothing any more, and is not hung up on either.
    pub let_go: CancellationToken,
}

impl Link {
    /// Begins to speak with the host at the other end; what it tells of its program is for a driver.
    pub fn new(stream: UnixStream, teller: Teller) -> (Self, AgentIo) {
        let ledger = Ledger::new(rand::random(), teller.keeps);
        Self::with(stream, teller, ledger, false)
    }

    /// Goes on where a former daemon was. `program` is what the driver may start.
    ///
    /// # Errors
    /// When the checkpoint can't be understood.
    pub fn resume(
        stream: UnixStream,
        teller: Teller,
        checkpoint: &Checkpoint,
        program: Start,
    ) -> Result<(Self, AgentIo, Resumed), String> {
        let (ledger, resumed) = Ledger::restore(rand::random(), checkpoint, program)?;
        let (link, io) = Self::with(stream, teller, ledger, true);
        Ok((link, io, resumed))
    }

    fn with(stream: UnixStream, teller: Teller, ledger: Ledger, resumes: bool) -> (Self, AgentIo) {
        let (commands, orders) = mpsc::channel(8);
        let (tell, events) = mpsc::channel(8);
        let (task, io) = Task::new(stream, teller, ledger, resumes, orders, tell);
        let task = tokio::spawn(task.run());
        (Self { commands, events, task }, io)
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

#[cfg(test)]
mod tests;
