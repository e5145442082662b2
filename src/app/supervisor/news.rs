//! What a session's news mean: for the log, and for the agent's life.

use super::work::Work;
use crate::{
    app::ports::sessions::{Cause, News, Outcome},
    fleet::{Entry, EntryKind, TaskStatus, lifecycle::Sign},
};

/// What goes to the log, and what it is a sign of.
pub(super) fn told(news: &News) -> (Option<Entry>, Sign) {
    let said = match news {
        News::Said(entry) => Some(entry.clone()),
        News::Asked(question) => Some(entry(EntryKind::Question, question.text.clone())),
        News::Published(_) | News::NotPublished(_) | News::Kept { .. } => {
            let mut work = Work::default();
            work.hear(news);
            work.words().map(|words| entry(EntryKind::Notice, words))
        }
        _ => None,
    };
    let sign = match news {
        News::Opened { session } => Sign::Opened(session.clone()),
        News::Said(_)
        | News::Published(_)
        | News::NotPublished(_)
        | News::NothingToPublish(_)
        | News::Kept { .. } => Sign::Heard,
        News::Asked(question) => Sign::Asked(question.clone()),
        News::Withdrawn { question } => Sign::Withdrawn(question.clone()),
        News::Spent(usage) => Sign::Spent(usage.clone()),
        News::TurnEnded(Outcome::Done) => Sign::TurnEnded(TaskStatus::Done, None),
        News::TurnEnded(Outcome::Canceled) => Sign::TurnEnded(TaskStatus::Canceled, None),
        News::TurnEnded(Outcome::Failed(why)) => {
            Sign::TurnEnded(TaskStatus::Failed, Some(why.clone()))
        }
        News::Ended(Cause::NotResumed(why)) => Sign::NotResumed(why.clone()),
        News::Ended(cause) => Sign::Ended(words(cause)),
    };
    (said, sign)
}

fn entry(kind: EntryKind, content: String) -> Entry {
    Entry { kind, content, joins: false }
}

/// Why a program ended, unless it was told to.
pub(super) fn words(cause: &Cause) -> Option<String> {
    match cause {
        Cause::Closed => None,
        Cause::NotOpened(why) => Some(format!("the agent could not be started: {why}")),
        Cause::Exited(0) => Some("the agent's program ended by itself".to_owned()),
        Cause::Exited(code) => Some(format!("the agent's program ended with exit status {code}")),
        Cause::Signaled(signal) => {
            Some(format!("the agent's program was ended by signal {signal}"))
        }
        Cause::OutOfMemory => Some(
            "the agent's program was ended because it ran out of memory; give it more with \
             `systemctl edit fleet-agent@.service` (MemoryMax=), or give it smaller tasks"
                .to_owned(),
        ),
        Cause::Lost(why) | Cause::NotResumed(why) => Some(format!("the agent was lost: {why}")),
    }
}
