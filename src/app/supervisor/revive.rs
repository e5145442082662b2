//! The first look at the fleet after a start: what has outlived the former daemon is taken up again.

use std::{collections::BTreeMap, sync::Arc};

use jiff::Timestamp;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::{
    MAX_REPORTS, Parts, Requests,
    batch::{Batch, Mail},
    berth::Berth,
    fleet::Fleet,
    spec, work,
};
use crate::{
    app::ports::{
        StoreError,
        fleet_store::{Change, StoredFleet, StoredSession},
        sessions::{Report, Retake, Retaken},
    },
    fleet::{AgentName, Life, Logs, Snapshot, lifecycle::Found},
};

/// A fleet that was revived and waits to be set to work.
pub struct Revived {
    fleet: Fleet,
    requests: Requests,
    reports: mpsc::Receiver<Report>,
    snapshot: watch::Sender<Arc<Snapshot>>,
    /// What is to be done first.
    mails: Vec<Mail>,
    /// What the former daemon has left of agents.
    left: BTreeMap<AgentName, Left>,
}

/// What the former daemon has left of an agent.
struct Left {
    open: Option<StoredSession>,
    restarts: bool,
}

/// What is found of an agent's session.
pub(super) struct Finding {
    found: Found,
    restarts: bool,
    /// There is a checkpoint.
    stored: bool,
    /// The former daemon lived at least until then.
    last: Timestamp,
}

impl Revived {
    pub(super) fn load(parts: Parts, requests: Requests) -> Result<Self, StoreError> {
        let StoredFleet { agents, next_agent, next_task } = parts.store.load()?;
        let (to_us, reports) = mpsc::channel(MAX_REPORTS);
        let mut fleet = Fleet::new(parts, to_us, next_agent, next_task);
        let mut left = BTreeMap::new();
        for stored in agents {
            let name = stored.agent.name.clone();
            fleet.names.insert(stored.agent.id, name.clone());
            let restarts = stored.standing.restarts;
            left.insert(name.clone(), Left { open: stored.open, restarts });
            let life = Life::stored(stored.agent, stored.session, stored.task, stored.standing);
            fleet.berths.insert(name, Berth::new(life));
        }
        let snapshot = watch::Sender::new(fleet.look());
        Ok(Self { fleet, requests, reports, snapshot, mails: vec![Mail::Revive], left })
    }

    /// Where the newest snapshot can be read.
    pub fn snapshot(&self) -> watch::Receiver<Arc<Snapshot>> {
        self.snapshot.subscribe()
    }

    /// Where it can be read how far each agent's log has come.
    pub fn logs(&self) -> watch::Receiver<Logs> {
        self.fleet.logs.subscribe()
    }

    /// Takes up sessions that have outlived the former daemon, and hangs up on the rest: to be done
    /// before anything else.
    pub fn take_up(&mut self) {
        for (name, left) in std::mem::take(&mut self.left) {
            self.fleet.retake(name, left);
        }
        self.fleet.parts.sessions.release_rest();
    }

    /// Whether this agent's session was taken up. To be asked before [`Revived::begin`].
    pub fn goes_on(&self, agent: &str) -> bool {
        let finding = agent.parse::<AgentName>().ok().and_then(|name| self.fleet.found.get(&name));
        finding.is_some_and(|finding| finding.found == Found::GoesOn)
    }

    /// Makes of each agent what was found of it, and opens what is to be opened anew: before anyone
    /// looks. If the store refuses, [`Revived::work`] tries again.
    pub async fn begin(&mut self) {
        let settled = self.fleet.settle(std::mem::take(&mut self.mails), &self.snapshot).await;
        self.mails = settled.unwrap_or_else(|mails| mails);
    }

    /// Works until `stop`; then parts from all sessions, leaves agents as they are in the store, and
    /// returns.
    pub async fn work(self, stop: CancellationToken) {
        work(self.fleet, self.requests, self.reports, self.snapshot, self.mails, stop).await;
    }
}

impl Fleet {
    /// Takes up an agent's session, or ends what is left of it. What that means for the agent is
    /// decided by [`Fleet::revive`].
    fn retake(&mut self, name: AgentName, left: Left) {
        let Some(berth) = self.berths.get_mut(&name) else { return };
        let life = &berth.life;
        let last = left.open.as_ref().map(|open| open.time);
        let last = last.unwrap_or(life.agent.updated_at).max(life.agent.updated_at);
        let stored = left.open.is_some();
        let (how, why, orders) = match left.open.filter(|_| life.goes_on()) {
            None => {
                let why = "the daemon was restarted before the agent could be left to itself";
                (Retake::HangUp, why.to_owned(), Vec::new())
            }
            Some(open) => match spec::of(&life.agent, None, &self.parts.settings.borrow()) {
                Ok(spec) => {
                    berth.ordered = open.orders.last().map_or(0, |(number, _)| *number);
                    berth.ordered = berth.ordered.max(open.checkpoint.obeyed);
                    let how = Retake::GoOn(Box::new(spec), open.checkpoint);
                    (how, String::new(), open.orders)
                }
                Err(why) => {
                    let why = format!("the daemon was restarted, and {why}");
                    (Retake::HangUp, why, Vec::new())
                }
            },
        };
        let retaken = self.parts.sessions.retake(life.agent.id, how, self.reports.clone());
        let found = match retaken {
            Retaken::GoesOn(line) => {
                for (_, order) in orders {
                    if line.try_send(order).is_err() {
                        // Dropping the line ends the session.
                        tracing::warn!(agent = %name, "too many orders wait for it: it is ended");
                    }
                }
                berth.orders = Some(line);
                Found::GoesOn
            }
            Retaken::Ends => Found::Ends(why),
            Retaken::Gone if self.parts.sessions.outlive() => Found::Missing,
            Retaken::Gone => Found::Gone("the daemon was restarted in the middle of it".to_owned()),
        };
        self.found.insert(name, Finding { found, restarts: left.restarts, stored, last });
    }

    /// Makes of each agent what was found of it.
    pub(super) fn revive(&mut self, now: Timestamp, batch: &mut Batch) {
        batch.reviving = true;
        let found = std::mem::take(&mut self.found);
        for (name, finding) in &found {
            if finding.stored && finding.found != Found::GoesOn {
                let id = self.berths.get(name).map(|berth| berth.life.agent.id);
                batch.changes.extend(id.map(Change::RemoveSession));
            }
        }
        self.each(
            batch,
            now,
            |_| true,
            |life, _| match found.get(&life.agent.name) {
                Some(finding) => {
                    life.revive(finding.found.clone(), finding.restarts, finding.last, now)
                }
                None => Vec::new(),
            },
        );
        // Kept until it is durable: the store may refuse.
        self.found = found;
    }
}
