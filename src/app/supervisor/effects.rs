//! What has to be done about an agent, as changes to commit and deeds to do once they are.

use jiff::Timestamp;

use super::{
    batch::{Batch, Deed},
    fleet::Fleet,
};
use crate::{
    app::ports::{
        fleet_store::{Change, MAX_TRIMMED_ENTRIES},
        sessions::Order,
    },
    fleet::{AgentName, Life, lifecycle::Effect},
};

/// How much longer than its limit a log may grow before it is cut, as a fraction: an eighth.
const LOG_SLACK: u64 = 8;

impl Fleet {
    /// There is nothing that the next daemon could take up.
    pub(super) fn forget_session(&mut self, name: &AgentName, batch: &mut Batch) {
        if !self.parts.sessions.outlive() {
            return;
        }
        if let Some(berth) = self.berths.get_mut(name) {
            let id = berth.life.agent.id;
            berth.ordered = 0;
            batch.checkpoints.remove(&id);
            batch.changes.push(Change::RemoveSession(id));
        }
    }

    pub(super) fn append(
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
    pub(super) fn take_effect(
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
            batch.checkpoints.remove(&id);
            batch.changes.push(Change::RemoveAgent(id));
            batch.deeds.push(Deed::Forget(id));
            let gone = self.berths.remove(name);
            batch.gone.extend(gone.map(|berth| (name.clone(), (id, berth.work))));
            self.names.remove(&id);
            return;
        }
        let put = Change::PutAgent {
            agent: life.agent.clone(),
            session: life.session.clone(),
            standing: life.standing(),
        };
        batch.changes.push(put);
        batch.changes.extend(life.task.clone().map(Change::PutTask));
        let orders: Vec<Order> =
            effects.iter().filter_map(|effect| self.order(life, effect)).collect();
        for effect in &effects {
            batch.deeds.extend(match effect {
                Effect::Open(resume) => Some(Deed::Open(name.clone(), resume.clone())),
                Effect::PublishAlone => Some(Deed::Publish(name.clone())),
                Effect::Remove => Some(Deed::Remove(name.clone())),
                _ => None,
            });
        }
        self.give(name, orders, batch);
        self.append(name, effects, now, batch);
    }

    /// What an agent's session is to be told.
    fn order(&self, life: &Life, effect: &Effect) -> Option<Order> {
        Some(match effect {
            Effect::Prompt(task) => Order::Prompt { text: self.prompt(life, task) },
            Effect::Cancel => Order::Cancel,
            Effect::Answer { question, choice } => {
                Order::Answer { question: question.clone(), choice: choice.clone() }
            }
            Effect::Close { remove } => Order::Close {
                remove_workspace: *remove,
                grace_secs: self.parts.settings.borrow().fleet.close_grace_secs,
            },
            Effect::Publish { uncommitted } => Order::Publish { uncommitted: *uncommitted },
            Effect::Log(_)
            | Effect::Forget
            | Effect::Open(_)
            | Effect::PublishAlone
            | Effect::Remove => return None,
        })
    }

    /// Orders that outlive the daemon are durable before they are given.
    fn give(&mut self, name: &AgentName, orders: Vec<Order>, batch: &mut Batch) {
        let keeps = self.parts.sessions.outlive();
        let Some(berth) = self.berths.get_mut(name) else { return };
        let agent = berth.life.agent.id;
        for order in orders {
            if keeps && order.is_counted() {
                berth.ordered += 1;
                let (number, order) = (berth.ordered, order.clone());
                batch.changes.push(Change::PutOrder { agent, number, order });
            }
            batch.deeds.push(Deed::Order(agent, order));
        }
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
