//! What happens to an agent: one pure step per event. No I/O, no clock; what has to be done about it
//! comes back as effects.

mod link;
mod revival;
mod words;

use jiff::{SignedDuration, Timestamp};

use super::{
    Agent, Question, Status, Task, TaskId, TaskStatus,
    entry::{Entry, EntryKind},
    task::{Choice, ChoiceKind},
};

use self::link::{Link, Then};
pub use self::words::{Effect, Found, Limits, Refused, Request, Sign, Standing};

/// An agent with everything that decides what may happen to it next.
#[derive(Debug, Clone, PartialEq)]
pub struct Life {
    /// What everyone sees.
    pub agent: Agent,
    /// Its session with its program, to be resumed.
    pub session: Option<String>,
    /// Its newest task.
    pub task: Option<Task>,
    /// Its program.
    link: Link,
    /// When the present phase began: opening, turn, cancelling.
    since: Timestamp,
    /// The last sign of life.
    heard: Timestamp,
    /// How the present task is to be told of once the turn has ended, whatever the agent says.
    verdict: Option<(TaskStatus, String)>,
}

impl Life {
    /// An agent that was never started.
    pub fn new(agent: Agent) -> Self {
        let since = agent.created_at;
        Self {
            agent,
            session: None,
            task: None,
            link: Link::Down,
            since,
            heard: since,
            verdict: None,
        }
    }

    /// Whether a task is running.
    pub fn is_working(&self) -> bool {
        self.task.as_ref().is_some_and(|task| !task.status.is_over())
    }

    /// Whether the passing of time can make a difference to it.
    pub fn is_timed(&self) -> bool {
        matches!(self.link, Link::Opening | Link::Turn | Link::Canceling)
    }

    /// Somebody wants something.
    ///
    /// # Errors
    /// When it is not the moment for it; nothing has changed then.
    pub fn request(&mut self, request: Request, now: Timestamp) -> Result<Vec<Effect>, Refused> {
        if self.agent.status == Status::Deleting {
            return Err(self.conflict("is being deleted"));
        }
        let mut effects = Vec::new();
        match request {
            Request::Start(task) => self.start(*task, now, &mut effects)?,
            Request::Cancel(task) => self.cancel(task, now, &mut effects)?,
            Request::Answer { question, choice } => {
                self.answer(question.as_deref(), &choice, now, &mut effects)?;
            }
            Request::Restart => {
                self.close(Then::Reopen, "the agent was restarted", now, &mut effects)
            }
            // Nothing of the agent changes.
            Request::Publish => return Ok(vec![self.publish(now)?]),
            Request::Delete => {
                self.close(Then::Delete, "the agent was deleted", now, &mut effects);
                self.agent.status = Status::Deleting;
            }
        }
        self.agent.updated_at = now;
        Ok(effects)
    }

    fn start(
        &mut self,
        task: Task,
        now: Timestamp,
        effects: &mut Vec<Effect>,
    ) -> Result<(), Refused> {
        match self.link {
            Link::Open => {
                effects.push(Effect::Prompt(task.description.clone()));
                self.enter(Link::Turn, Status::Busy, now);
            }
            Link::Down => {
                effects.push(Effect::Open(self.session.clone()));
                self.enter(Link::Opening, Status::Starting, now);
            }
            // Its program is started once that is done.
            Link::Publishing => self.enter(Link::Closing(Then::Reopen), Status::Starting, now),
            _ => {
                let status = self.agent.status.as_str();
                return Err(self.conflict(&format!(
                    "is {status}; a task can be given once it is idle (wait_for_agent tells when)"
                )));
            }
        }
        effects.insert(0, log(EntryKind::Task, task.description.clone()));
        self.agent.last_task = Some(task.description.clone());
        self.verdict = None;
        self.task = Some(task);
        Ok(())
    }

    fn cancel(
        &mut self,
        only: Option<TaskId>,
        now: Timestamp,
        effects: &mut Vec<Effect>,
    ) -> Result<(), Refused> {
        let works_on = |id| self.is_working() && self.task.as_ref().is_some_and(|t| t.id == id);
        if let Some(id) = only.filter(|id| !works_on(*id)) {
            return Err(self.conflict(&format!("does not work on task {}", id.0)));
        }
        match self.link {
            Link::Turn => {
                effects.push(Effect::Cancel);
                self.put_question(None, now);
                self.verdict = Some((TaskStatus::Canceled, "canceled on request".to_owned()));
                self.enter(Link::Canceling, Status::Canceling, now);
                Ok(())
            }
            Link::Opening | Link::Closing(_) if self.is_working() => {
                self.close(Then::Rest, "canceled before it began", now, effects);
                Ok(())
            }
            Link::Canceling => Ok(()),
            _ => {
                let status = self.agent.status.as_str();
                Err(self.conflict(&format!("is {status}; there is no task to cancel")))
            }
        }
    }

    fn publish(&mut self, now: Timestamp) -> Result<Effect, Refused> {
        match self.link {
            Link::Open => Ok(Effect::Publish { uncommitted: true }),
            // It may be in the middle of something: what it has committed is whole.
            Link::Turn | Link::Canceling => Ok(Effect::Publish { uncommitted: false }),
            Link::Down => {
                self.enter(Link::Publishing, self.agent.status, now);
                Ok(Effect::PublishAlone)
            }
            Link::Opening | Link::Publishing | Link::Closing(_) => {
                let doing = match self.link {
                    Link::Publishing => "being published already",
                    _ => self.agent.status.as_str(),
                };
                Err(self.conflict(&format!("is {doing}; try again in a moment")))
            }
        }
    }

    fn answer(
        &mut self,
        question: Option<&str>,
        choice: &str,
        now: Timestamp,
        effects: &mut Vec<Effect>,
    ) -> Result<(), Refused> {
        let asked = self.task.as_ref().and_then(|task| task.question.clone());
        let Some(asked) = asked else {
            return Err(self.conflict("waits for no answer"));
        };
        if question.is_some_and(|id| id != asked.id) {
            let name = &self.agent.name;
            let id = &asked.id;
            return Err(Refused::Conflict(format!(
                "agent `{name}` no longer asks that; its question is now `{id}` (show_agent has it)"
            )));
        }
        let matches = |wanted: &str, text: &str| text.eq_ignore_ascii_case(wanted);
        // The word for a kind means that kind, whatever the agent calls its choices: who says no must
        // not be understood as yes.
        let kind = ChoiceKind::ALL.into_iter().find(|kind| matches(choice, kind.as_str()));
        let fits = |c: &&Choice| kind.is_none_or(|kind| c.kind == kind);
        let mut fitting = asked.choices.iter().filter(fits);
        let found = fitting
            .clone()
            .find(|c| c.id == choice)
            .or_else(|| fitting.find(|c| kind.is_some() || matches(choice, &c.name)));
        let Some(found) = found else {
            let all: Vec<_> = asked.choices.iter().map(|c| c.kind.as_str()).collect();
            return Err(Refused::Invalid(format!(
                "choice: `{}` is none of: {}",
                choice.chars().take(64).collect::<String>(),
                all.join(", ")
            )));
        };
        effects.push(log(EntryKind::Answer, found.name.clone()));
        effects.push(Effect::Answer { question: asked.id.clone(), choice: found.id.clone() });
        self.put_question(None, now);
        Ok(())
    }

    /// Ends the program, if there is one, and goes on with `then`.
    fn close(&mut self, then: Then, why: &str, now: Timestamp, effects: &mut Vec<Effect>) {
        let status = match then {
            Then::Delete | Then::Remove => Status::Deleting,
            Then::Reopen | Then::Rest => Status::Stopping,
        };
        let verdict = self.verdict.take().unwrap_or((TaskStatus::Canceled, why.to_owned()));
        self.end_task(verdict.0, Some(verdict.1), now, effects);
        match (self.link, then) {
            (Link::Down, Then::Delete | Then::Remove) => {
                self.enter(Link::Down, status, now);
                effects.push(Effect::Remove);
            }
            (Link::Down, Then::Reopen) => self.reopen(now, effects),
            (Link::Down, Then::Rest) => {}
            // It ends anyway, and may have ended: only what comes after it changes.
            (Link::Closing(_) | Link::Publishing, Then::Delete) => {
                self.enter(Link::Closing(Then::Remove), status, now);
            }
            (Link::Closing(_) | Link::Publishing, _) => {
                self.enter(Link::Closing(then), status, now)
            }
            _ => {
                self.enter(Link::Closing(then), status, now);
                effects.push(Effect::Close { remove: then == Then::Delete });
            }
        }
    }

    fn reopen(&mut self, now: Timestamp, effects: &mut Vec<Effect>) {
        effects.push(Effect::Open(self.session.clone()));
        self.enter(Link::Opening, Status::Starting, now);
    }

    /// The session tells something. Signs that come too late change nothing.
    pub fn sign(&mut self, sign: Sign, now: Timestamp) -> Vec<Effect> {
        self.heard = now;
        let mut effects = Vec::new();
        match sign {
            Sign::Heard => return effects,
            Sign::Opened(session) => self.opened(session, now, &mut effects),
            Sign::Asked(question) if self.link == Link::Turn => {
                self.put_question(Some(question), now);
            }
            // The cancel that is on its way answers it.
            Sign::Asked(_) if self.in_turn() => {}
            Sign::Asked(question) => effects.extend(refusal(&question)),
            Sign::Withdrawn(id) => {
                let asked = self.task.as_ref().and_then(|task| task.question.as_ref());
                if asked.is_some_and(|question| question.id == id) {
                    self.put_question(None, now);
                }
            }
            Sign::Spent(usage) => {
                if let Some(task) = self.task.as_mut().filter(|task| !task.status.is_over()) {
                    task.usage = usage;
                }
            }
            Sign::TurnEnded(status, message) => {
                if self.in_turn() {
                    let (status, message) = match self.verdict.take() {
                        // It finished before it heard that it should not.
                        _ if status == TaskStatus::Done => (status, message),
                        Some((status, message)) => (status, Some(message)),
                        None => (status, message),
                    };
                    self.end_task(status, message, now, &mut effects);
                    self.enter(Link::Open, Status::Idle, now);
                }
            }
            Sign::Ended(cause) => self.ended(cause, now, &mut effects),
            Sign::NotResumed(why) => {
                let why = format!("the daemon was restarted, and the agent could not go on: {why}");
                if self.in_turn() || self.link == Link::Open {
                    self.interrupt(&why, now, &mut effects);
                    self.enter(Link::Down, Status::Idle, now);
                } else {
                    self.ended(Some(why), now, &mut effects);
                }
            }
        }
        self.agent.updated_at = now;
        effects
    }

    fn opened(&mut self, session: Option<String>, now: Timestamp, effects: &mut Vec<Effect>) {
        if self.link != Link::Opening {
            return;
        }
        self.session = session;
        match self.task.as_ref().filter(|task| !task.status.is_over()) {
            Some(task) => {
                effects.push(Effect::Prompt(task.description.clone()));
                self.enter(Link::Turn, Status::Busy, now);
            }
            None => self.enter(Link::Open, Status::Idle, now),
        }
    }

    fn ended(&mut self, cause: Option<String>, now: Timestamp, effects: &mut Vec<Effect>) {
        let opening = self.link == Link::Opening;
        match self.link {
            Link::Closing(Then::Delete) => {
                self.link = Link::Down;
                effects.push(Effect::Forget);
            }
            Link::Closing(Then::Remove) => {
                self.link = Link::Down;
                effects.push(Effect::Remove);
            }
            Link::Down if self.agent.status == Status::Deleting => effects.push(Effect::Forget),
            Link::Closing(Then::Reopen) => self.reopen(now, effects),
            Link::Closing(Then::Rest) => self.enter(Link::Down, Status::Idle, now),
            Link::Down => {}
            Link::Publishing => self.enter(Link::Down, self.agent.status, now),
            Link::Opening | Link::Open | Link::Turn | Link::Canceling => {
                let why = cause.unwrap_or_else(|| "the agent's program ended".to_owned());
                effects.push(log(EntryKind::Notice, why.clone()));
                let verdict = self.verdict.take();
                let (status, why) = verdict.unwrap_or((TaskStatus::Failed, why));
                self.end_task(status, Some(why), now, effects);
                // A program that ended between turns is started again with the next task; one that
                // never came up, or broke off, is for somebody to look at.
                let rests = self.link == Link::Open || status == TaskStatus::Canceled;
                let next = if rests && !opening { Status::Idle } else { Status::Failed };
                self.enter(Link::Down, next, now);
            }
        }
    }

    /// Time has passed.
    pub fn tick(&mut self, limits: &Limits, now: Timestamp) -> Vec<Effect> {
        let mut effects = Vec::new();
        let over = |since: Timestamp, limit: SignedDuration| now.duration_since(since) >= limit;
        match self.link {
            Link::Opening if over(self.since, limits.opening) => {
                let why = format!("it was not ready after {:#}", limits.opening);
                effects.push(log(EntryKind::Notice, why.clone()));
                self.verdict = Some((TaskStatus::Failed, why.clone()));
                self.close(Then::Rest, &why, now, &mut effects);
            }
            Link::Turn if over(self.since, limits.turn) => {
                self.give_up(
                    format!("the turn took longer than {:#}", limits.turn),
                    now,
                    &mut effects,
                );
            }
            Link::Turn => match self.task.as_ref().and_then(|task| task.question.clone()) {
                Some(question) if over(question.asked_at, limits.answer) => {
                    let why =
                        format!("nobody answered within {:#}: the answer is no", limits.answer);
                    effects.push(log(EntryKind::Notice, why));
                    effects.extend(refusal(&question));
                    self.put_question(None, now);
                }
                None if over(self.heard, limits.silence) => {
                    let why = format!("the agent was silent for {:#}", limits.silence);
                    self.give_up(why, now, &mut effects);
                }
                _ => {}
            },
            Link::Canceling if over(self.since, limits.cancel) => {
                let why = format!(
                    "it did not end the turn within {:#}: its program was ended",
                    limits.cancel
                );
                effects.push(log(EntryKind::Notice, why.clone()));
                self.close(Then::Rest, &why, now, &mut effects);
            }
            _ => {}
        }
        if !effects.is_empty() {
            self.agent.updated_at = now;
        }
        effects
    }

    fn give_up(&mut self, why: String, now: Timestamp, effects: &mut Vec<Effect>) {
        effects.push(log(EntryKind::Notice, why.clone()));
        effects.push(Effect::Cancel);
        self.put_question(None, now);
        self.verdict = Some((TaskStatus::Failed, why));
        self.enter(Link::Canceling, Status::Canceling, now);
    }

    fn in_turn(&self) -> bool {
        matches!(self.link, Link::Turn | Link::Canceling)
    }

    fn put_question(&mut self, question: Option<Question>, now: Timestamp) {
        if let Some(task) = self.task.as_mut().filter(|task| !task.status.is_over()) {
            task.status =
                if question.is_some() { TaskStatus::NeedsAttention } else { TaskStatus::Running };
            task.message = question.as_ref().map(|question| question.text.clone());
            task.question = question;
            self.heard = now;
        }
    }

    fn end_task(
        &mut self,
        status: TaskStatus,
        message: Option<String>,
        now: Timestamp,
        effects: &mut Vec<Effect>,
    ) {
        let Some(task) = self.task.as_mut().filter(|task| !task.status.is_over()) else { return };
        task.status = status;
        task.ended_at = Some(now);
        task.question = None;
        let words = match &message {
            Some(message) => format!("task {}: {message}", status.as_str()),
            None => format!("task {}", status.as_str()),
        };
        task.message = message;
        effects.push(log(EntryKind::Notice, words));
    }

    fn enter(&mut self, link: Link, status: Status, now: Timestamp) {
        self.link = link;
        self.agent.status = status;
        self.since = now;
        self.heard = now;
    }

    fn conflict(&self, what: &str) -> Refused {
        Refused::Conflict(format!("agent `{}` {what}", self.agent.name))
    }
}

/// No, as far as the agent offers it.
fn refusal(question: &Question) -> Option<Effect> {
    let no = |kind| question.choices.iter().find(|choice| choice.kind == kind);
    let choice = no(ChoiceKind::RejectOnce).or_else(|| no(ChoiceKind::RejectAlways));
    Some(match choice {
        Some(choice) => Effect::Answer { question: question.id.clone(), choice: choice.id.clone() },
        None => Effect::Cancel,
    })
}

fn log(kind: EntryKind, content: String) -> Effect {
    Effect::Log(Entry { kind, content, joins: false })
}

#[cfg(test)]
mod tests;
