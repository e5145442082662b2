//! Where what has happened outlives the daemon.

use std::time::Duration;

use jiff::Timestamp;

use super::fleet_store::Stored;

/// Most events that one [`EventStore::expire`] removes of a trail.
pub const MAX_EXPIRED: u32 = 256;

/// How much faster than time passes events may age when the clock says so.
///
/// A clock that was set forth by a year removes nothing at once, and there are days to set it right; an
/// hour's work a day is enough for ages to be right after a longer pause.
pub const CATCH_UP: u32 = 24;

/// What belongs together: each trail has limits of its own, so that a flood in one pushes nothing out
/// of the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Trail {
    /// What happens to agents and tasks.
    Fleet,
    /// Who has changed what.
    Audit,
    /// Requests that were refused, or would have been.
    Refusals,
}

impl Trail {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Fleet, Self::Audit, Self::Refusals];

    /// Its word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Fleet => "fleet",
            Self::Audit => "audit",
            Self::Refusals => "refusals",
        }
    }
}

/// Something that has happened. All texts are cut and escaped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// When.
    pub time: Timestamp,
    /// What kind: the word of one of [`KINDS`](crate::app::audit::KINDS).
    pub event: String,
    /// Where it is kept.
    pub trail: Trail,
    /// The agent that it happened to.
    pub agent: Option<String>,
    /// The token that it happened to, or was done with.
    pub token: Option<String>,
    /// It in a sentence.
    pub message: String,
    /// Everything else that is known, by name.
    pub fields: Vec<(String, String)>,
}

/// An event as the store gives it back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recorded {
    /// Grows with each event, over restarts too; is never used again.
    pub id: i64,
    /// What has happened.
    pub event: Event,
}

/// Which events.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Query {
    /// The audit trail and what was refused; else what happened in the fleet.
    pub audit: bool,
    /// Only after this one.
    pub after: Option<i64>,
    /// From the first one on that is not older; does nothing beside `after`.
    pub since: Option<Timestamp>,
    /// Only this agent's.
    pub agent: Option<String>,
    /// Only this token's.
    pub token: Option<String>,
    /// Most that are wanted, from 1.
    pub limit: u32,
}

/// Some events, oldest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Events {
    /// At most as many as were wanted: the oldest of those after `after` or since `since`, or without
    /// both the newest.
    pub events: Vec<Recorded>,
    /// Where to go on: everything up to this id was looked at.
    pub last: i64,
    /// Whether there is more after that.
    pub more: bool,
}

/// How long events are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// Older ones go.
    pub max_age: Duration,
    /// The oldest ones of a trail go once it has more bytes.
    pub max_bytes: u64,
}

/// The events.
pub trait EventStore: Send + Sync + 'static {
    /// Adds events, in their order, and answers once they are durable.
    ///
    /// # Errors
    /// When the disk refuses, or more calls wait than the store holds; none was added then.
    fn record(&self, events: Vec<Event>) -> Stored<()>;

    /// Removes some of what needs not be kept, [`MAX_EXPIRED`] of each trail and limit at most, so
    /// that nobody waits long. Answers how many were removed. Ages grow at most [`CATCH_UP`] times as
    /// fast as time passes, over restarts too, wherever the clock has jumped to; `passed` is the time
    /// since the last call, as far as it is known.
    ///
    /// # Errors
    /// When the disk refuses.
    fn expire(&self, retention: Retention, now: Timestamp, passed: Duration) -> Stored<u64>;

    /// Looks events up.
    ///
    /// # Errors
    /// When the store can't be read.
    fn events(&self, query: Query) -> Stored<Events>;
}
