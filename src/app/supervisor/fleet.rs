//! The fleet as its owner holds it, and what each mail does to it.

use std::{
    collections::{BTreeMap, HashMap, HashSet, btree_map::Entry as Place},
    sync::Arc,
};

use jiff::Timestamp;
use tokio::sync::{mpsc, watch};

use super::{
    Asked, Parts, Wish,
    batch::{Batch, Mail},
    berth::Berth,
    news,
    revive::Finding,
    work::Waiting,
};
use crate::{
    app::{
        error::FleetError,
        events,
        ports::{
            StoreError,
            fleet_store::Change,
            sessions::{News, Report},
        },
    },
    auth::Projects,
    fleet::{
        Agent, AgentId, AgentName, Life, Logs, Slot, Snapshot, Status, Task, TaskId, TaskStatus,
        Usage,
        lifecycle::{Effect, Request, Sign},
        snapshot::Member,
    },
};

pub(super) struct Fleet {
    pub(super) parts: Parts,
    pub(super) berths: BTreeMap<AgentName, Berth>,
    pub(super) names: HashMap<AgentId, AgentName>,
    next_agent: i64,
    next_task: i64,
    pub(super) reports: mpsc::Sender<Report>,
    waiting: Waiting,
    snapshot: Arc<Snapshot>,
    pub(super) logs: watch::Sender<Logs>,
    /// What was found of sessions at the start, until that is dealt with.
    pub(super) found: BTreeMap<AgentName, Finding>,
}

impl Fleet {
    pub(super) fn new(
        parts: Parts,
        reports: mpsc::Sender<Report>,
        next_agent: AgentId,
        next_task: TaskId,
    ) -> Self {
        Self {
            parts,
            berths: BTreeMap::new(),
            names: HashMap::new(),
            next_agent: next_agent.0,
            next_task: next_task.0,
            reports,
            waiting: Waiting::default(),
            snapshot: Arc::default(),
            logs: watch::Sender::default(),
            found: BTreeMap::new(),
        }
    }

    /// Makes the snapshot anew.
    pub(super) fn look(&mut self) -> Arc<Snapshot> {
        let members = self.berths.iter().map(|(name, berth)| (name.clone(), berth.member()));
        self.snapshot = Arc::new(Snapshot { agents: members.collect() });
        Arc::clone(&self.snapshot)
    }

    /// Steps through the mails, commits what has changed and carries it out: the mails that come of it
    /// at once. Errs, with the mails to try again, if the store refuses; nothing has changed then.
    pub(super) async fn settle(
        &mut self,
        mails: Vec<Mail>,
        published: &watch::Sender<Arc<Snapshot>>,
    ) -> Result<Vec<Mail>, Vec<Mail>> {
        let batch = self.step(mails);
        let Err(error) = self.commit(&batch).await else {
            return Ok(self.carry_out(batch, published));
        };
        let cause = &error as &dyn std::error::Error;
        tracing::error!(error = cause, "{}; {}", error.what, error.help);
        // Wishes are refused; what agents said is told again once the disk is better.
        Err(self.take_back(batch, &error))
    }

    /// Steps the fleet through the mails. Nothing outside has changed yet.
    fn step(&mut self, mails: Vec<Mail>) -> Batch {
        let now = self.parts.clock.now();
        let mut batch = Batch::default();
        for mail in mails {
            match mail {
                Mail::Wish(Asked { wish, projects, reply, told }) => {
                    let publishes = matches!(wish, Wish::Publish(_));
                    let outcome = self.wish(wish, &projects, now, &mut batch);
                    if let (Ok(member), Some(told)) = (&outcome, told) {
                        self.waiting.add(member.agent.id, publishes, told);
                    }
                    batch.answers.push((reply, outcome));
                }
                Mail::Report(report) => {
                    self.report(&report, now, &mut batch);
                    batch.reports.push(report);
                }
                Mail::Tick => self
                    .each(&mut batch, now, Life::is_timed, |life, limits| life.tick(limits, now)),
                Mail::Revive => self.revive(now, &mut batch),
            }
        }
        for (agent, checkpoint) in std::mem::take(&mut batch.checkpoints) {
            batch.changes.push(Change::PutSession { agent, time: now, checkpoint });
        }
        batch
    }

    pub(super) async fn commit(&self, batch: &Batch) -> Result<(), StoreError> {
        if batch.changes.is_empty() {
            return Ok(());
        }
        self.parts.store.commit(batch.changes.clone()).await
    }

    /// The batch is durable: publish, answer, acknowledge, act.
    fn carry_out(&mut self, batch: Batch, published: &watch::Sender<Arc<Snapshot>>) -> Vec<Mail> {
        if batch.reviving {
            self.found.clear();
        }
        if !batch.before.is_empty() {
            let snapshot = Arc::make_mut(&mut self.snapshot);
            for name in batch.before.keys() {
                let after = self.berths.get(name).map(Berth::member);
                let before = match &after {
                    Some(member) => snapshot.agents.insert(name.clone(), Arc::clone(member)),
                    None => snapshot.agents.remove(name),
                };
                let work = batch.gone.get(name).and_then(|(_, work)| work.words());
                events::tell(before.as_deref(), after.as_deref(), work.as_deref());
                events::count(&self.parts.metrics, before.as_deref(), after.as_deref());
            }
            published.send_replace(Arc::clone(&self.snapshot));
        }
        self.tell_of_logs(&batch.changes);
        for (reply, outcome) in batch.answers {
            // Whoever asked may have gone away.
            let _ = reply.send(outcome);
        }
        for report in batch.reports {
            for news in &report.news {
                self.waiting.hear(report.agent, news);
            }
            if let Some(receipt) = report.receipt {
                let _ = receipt.send(());
            }
        }
        for (agent, work) in batch.gone.into_values() {
            self.waiting.end(agent, work);
        }
        batch.deeds.into_iter().filter_map(|deed| self.act(deed)).collect()
    }

    fn tell_of_logs(&self, changes: &[Change]) {
        self.logs.send_if_modified(|logs| {
            let mut modified = false;
            for change in changes {
                match change {
                    Change::Append { agent, .. } => logs.grow(*agent),
                    Change::RemoveAgent(agent) => logs.forget(*agent),
                    _ => continue,
                }
                modified = true;
            }
            modified
        });
    }

    /// The batch could not be made durable: everything is as it was before it.
    fn take_back(&mut self, batch: Batch, error: &StoreError) -> Vec<Mail> {
        for (name, before) in batch.before {
            match before {
                Some(berth) => {
                    self.names.insert(berth.life.agent.id, name.clone());
                    self.berths.insert(name, berth);
                }
                None => {
                    if let Some(berth) = self.berths.remove(&name) {
                        self.names.remove(&berth.life.agent.id);
                    }
                }
            }
        }
        let refused = FleetError::unavailable(format!(
            "the fleet's store refuses: {}; {}; nothing was changed",
            error.what, error.help
        ));
        for (reply, _) in batch.answers {
            let _ = reply.send(Err(refused.clone()));
        }
        let revive = batch.reviving.then_some(Mail::Revive);
        revive.into_iter().chain(batch.reports.into_iter().map(Mail::Report)).collect()
    }

    fn wish(
        &mut self,
        wish: Wish,
        projects: &Projects,
        now: Timestamp,
        batch: &mut Batch,
    ) -> Result<Arc<Member>, FleetError> {
        if let Some(name) = wish.on_agent()
            && !self.berths.get(name).is_some_and(|berth| berth.is_seen_by(projects))
        {
            return Err(self.unknown(name, projects));
        }
        let (name, request) = match wish {
            Wish::Create { name, project, role, task } => {
                self.create(&name, project, role, now, batch)?;
                let task = self.task(&name, task, projects, now)?;
                (name, Request::Start(Box::new(task)))
            }
            Wish::Start { name, task } => {
                let task = self.task(&name, task, projects, now)?;
                (name, Request::Start(Box::new(task)))
            }
            Wish::Cancel { name, task } => (name, Request::Cancel(task)),
            Wish::Answer { name, question, choice } => (name, Request::Answer { question, choice }),
            Wish::Restart(name) => (name, Request::Restart),
            Wish::Publish(name) => (name, Request::Publish),
            Wish::Delete(name) => (name, Request::Delete),
        };
        self.remember(&name, batch);
        let Some(berth) = self.berths.get_mut(&name) else {
            return Err(self.unknown(&name, projects));
        };
        let effects = berth.life.request(request, now)?;
        self.next_task = self.next_task.max(berth.life.task.as_ref().map_or(0, |t| t.id.0 + 1));
        let member = berth.member();
        self.take_effect(&name, effects, now, batch);
        Ok(member)
    }

    fn create(
        &mut self,
        name: &AgentName,
        project: String,
        role: String,
        now: Timestamp,
        batch: &mut Batch,
    ) -> Result<(), FleetError> {
        if self.berths.contains_key(name) {
            return Err(FleetError::conflict(format!(
                "agent `{name}` exists already; choose another name, or give it a task with \
                 start_agent_task"
            )));
        }
        let limit = self.parts.settings.borrow().fleet.max_agents;
        if self.berths.len() >= limit {
            return Err(FleetError::conflict(format!(
                "the fleet has {limit} agents, as many as it may; delete one, or raise \
                 fleet.max_agents"
            )));
        }
        self.room_for_a_task()?;
        let slot = self.free_slot()?;
        self.remember(name, batch);
        let id = AgentId(self.next_agent);
        self.next_agent += 1;
        let agent = Agent {
            name: name.clone(),
            id,
            status: Status::Pending,
            role,
            project,
            slot,
            last_task: None,
            created_at: now,
            updated_at: now,
        };
        self.names.insert(id, name.clone());
        self.berths.insert(name.clone(), Berth::new(Life::new(agent)));
        Ok(())
    }

    /// A slot that no agent lives in; `None` on a machine without slots.
    fn free_slot(&self) -> Result<Option<Slot>, FleetError> {
        let Some(slots) = &self.parts.slots else { return Ok(None) };
        let present = slots.all().map_err(FleetError::conflict)?;
        let taken: HashSet<_> =
            self.berths.values().filter_map(|berth| berth.life.agent.slot.as_ref()).collect();
        let free = present.iter().find(|slot| !taken.contains(slot));
        free.cloned().map(Some).ok_or_else(|| {
            FleetError::conflict(format!(
                "each of the {} slots of this machine has an agent; delete one, or make one more \
                 slot: `{}`",
                present.len(),
                slots.one_more(&present)
            ))
        })
    }

    /// A task for an agent that may have one.
    fn task(
        &self,
        name: &AgentName,
        description: String,
        projects: &Projects,
        now: Timestamp,
    ) -> Result<Task, FleetError> {
        let berth = self.berths.get(name).ok_or_else(|| self.unknown(name, projects))?;
        if !berth.life.is_working() {
            self.room_for_a_task()?;
        }
        Ok(Task {
            id: TaskId(self.next_task),
            agent: berth.life.agent.id,
            description,
            status: TaskStatus::Running,
            message: None,
            created_at: now,
            ended_at: None,
            usage: Usage::default(),
            question: None,
        })
    }

    fn room_for_a_task(&self) -> Result<(), FleetError> {
        let limit = self.parts.settings.borrow().fleet.max_tasks;
        let running = self.berths.values().filter(|berth| berth.life.is_working()).count();
        if running < limit {
            return Ok(());
        }
        Err(FleetError::conflict(format!(
            "{running} tasks are running, as many as may at once; wait for one to end, or raise \
             fleet.max_tasks"
        )))
    }

    fn unknown(&self, name: &AgentName, projects: &Projects) -> FleetError {
        let seen = self.berths.iter().filter(|(_, berth)| berth.is_seen_by(projects));
        FleetError::not_found("agent", name.as_str(), seen.map(|(name, _)| name.as_str()))
    }

    pub(super) fn report(&mut self, report: &Report, now: Timestamp, batch: &mut Batch) {
        for news in &report.news {
            let Some(name) = self.names.get(&report.agent).cloned() else { return };
            self.told(&name, news, now, batch);
        }
        if let Some(checkpoint) = &report.checkpoint
            && self.names.contains_key(&report.agent)
        {
            batch.checkpoints.insert(report.agent, checkpoint.clone());
        }
    }

    fn told(&mut self, name: &AgentName, news: &News, now: Timestamp, batch: &mut Batch) {
        let (said, sign) = news::told(news);
        // Most of what an agent says changes nothing but its log.
        if sign != Sign::Heard {
            self.remember(name, batch);
        }
        let Some(berth) = self.berths.get_mut(name) else { return };
        if let News::Ended(_) = news {
            berth.orders = None;
            self.forget_session(name, batch);
        }
        let Some(berth) = self.berths.get_mut(name) else { return };
        berth.work.hear(news);
        let mut effects: Vec<_> = said.map(Effect::Log).into_iter().collect();
        let quiet = sign == Sign::Heard;
        effects.extend(berth.life.sign(sign, now));
        if quiet {
            self.append(name, effects, now, batch);
        } else {
            self.take_effect(name, effects, now, batch);
        }
    }

    /// Something happens to every agent; only those to which it makes a difference, or about which there
    /// is something to do, are touched.
    pub(super) fn each(
        &mut self,
        batch: &mut Batch,
        now: Timestamp,
        concerned: impl Fn(&Life) -> bool,
        happens: impl Fn(&mut Life, &crate::fleet::Limits) -> Vec<Effect>,
    ) {
        let limits = self.parts.settings.borrow().fleet.limits;
        let mut touched = Vec::new();
        for (name, berth) in self.berths.iter_mut().filter(|(_, b)| concerned(&b.life)) {
            let before = berth.clone();
            let effects = happens(&mut berth.life, &limits);
            if before.life != berth.life || !effects.is_empty() {
                batch.before.entry(name.clone()).or_insert(Some(before));
                touched.push((name.clone(), effects));
            }
        }
        for (name, effects) in touched {
            self.take_effect(&name, effects, now, batch);
        }
    }

    /// Notes how an agent was before this batch, once.
    fn remember(&self, name: &AgentName, batch: &mut Batch) {
        if let Place::Vacant(place) = batch.before.entry(name.clone()) {
            place.insert(self.berths.get(name).cloned());
        }
    }
}
