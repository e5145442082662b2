//! The fleet as its owner holds it, and what each mail does to it.

use std::{
    collections::{BTreeMap, HashMap, HashSet, btree_map::Entry as Place},
    sync::Arc,
};

use jiff::Timestamp;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::{
    Asked, MAX_REPORTS, Parts, Requests, Wish,
    batch::{Batch, Deed, Mail},
    berth::Berth,
    news, work,
    work::Waiting,
};
use crate::{
    app::{
        error::FleetError,
        events,
        ports::{
            StoreError,
            fleet_store::{Change, MAX_TRIMMED_ENTRIES, StoredFleet},
            sessions::{News, Order, Report},
        },
    },
    auth::Projects,
    fleet::{
        Agent, AgentId, AgentName, Life, Slot, Snapshot, Status, Task, TaskId, TaskStatus, Usage,
        lifecycle::{Effect, Request, Sign},
        snapshot::Member,
    },
};

/// How much longer than its limit a log may grow before it is cut, as a fraction: an eighth.
const LOG_SLACK: u64 = 8;

/// A fleet that was revived and waits to be set to work.
pub struct Revived {
    fleet: Fleet,
    requests: Requests,
    reports: mpsc::Receiver<Report>,
    snapshot: watch::Sender<Arc<Snapshot>>,
    /// What is to be done first.
    mails: Vec<Mail>,
}

impl Revived {
    /// Where the newest snapshot can be read.
    pub fn snapshot(&self) -> watch::Receiver<Arc<Snapshot>> {
        self.snapshot.subscribe()
    }

    /// Interrupts what the end of the former daemon has interrupted: to be done before anyone looks. If
    /// the store refuses, [`Revived::work`] tries again.
    pub async fn begin(&mut self) {
        let settled = self.fleet.settle(std::mem::take(&mut self.mails), &self.snapshot).await;
        self.mails = settled.unwrap_or_else(|mails| mails);
    }

    /// Works until `stop`; then ends all sessions, leaves agents as they are in the store, and
    /// returns.
    pub async fn work(self, stop: CancellationToken) {
        work(self.fleet, self.requests, self.reports, self.snapshot, self.mails, stop).await;
    }
}

pub(super) struct Fleet {
    pub(super) parts: Parts,
    pub(super) berths: BTreeMap<AgentName, Berth>,
    pub(super) names: HashMap<AgentId, AgentName>,
    next_agent: i64,
    next_task: i64,
    pub(super) reports: mpsc::Sender<Report>,
    waiting: Waiting,
    snapshot: Arc<Snapshot>,
}

impl Fleet {
    pub(super) fn revive(parts: Parts, requests: Requests) -> Result<Revived, StoreError> {
        let StoredFleet { agents, next_agent, next_task } = parts.store.load()?;
        let (to_us, reports) = mpsc::channel(MAX_REPORTS);
        let mut fleet = Self {
            parts,
            berths: BTreeMap::new(),
            names: HashMap::new(),
            next_agent: next_agent.0,
            next_task: next_task.0,
            reports: to_us,
            waiting: Waiting::default(),
            snapshot: Arc::default(),
        };
        for stored in agents {
            fleet.names.insert(stored.agent.id, stored.agent.name.clone());
            let life = Life::stored(stored.agent, stored.session, stored.task);
            fleet.berths.insert(life.agent.name.clone(), Berth::new(life));
        }
        fleet.snapshot = Arc::new(Snapshot {
            agents: fleet
                .berths
                .iter()
                .map(|(name, berth)| (name.clone(), berth.member()))
                .collect(),
        });
        let snapshot = watch::Sender::new(Arc::clone(&fleet.snapshot));
        Ok(Revived { fleet, requests, reports, snapshot, mails: vec![Mail::Revive] })
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
                Mail::Revive => {
                    batch.reviving = true;
                    self.each(&mut batch, now, |_| true, |life, _| life.revive(now));
                }
            }
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
        for (reply, outcome) in batch.answers {
            // Whoever asked may have gone away.
            let _ = reply.send(outcome);
        }
        for report in batch.reports {
            self.waiting.hear(report.agent, &report.news);
            if let Some(receipt) = report.receipt {
                let _ = receipt.send(());
            }
        }
        for (agent, work) in batch.gone.into_values() {
            self.waiting.end(agent, work);
        }
        batch.deeds.into_iter().filter_map(|deed| self.act(deed)).collect()
    }

    /// The batch could not be made durable: everything is as it was before it.
    fn take_back(&mut self, batch: Batch, error: &StoreError) -> Vec<Mail> {
        for (name, before) in batch.before {
            match before {
                Some(berth) => {
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
            Wish::Cancel(name) => (name, Request::Cancel),
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
        let Some(name) = self.names.get(&report.agent).cloned() else { return };
        let (said, sign) = news::told(&report.news);
        // Most of what an agent says changes nothing but its log.
        if sign != Sign::Heard {
            self.remember(&name, batch);
        }
        let Some(berth) = self.berths.get_mut(&name) else { return };
        if let News::Ended(_) = report.news {
            berth.orders = None;
        }
        berth.work.hear(&report.news);
        let mut effects: Vec<_> = said.map(Effect::Log).into_iter().collect();
        let quiet = sign == Sign::Heard;
        effects.extend(berth.life.sign(sign, now));
        if quiet {
            self.append(&name, effects, now, batch);
        } else {
            self.take_effect(&name, effects, now, batch);
        }
    }

    /// Something happens to every agent; only those to which it makes a difference are touched.
    fn each(
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
            if before.life != berth.life {
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

    fn append(
        &mut self,
        name: &AgentName,
        effects: Vec<Effect>,
        now: Timestamp,
        batch: &mut Batch,
    ) {
        let max_log = self.parts.settings.borrow().fleet.max_log_bytes;
        let Some(berth) = self.berths.get_mut(name) else { return };
        let agent = berth.life.agent.id;
        let task = berth.life.task.as_ref().map(|task| task.id);
        for effect in effects {
            if let Effect::Log(entry) = effect {
                berth.logged.0 += entry.content.len() as u64;
                berth.logged.1 += 1;
                batch.changes.push(Change::Append { agent, task, time: now, entry });
            }
        }
        if berth.logged.0 > max_log / LOG_SLACK || berth.logged.1 >= MAX_TRIMMED_ENTRIES / 2 {
            berth.logged = (0, 0);
            batch.changes.push(Change::Trim { agent, max_bytes: max_log });
        }
    }

    /// Turns effects into changes to commit and deeds to do.
    fn take_effect(
        &mut self,
        name: &AgentName,
        effects: Vec<Effect>,
        now: Timestamp,
        batch: &mut Batch,
    ) {
        let Some(berth) = self.berths.get(name) else { return };
        let life = &berth.life;
        let id = life.agent.id;
        if effects.contains(&Effect::Forget) {
            batch.changes.push(Change::RemoveAgent(id));
            batch.deeds.push(Deed::Forget(id));
            let gone = self.berths.remove(name);
            batch.gone.extend(gone.map(|berth| (name.clone(), (id, berth.work))));
            self.names.remove(&id);
            return;
        }
        let put = Change::PutAgent { agent: life.agent.clone(), session: life.session.clone() };
        batch.changes.push(put);
        batch.changes.extend(life.task.clone().map(Change::PutTask));
        for effect in &effects {
            let order = |order| Deed::Order(id, order);
            batch.deeds.extend(match effect {
                Effect::Log(_) | Effect::Forget => None,
                Effect::Open(resume) => Some(Deed::Open(name.clone(), resume.clone())),
                Effect::Prompt(task) => {
                    Some(order(Order::Prompt { text: self.prompt(life, task) }))
                }
                Effect::Cancel => Some(order(Order::Cancel)),
                Effect::Answer { question, choice } => Some(order(Order::Answer {
                    question: question.clone(),
                    choice: choice.clone(),
                })),
                Effect::Close { remove } => Some(order(Order::Close {
                    remove_workspace: *remove,
                    grace_secs: self.parts.settings.borrow().fleet.close_grace_secs,
                })),
                Effect::Publish { uncommitted } => {
                    Some(order(Order::Publish { uncommitted: *uncommitted }))
                }
                Effect::PublishAlone => Some(Deed::Publish(name.clone())),
                Effect::Remove => Some(Deed::Remove(name.clone())),
            });
        }
        self.append(name, effects, now, batch);
    }

    /// The task with what the role puts before it.
    fn prompt(&self, life: &Life, task: &str) -> String {
        let settings = self.parts.settings.borrow();
        let role = settings.roles.iter().find(|role| role.name == life.agent.role);
        match role.and_then(|role| role.prompt.as_deref()) {
            Some(prompt) => format!("{prompt}\n\n{task}"),
            None => task.to_owned(),
        }
    }
}
