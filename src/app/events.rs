//! What happens to agents, as events; and looking events up.

use std::time::Duration;

use super::{
    App, Phase, audit,
    error::FleetError,
    fleet::unreadable,
    metrics::Metrics,
    ports::event_store::{Events, Query},
};
use crate::fleet::snapshot::Member;

/// Most events that are looked up at once.
pub const MAX_EVENTS: u32 = 1000;
/// The longest wait for one.
pub const MAX_EVENT_WAIT: Duration = Duration::from_secs(30);

/// How long the answer to a change of a token waits for its event.
const MAX_SETTLING: Duration = Duration::from_secs(1);

impl App {
    /// Waits a little until the events of what was just done are durable, so that no kill right after
    /// the answer hides who has done it.
    pub async fn settle_events(&self) {
        self.recorder.settle(MAX_SETTLING).await;
    }

    /// Looks events up. If there is none, waits for one, but not longer than this, nor than the daemon.
    ///
    /// Cancel safe.
    ///
    /// # Errors
    /// When the limit or the wait is out of bounds, or the store can't be read.
    pub async fn find_events(
        &self,
        mut query: Query,
        wait: Duration,
    ) -> Result<Events, FleetError> {
        if !(1..=MAX_EVENTS).contains(&query.limit) {
            return Err(FleetError::invalid(format!("limit: use 1 to {MAX_EVENTS}")));
        }
        if wait > MAX_EVENT_WAIT {
            let most = MAX_EVENT_WAIT.as_secs();
            return Err(FleetError::invalid(format!("wait: use at most {most} seconds")));
        }
        let mut recorded = self.recorder.recorded();
        let mut phase = self.phase.subscribe();
        let deadline = tokio::time::sleep(wait);
        tokio::pin!(deadline);
        loop {
            recorded.mark_unchanged();
            let found = self.events.events(query.clone()).await.map_err(|e| unreadable(&e))?;
            if !found.events.is_empty() || wait.is_zero() {
                return Ok(found);
            }
            query.after = Some(found.last);
            let stopping = phase.wait_for(|phase| *phase == Phase::Stopping);
            tokio::select! {
                () = &mut deadline => return Ok(found),
                Ok(()) = recorded.changed() => {}
                _ = stopping => return Ok(found),
            }
        }
    }
}

/// How an agent is, after that has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AgentChange<'a> {
    /// The agent's name.
    pub agent: &'a str,
    /// What the agent does now: its status, or `gone`.
    pub status: &'static str,
    /// How its newest task is, if it has one.
    pub task: Option<&'static str>,
    /// How the task ended, what the agent asks, or where its work is. May be untrusted.
    pub detail: Option<&'a str>,
}

/// Tells how an agent has changed, if it has; `None` is an agent that is not there. `published` says
/// where the work of one that is gone can be fetched from.
pub fn tell(before: Option<&Member>, after: Option<&Member>, published: Option<&str>) {
    if let Some(change) = change(before, after, published) {
        audit::agent_changed(&change);
    }
}

/// Counts the tasks that have begun or ended between two looks at an agent.
pub fn count(metrics: &Metrics, before: Option<&Member>, after: Option<&Member>) {
    let task = |member: Option<&Member>| {
        member.and_then(|member| member.task.as_ref()).map(|task| (task.id, task.status))
    };
    let (before, after) = (task(before), task(after));
    let Some((id, status)) = after else { return };
    let begun = before.is_none_or(|(former, _)| former != id);
    let was_over = before.is_some_and(|(_, status)| status.is_over());
    if begun {
        metrics.task_started();
    }
    if status.is_over() && (begun || !was_over) {
        metrics.task_ended(status);
    }
}

fn change<'a>(
    before: Option<&'a Member>,
    after: Option<&'a Member>,
    published: Option<&'a str>,
) -> Option<AgentChange<'a>> {
    if before.map(state) == after.map(state) {
        return None;
    }
    let agent = after.or(before)?.agent.name.as_str();
    let (status, task) = after.map_or(("gone", None), state);
    let told = after.and_then(|member| member.task.as_ref()?.message.as_deref());
    Some(AgentChange { agent, status, task, detail: told.or(published) })
}

fn state(member: &Member) -> (&'static str, Option<&'static str>) {
    let task = member.task.as_ref().map(|task| task.status.as_str());
    (member.agent.status.as_str(), task)
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::fleet::{Agent, AgentId, Status};

    fn member(status: Status) -> Member {
        let agent = Agent {
            slot: None,
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
    fn only_another_status_is_a_change_and_one_that_is_gone_says_where_its_work_is() {
        let (idle, busy) = (member(Status::Idle), member(Status::Busy));
        let published = Some("git fetch x");

        let status = |change: Option<AgentChange<'_>>| change.map(|change| change.status);
        assert_eq!(status(change(None, Some(&idle), None)), Some("idle"));
        assert_eq!(status(change(Some(&idle), Some(&idle), None)), None);
        assert_eq!(status(change(Some(&idle), Some(&busy), None)), Some("busy"));
        let gone = change(Some(&busy), None, published).unwrap();
        assert_eq!((gone.agent, gone.status, gone.detail), ("sony", "gone", published));
    }
}
