//! The owner of the fleet: an actor. Others send it requests and read its snapshots.
//!
//! It works in batches: everything that has arrived is stepped through the lifecycle, the changes
//! are committed together, and only then anything is published, answered, acknowledged or done.
//! While one batch is being committed the next one gathers: the slower the disk, the larger the
//! batches.

mod batch;
mod berth;
mod deeds;
mod effects;
mod fleet;
mod news;
mod revive;
mod spec;
mod work;

use std::sync::Arc;

use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use self::{batch::Mail, fleet::Fleet, work::Told};
pub use self::{
    revive::Revived,
    work::{Branch, Work},
};
use super::{
    clock::Clock,
    error::FleetError,
    metrics::Metrics,
    ports::{
        StoreError,
        fleet_store::FleetStore,
        sessions::{Report, Sessions},
        slots::Slots,
    },
    settings::Settings,
};
use crate::{
    auth::Projects,
    fleet::{AgentName, Snapshot, TaskId, snapshot::Member},
};

/// Requests that may wait; more are told to come back.
const MAX_REQUESTS: usize = 256;
/// Reports that may wait; then agents are held up.
const MAX_REPORTS: usize = 2048;
/// Most of either in one batch.
const MAX_BATCH: usize = 1024;
/// How often limits of time are looked at.
const TICK: std::time::Duration = std::time::Duration::from_millis(500);
/// How long to wait before the store is tried again.
const STORE_PAUSE: std::time::Duration = std::time::Duration::from_secs(1);

/// What somebody wants of the fleet.
#[derive(Debug, Clone)]
pub enum Wish {
    /// A new agent, with its first task.
    Create {
        /// Its name.
        name: AgentName,
        /// The project's name, in its own spelling.
        project: String,
        /// The role's name, in its own spelling.
        role: String,
        /// What is to be done.
        task: String,
    },
    /// Give an agent a task.
    Start {
        /// The agent.
        name: AgentName,
        /// What is to be done.
        task: String,
    },
    /// Stop an agent's task.
    Cancel {
        /// The agent.
        name: AgentName,
        /// Only this one; the present one if it is left out.
        task: Option<TaskId>,
    },
    /// Answer an agent's question.
    Answer {
        /// The agent.
        name: AgentName,
        /// The question's identity; the present question if it is left out.
        question: Option<String>,
        /// The identity, the name or the kind of the choice.
        choice: String,
    },
    /// End an agent's program and start it anew.
    Restart(AgentName),
    /// Publish an agent's work.
    Publish(AgentName),
    /// End an agent's program and remove everything.
    Delete(AgentName),
}

impl Wish {
    /// The agent that has to be there for it.
    fn on_agent(&self) -> Option<&AgentName> {
        match self {
            Self::Create { .. } => None,
            Self::Start { name, .. }
            | Self::Answer { name, .. }
            | Self::Cancel { name, .. }
            | Self::Restart(name)
            | Self::Publish(name)
            | Self::Delete(name) => Some(name),
        }
    }
}

/// Where wishes go.
#[derive(Debug, Clone)]
pub struct Supervisor {
    wishes: mpsc::Sender<Asked>,
    pings: mpsc::Sender<oneshot::Sender<()>>,
}

/// Where they arrive.
struct Requests {
    wishes: mpsc::Receiver<Asked>,
    /// To be answered at each turn of the supervisor.
    pings: mpsc::Receiver<oneshot::Sender<()>>,
}

type Reply = oneshot::Sender<Result<Arc<Member>, FleetError>>;

/// A wish on its way.
struct Asked {
    wish: Wish,
    /// What exists for whoever asks: judged when the wish is, so that no agent of the same name in
    /// another project can slip in between.
    projects: Projects,
    reply: Reply,
    /// Where the end of what is set in motion is told: of a publication, or of a deletion.
    told: Option<Told>,
}

/// What the supervisor works with.
pub struct Parts {
    /// Where the fleet outlives the daemon.
    pub store: Arc<dyn FleetStore>,
    /// How agents are run.
    pub sessions: Arc<dyn Sessions>,
    /// Where agents can live; `None` if there is room for any number.
    pub slots: Option<Arc<dyn Slots>>,
    /// Projects, roles, programs and limits.
    pub settings: watch::Receiver<Arc<Settings>>,
    /// Tasks are counted here.
    pub metrics: Arc<Metrics>,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
}

impl Supervisor {
    /// Revives the fleet from the store and starts to work. Blocks on the disk.
    ///
    /// # Errors
    /// When the store can't be read.
    pub fn revive(parts: Parts) -> Result<(Self, Revived), StoreError> {
        let (wishes, asked) = mpsc::channel(MAX_REQUESTS);
        let (pings, pinged) = mpsc::channel(1);
        let revived = Revived::load(parts, Requests { wishes: asked, pings: pinged })?;
        Ok((Self { wishes, pings }, revived))
    }

    /// Returns once the supervisor has turned to what it is asked; never, if it hangs or has ended.
    /// To be given up on after a time.
    pub async fn ping(&self) {
        let (pong, answer) = oneshot::channel();
        if self.pings.send(pong).await.is_err() || answer.await.is_err() {
            std::future::pending().await
        }
    }

    /// Has a wish of somebody who may see these projects fulfilled: returns once that is durable and
    /// everyone can see it. The agent is as it was at that moment; what was set in motion goes on.
    ///
    /// # Errors
    /// When it can't be fulfilled; nothing has changed then.
    pub async fn ask(&self, wish: Wish, projects: Projects) -> Result<Arc<Member>, FleetError> {
        self.send(wish, projects, None).await
    }

    /// As [`Supervisor::ask`], with a line on which the end of it is told: of a publication, or of a
    /// deletion. The line is cut if the daemon stops before.
    ///
    /// # Errors
    /// As [`Supervisor::ask`].
    pub async fn ask_and_hear(
        &self,
        wish: Wish,
        projects: Projects,
    ) -> Result<(Arc<Member>, oneshot::Receiver<Work>), FleetError> {
        let (told, end) = oneshot::channel();
        Ok((self.send(wish, projects, Some(told)).await?, end))
    }

    async fn send(
        &self,
        wish: Wish,
        projects: Projects,
        told: Option<Told>,
    ) -> Result<Arc<Member>, FleetError> {
        let (reply, answer) = oneshot::channel();
        let sent = self.wishes.try_send(Asked { wish, projects, reply, told });
        sent.map_err(|_full| FleetError::unavailable("the fleet is busy; try again"))?;
        answer.await.unwrap_or_else(|_| Err(FleetError::unavailable("the fleet is stopping")))
    }
}

/// Works until `stop`; then ends all sessions, leaves agents as they are in the store, and returns.
async fn work(
    mut fleet: Fleet,
    requests: Requests,
    mut reports: mpsc::Receiver<Report>,
    snapshot: watch::Sender<Arc<Snapshot>>,
    mut mails: Vec<Mail>,
    stop: CancellationToken,
) {
    let Requests { mut wishes, mut pings } = requests;
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        if mails.is_empty() {
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                Some(asked) = wishes.recv() => mails.push(Mail::Wish(asked)),
                Some(ping) = pings.recv() => drop(ping.send(())),
                Some(report) = reports.recv() => mails.push(Mail::Report(report)),
                _ = ticks.tick() => mails.push(Mail::Tick),
            }
        }
        // Also while the store refuses: that is no reason to be restarted.
        while let Ok(ping) = pings.try_recv() {
            let _ = ping.send(());
        }
        while mails.len() < MAX_BATCH
            && let Ok(asked) = wishes.try_recv()
        {
            mails.push(Mail::Wish(asked));
        }
        while mails.len() < MAX_BATCH
            && let Ok(report) = reports.try_recv()
        {
            mails.push(Mail::Report(report));
        }
        let settled = fleet.settle(std::mem::take(&mut mails), &snapshot).await;
        let refused = settled.is_err();
        mails = settled.unwrap_or_else(|mails| mails);
        if refused {
            tokio::select! {
                () = stop.cancelled() => break,
                () = tokio::time::sleep(STORE_PAUSE) => {}
            }
        }
    }
    drop(wishes);
    fleet.part(reports).await;
}

#[cfg(test)]
mod tests;
#[cfg(test)]
pub(super) use tests::settings as tests_settings;
