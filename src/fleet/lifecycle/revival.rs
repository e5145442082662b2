//! From one daemon to the next: what is stored of an agent's life, and what becomes of it.

use jiff::{SignedDuration, Timestamp};

use super::{
    Effect, Found, Life, Standing,
    link::{Link, Then},
    log,
};
use crate::fleet::{Agent, EntryKind, Status, Task, TaskStatus};

/// Why a task is interrupted whose program might have outlived the daemon.
const NOT_OUTLIVED: &str = "the daemon was restarted, and the agent did not outlive it";

impl Life {
    /// An agent as a former daemon left it.
    pub fn stored(
        agent: Agent,
        session: Option<String>,
        task: Option<Task>,
        standing: Standing,
    ) -> Self {
        let Standing { since, verdict, restarts: _ } = standing;
        Self { session, task, since, verdict, ..Self::new(agent) }
    }

    /// What of it outlives the daemon beside the agent, its session and its task.
    pub fn standing(&self) -> Standing {
        Standing {
            since: self.since,
            verdict: self.verdict.clone(),
            restarts: self.link == Link::Closing(Then::Reopen),
        }
    }

    /// The daemon has started, and found this of the agent's program. `restarts` is
    /// [`Standing::restarts`]; the former daemon lived at least until `last`.
    pub fn revive(
        &mut self,
        found: Found,
        restarts: bool,
        last: Timestamp,
        now: Timestamp,
    ) -> Vec<Effect> {
        let mut effects = Vec::new();
        // Nothing was asked of its program yet; nor if one daemon after the other is killed at that.
        let task_begins_anew =
            self.agent.status == Status::Starting || (restarts && self.is_working());
        match found {
            Found::Gone(why) => self.revive_without(&why, now, &mut effects),
            Found::GoesOn => self.go_on(last, now, &mut effects),
            Found::Missing if task_begins_anew => self.reopen(now, &mut effects),
            Found::Missing => self.revive_without(NOT_OUTLIVED, now, &mut effects),
            Found::Ends(why) => match self.agent.status {
                Status::Deleting => self.enter(Link::Closing(Then::Remove), Status::Deleting, now),
                _ if task_begins_anew => {
                    self.enter(Link::Closing(Then::Reopen), Status::Stopping, now);
                }
                _ => {
                    self.interrupt(&why, now, &mut effects);
                    let then = if restarts { Then::Reopen } else { Then::Rest };
                    self.enter(Link::Closing(then), Status::Stopping, now);
                }
            },
        }
        effects
    }

    /// Its program is gone, and what it was doing is interrupted.
    fn revive_without(&mut self, why: &str, now: Timestamp, effects: &mut Vec<Effect>) {
        self.interrupt(why, now, effects);
        match self.agent.status {
            Status::Deleting => effects.push(Effect::Remove),
            Status::Failed | Status::Stopped | Status::Idle => {}
            _ => self.enter(Link::Down, Status::Idle, now),
        }
    }

    /// Its program has outlived the daemon: everything is as it was, and the time in between doesn't
    /// count.
    fn go_on(&mut self, last: Timestamp, now: Timestamp, effects: &mut Vec<Effect>) {
        self.link = match self.agent.status {
            Status::Busy => Link::Turn,
            Status::Canceling => Link::Canceling,
            _ => Link::Open,
        };
        let away = now.duration_since(last).max(SignedDuration::ZERO);
        self.since = self.since.saturating_add(away).unwrap_or(now).min(now);
        self.heard = now;
        if let Some(question) = self.task.as_mut().and_then(|task| task.question.as_mut()) {
            question.asked_at = question.asked_at.saturating_add(away).unwrap_or(now).min(now);
        }
        if self.in_turn() {
            effects.push(log(
                EntryKind::Notice,
                "the daemon was restarted; the turn went on".to_owned(),
            ));
        }
    }

    pub(super) fn interrupt(&mut self, why: &str, now: Timestamp, effects: &mut Vec<Effect>) {
        self.end_task(TaskStatus::Interrupted, Some(why.to_owned()), now, effects);
    }

    /// Whether its session, if it has outlived the daemon, is to go on: it is open, and nobody wants it
    /// to end.
    pub fn goes_on(&self) -> bool {
        matches!(self.agent.status, Status::Idle | Status::Busy | Status::Canceling)
    }
}
