//! What happened in the fleet lately: kept in memory, for whoever watches, and told to the log.

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
};

use jiff::Timestamp;

use super::audit;
use crate::fleet::snapshot::Member;

/// Most events that are kept; the oldest go first.
const MAX_EVENTS: usize = 1000;

/// Something that happened to an agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// From 1; grows with each event since the daemon started.
    pub id: u64,
    /// When.
    pub time: Timestamp,
    /// The agent's name.
    pub agent: String,
    /// What the agent does now: its status, or `gone`.
    pub status: &'static str,
    /// How its newest task is, if it has one.
    pub task: Option<&'static str>,
    /// How the task ended, what the agent asks, or where its work is. May be untrusted.
    pub message: Option<String>,
}

/// The newest events.
#[derive(Debug, Default)]
pub struct Events {
    kept: Mutex<VecDeque<Event>>,
}

impl Events {
    /// Notes how an agent has changed, if it has; `None` is an agent that is not there. `published`
    /// says where the work of one that is gone can be fetched from.
    pub fn note(
        &self,
        before: Option<&Member>,
        after: Option<&Member>,
        published: Option<&str>,
        now: Timestamp,
    ) {
        let Some(member) = after.or(before) else { return };
        let states = [before.map(state), after.map(state)];
        if states[0] == states[1] {
            return;
        }
        let (status, task) = after.map_or(("gone", None), state);
        let told = after.and_then(|member| member.task.as_ref()?.message.clone());
        let mut kept = self.lock();
        let event = Event {
            id: kept.back().map_or(0, |event| event.id) + 1,
            time: now,
            agent: member.agent.name.to_string(),
            status,
            task,
            message: told.or_else(|| published.map(str::to_owned)),
        };
        audit::agent_changed(&event);
        if kept.len() == MAX_EVENTS {
            kept.pop_front();
        }
        kept.push_back(event);
    }

    /// The events after this one, oldest first.
    pub fn after(&self, id: u64) -> Vec<Event> {
        self.lock().iter().filter(|event| event.id > id).cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Event>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn state(member: &Member) -> (&'static str, Option<&'static str>) {
    let task = member.task.as_ref().map(|task| task.status.as_str());
    (member.agent.status.as_str(), task)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet::{Agent, AgentId, Status};

    fn member(status: Status) -> Member {
        let agent = Agent {
            name: "sony".parse().unwrap(),
            id: AgentId(1),
            status,
            role: String::new(),
            project: String::new(),
            last_task: None,
            created_at: Timestamp::UNIX_EPOCH,
            updated_at: Timestamp::UNIX_EPOCH,
        };
        Member { agent, task: None }
    }

    #[test]
    fn changes_are_events_and_the_newest_thousand_are_kept() {
        let events = Events::default();
        let (idle, busy) = (member(Status::Idle), member(Status::Busy));
        let now = Timestamp::UNIX_EPOCH;

        events.note(None, Some(&idle), None, now);
        events.note(Some(&idle), Some(&idle), None, now);
        for _ in 0..MAX_EVENTS {
            events.note(Some(&idle), Some(&busy), None, now);
        }
        events.note(Some(&busy), None, Some("git fetch x"), now);

        let all = events.after(0);
        assert_eq!((all.len(), all[0].id), (MAX_EVENTS, 3));
        assert_eq!(events.after(1001), all[MAX_EVENTS - 1..]);
        let last = &all[MAX_EVENTS - 1];
        assert_eq!((last.status, last.message.as_deref()), ("gone", Some("git fetch x")));
    }
}
