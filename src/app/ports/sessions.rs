//! How agents are run: a session is an agent's workspace, its program, and the conversation with it.

use std::path::PathBuf;

use tokio::sync::{mpsc, oneshot};

use crate::fleet::{AgentId, AgentName, Entry, Publication, Question, Slot, Usage};
pub use crate::fleet::{Driver, FleetToken, Permissions};

/// Opens sessions.
pub trait Sessions: Send + Sync + 'static {
    /// Begins to open a session, and returns at once. What comes of it is reported; the last report
    /// is always [`News::Ended`], and until then the session takes orders.
    ///
    /// Dropping the sender of orders ends the session as [`Order::Close`] does.
    fn open(&self, spec: SessionSpec, reports: mpsc::Sender<Report>) -> mpsc::Sender<Order>;

    /// Publishes the work of an agent without an open session. Takes orders and reports as one does.
    fn publish(&self, whose: Whose, reports: mpsc::Sender<Report>) -> mpsc::Sender<Order>;

    /// Removes the workspace of an agent without an open session; work on a repository is published
    /// before. Reported as [`News::Ended`].
    fn remove(&self, whose: Whose, reports: mpsc::Sender<Report>);

    /// Whether sessions outlive the daemon, to be taken up by the next one.
    fn outlive(&self) -> bool;

    /// Takes up the session of an agent that has outlived the former daemon, where it was left; or
    /// ends it, for this reason. Returns at once. To be asked once for each agent, before any
    /// session is opened.
    fn retake(&self, agent: AgentId, how: Retake, reports: mpsc::Sender<Report>) -> Retaken;

    /// Ends the sessions that have outlived the former daemon and that nobody has retaken.
    fn release_rest(&self);

    /// Lets go of all sessions as they are, and returns at once: nothing is ended, and nothing more
    /// is told or reported. Only for sessions that outlive the daemon, at its end.
    fn let_go(&self);
}

/// What is to become of a session that may have outlived the former daemon.
#[derive(Debug)]
pub enum Retake {
    /// It goes on.
    GoOn(Box<SessionSpec>, Checkpoint),
    /// It ends.
    HangUp,
}

/// What has become of it.
#[derive(Debug)]
pub enum Retaken {
    /// There is none.
    Gone,
    /// It takes orders again. It may yet turn out that it can't go on: [`Cause::NotResumed`].
    GoesOn(mpsc::Sender<Order>),
    /// It is being ended, which will be reported as [`News::Ended`].
    Ends,
}

/// From where a session can be taken up by the next daemon.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// How many of the orders that are [`Order::is_counted`] it has obeyed.
    pub obeyed: u64,
    /// The rest is the session's own.
    pub state: Vec<u8>,
}

/// Whose workspace.
#[derive(Debug, Clone)]
pub struct Whose {
    /// The agent.
    pub agent: AgentId,
    /// Its name: also that of the workspace and of its branch.
    pub name: AgentName,
    /// Where it lives, if this machine has slots.
    pub slot: Option<Slot>,
    /// What its project's repository is, if it has one and is still configured. What the workspace was
    /// made from is known by the workspace.
    pub repository: Option<String>,
}

/// What to run, where.
#[derive(Debug, Clone)]
pub struct SessionSpec {
    /// Whose session.
    pub agent: AgentId,
    /// Its name: also that of its workspace and of its branch.
    pub name: AgentName,
    /// Where it lives, if this machine has slots.
    pub slot: Option<Slot>,
    /// The project: also the name of the bare repository that its branch is published in.
    pub project: String,
    /// What to clone; `None` for an empty directory.
    pub repository: Option<String>,
    /// The program and how to talk to it.
    pub program: Program,
    /// The agent's own name for an earlier session, to be resumed.
    pub resume: Option<String>,
    /// What questions are answered with, without asking a person.
    pub permissions: Permissions,
    /// What the agent may do with the fleet itself.
    pub fleet_token: FleetToken,
    /// The agent's mode, in its own words.
    pub mode: Option<String>,
    /// The agent's model, in its own words.
    pub model: Option<String>,
}

/// An agent program.
#[derive(Clone, PartialEq, Eq)]
pub struct Program {
    /// How to talk to it.
    pub driver: Driver,
    /// The program: a path, or a name to be found on PATH.
    pub command: PathBuf,
    /// Its arguments.
    pub arguments: Vec<String>,
    /// Variables for it. May hold secrets: never shown.
    pub environment: Vec<(String, String)>,
    /// A file with more variables, read when the session opens. They go before those of the program.
    pub environment_file: Option<PathBuf>,
    /// The role's variables, which go before those of the file. May hold secrets: never shown.
    pub overrides: Vec<(String, String)>,
    /// Files to place in its home before it starts: path below the home, and the file to copy.
    pub credentials: Vec<(PathBuf, PathBuf)>,
}

impl std::fmt::Debug for Program {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Program")
            .field("driver", &self.driver)
            .field("command", &self.command)
            .finish_non_exhaustive()
    }
}

/// What a session is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Order {
    /// Begin this turn. Only while no turn runs.
    Prompt {
        /// What is to be done.
        text: String,
    },
    /// End the turn. The turn's end is reported as such.
    Cancel,
    /// Answer a question with one of its choices.
    Answer {
        /// [`Question::id`].
        question: String,
        /// The identity of the choice.
        choice: String,
    },
    /// Publish the agent's branch: answered with [`News::Published`], [`News::NotPublished`] or
    /// [`News::NothingToPublish`].
    Publish {
        /// Whether to commit what is not. Only while no turn runs.
        uncommitted: bool,
    },
    /// End the agent's program and everything that it has started; its work is published.
    Close {
        /// Remove the workspace as well.
        remove_workspace: bool,
        /// How long the program may take to end by itself, in seconds.
        grace_secs: u32,
    },
}

impl Order {
    /// Whether it counts in [`Checkpoint::obeyed`]: what is said to the program does. The end of a
    /// session, and what somebody waits for who is gone with the daemon, is not carried out by the
    /// next one.
    pub fn is_counted(&self) -> bool {
        matches!(self, Self::Prompt { .. } | Self::Cancel | Self::Answer { .. })
    }
}

/// What a session tells.
///
/// To be committed, as a whole and together with the checkpoint, before it is acted on; then `receipt`
/// is to be fired, and the agent's host may forget it. A dropped receipt brings no repetition; a full
/// channel blocks the agent.
#[derive(Debug)]
pub struct Report {
    /// Whose session.
    pub agent: AgentId,
    /// What happened.
    pub news: Vec<News>,
    /// From where it can be taken up after this; without one, from where it could before.
    pub checkpoint: Option<Checkpoint>,
    /// Fired once it is durable.
    pub receipt: Option<oneshot::Sender<()>>,
}

impl Report {
    /// A report that nobody waits for.
    pub fn of(agent: AgentId, news: News) -> Self {
        Self { agent, news: vec![news], checkpoint: None, receipt: None }
    }
}

/// What happened in a session.
#[derive(Debug)]
pub enum News {
    /// The program runs and takes prompts.
    Opened {
        /// Its own name for the session, if it can resume one.
        session: Option<String>,
    },
    /// A piece of the conversation.
    Said(Entry),
    /// The agent waits for an answer.
    Asked(Question),
    /// The agent takes back its question.
    Withdrawn {
        /// [`Question::id`].
        question: String,
    },
    /// What the turn has cost so far.
    Spent(Usage),
    /// The turn is over.
    TurnEnded(Outcome),
    /// The branch with the agent's work is in the project's bare repository.
    Published(Publication),
    /// It could not be brought there, for this reason.
    NotPublished(String),
    /// There is no branch, for this reason.
    NothingToPublish(String),
    /// The workspace was to be removed and is still there, for this reason.
    Kept {
        /// Where it is.
        workspace: PathBuf,
        /// Why.
        why: String,
    },
    /// The session is over, and no process of it is left.
    Ended(Cause),
}

/// How a turn ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The agent says that it is finished.
    Done,
    /// It was canceled.
    Canceled,
    /// It ended without success, for this reason.
    Failed(String),
}

/// How a session ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cause {
    /// As it was ordered.
    Closed,
    /// It never opened, for this reason.
    NotOpened(String),
    /// The program ended by itself with this status.
    Exited(i32),
    /// A signal ended the program.
    Signaled(i32),
    /// The kernel ended the program, or a part of it without which it could not go on, because its
    /// memory was used up.
    OutOfMemory,
    /// It outlived the former daemon, but could not be taken up again, for this reason.
    NotResumed(String),
    /// The host was lost, for this reason.
    Lost(String),
}
