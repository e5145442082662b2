//! A store that commits when it is told to, and remembers all that was ever durable.

use std::collections::{BTreeMap, VecDeque};

use super::*;
use crate::app::ports::{
    fleet_store::{StoredAgent, StoredSession},
    sessions::Checkpoint,
};

#[derive(Default)]
pub(super) struct Disk(Mutex<State>);

#[derive(Default)]
struct State {
    agents: BTreeMap<AgentId, StoredAgent>,
    checkpoints: BTreeMap<AgentId, (Timestamp, Checkpoint)>,
    orders: BTreeMap<AgentId, Vec<(u64, Order)>>,
    lines: BTreeMap<AgentId, Vec<String>>,
    tasks: BTreeMap<TaskId, Task>,
    next: (i64, i64),
    /// Each agent and each task as it ever was.
    ever: (Vec<crate::fleet::Agent>, Vec<Task>),
    waiting: VecDeque<(Vec<Change>, oneshot::Sender<bool>)>,
}

impl Disk {
    /// The oldest commit is carried out, or refused.
    pub(super) fn answers(&self, committed: bool) {
        let mut state = self.0.lock().unwrap();
        if let Some((changes, answer)) = state.waiting.pop_front() {
            if committed {
                changes.into_iter().for_each(|change| state.apply(change));
            }
            let _ = answer.send(committed);
        }
    }

    /// The daemon is gone.
    pub(super) fn is_left(&self, committed: bool) {
        let mut state = self.0.lock().unwrap();
        for (changes, _) in std::mem::take(&mut state.waiting) {
            if committed {
                changes.into_iter().for_each(|change| state.apply(change));
            }
        }
    }

    pub(super) fn has_had(&self, member: &Member) -> bool {
        let state = self.0.lock().unwrap();
        let (agents, tasks) = &state.ever;
        agents.contains(&member.agent)
            && member.task.as_ref().is_none_or(|task| tasks.contains(task))
    }

    pub(super) fn agents(&self) -> Vec<(AgentId, AgentName)> {
        let state = self.0.lock().unwrap();
        state.agents.iter().map(|(id, stored)| (*id, stored.agent.name.clone())).collect()
    }

    pub(super) fn status(&self, agent: AgentId) -> Status {
        self.0.lock().unwrap().agents[&agent].agent.status
    }

    /// What an agent said.
    pub(super) fn log(&self, agent: AgentId) -> Vec<String> {
        self.0.lock().unwrap().lines.get(&agent).cloned().unwrap_or_default()
    }

    /// A task, unless it went with its agent.
    pub(super) fn newest(&self, task: TaskId) -> Option<Task> {
        self.0.lock().unwrap().tasks.get(&task).cloned()
    }
}

impl State {
    fn apply(&mut self, change: Change) {
        match change {
            Change::PutAgent { agent, session, standing } => {
                self.next.0 = self.next.0.max(agent.id.0);
                self.ever.0.push(agent.clone());
                let (task, open) = (None, None);
                let stored = StoredAgent { agent, session, standing, open, task, log_bytes: 0 };
                self.agents.insert(stored.agent.id, stored);
            }
            Change::PutTask(task) => {
                self.next.1 = self.next.1.max(task.id.0);
                self.ever.1.push(task.clone());
                self.tasks.insert(task.id, task);
            }
            Change::RemoveAgent(id) => {
                self.apply(Change::RemoveSession(id));
                self.agents.remove(&id);
                self.tasks.retain(|_, task| task.agent != id);
            }
            Change::Append { agent, entry, .. } if entry.kind == EntryKind::Message => {
                self.lines.entry(agent).or_default().push(entry.content);
            }
            Change::Append { .. } | Change::Trim { .. } => {}
            Change::PutSession { agent, time, checkpoint } => {
                let orders = self.orders.entry(agent).or_default();
                orders.retain(|(number, _)| *number > checkpoint.obeyed);
                self.checkpoints.insert(agent, (time, checkpoint));
            }
            Change::PutOrder { agent, number, order } => {
                let obeyed = self.checkpoints.get(&agent).map_or(0, |(_, from)| from.obeyed);
                let orders = self.orders.entry(agent).or_default();
                let last = orders.last().map_or(obeyed, |(last, _)| *last);
                assert_eq!(number, last + 1, "1, 2, 3… in each session");
                orders.push((number, order));
            }
            Change::RemoveSession(id) => {
                self.checkpoints.remove(&id);
                self.orders.remove(&id);
            }
        }
    }
}

impl FleetStore for Disk {
    fn load(&self) -> Result<StoredFleet, StoreError> {
        let state = self.0.lock().unwrap();
        let agents = state.agents.iter().map(|(id, stored)| {
            let open = state.checkpoints.get(id).cloned().map(|(time, checkpoint)| {
                let orders = state.orders.get(id).cloned().unwrap_or_default();
                StoredSession { time, checkpoint, orders }
            });
            let task = state.tasks.values().rfind(|task| task.agent == *id).cloned();
            StoredAgent { open, task, ..stored.clone() }
        });
        let (next_agent, next_task) = (AgentId(state.next.0 + 1), TaskId(state.next.1 + 1));
        Ok(StoredFleet { agents: agents.collect(), next_agent, next_task })
    }

    fn commit(&self, changes: Vec<Change>) -> Stored<()> {
        let (answer, answered) = oneshot::channel();
        self.0.lock().unwrap().waiting.push_back((changes, answer));
        Box::pin(async move {
            let refused = || StoreError { what: "full".into(), help: "wait".into(), source: None };
            if answered.await == Ok(true) { Ok(()) } else { Err(refused()) }
        })
    }

    fn task(&self, _: TaskId) -> Stored<Option<Task>> {
        unreachable!("the supervisor looks nothing up")
    }

    fn last_message(&self, _: TaskId) -> Stored<Option<String>> {
        unreachable!("the supervisor looks nothing up")
    }

    fn history(&self, _: AgentId, _: Page) -> Stored<Paged<Task>> {
        unreachable!("the supervisor looks nothing up")
    }

    fn log(&self, _: AgentId, _: Page) -> Stored<Paged<LogEntry>> {
        unreachable!("the supervisor looks nothing up")
    }

    fn log_after(&self, _: AgentId, _: i64, _: usize) -> Stored<Vec<LogEntry>> {
        unreachable!("the supervisor looks nothing up")
    }
}
