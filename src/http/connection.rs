//! One open connection: whom it serves, what it is doing and for how long.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use http::Extensions;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::auth::Source;

/// How long a client in the middle of a request may leave us waiting before its place may go to a
/// new client.
pub(super) const STALLED: Duration = Duration::from_secs(2);
/// How long a client may take for the next bytes of an answer.
pub(super) const SEND_TIMEOUT: Duration = Duration::from_secs(30);

/// What a connection is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u64)]
pub(super) enum Phase {
    /// The client has to send something: the TLS handshake or a request's header.
    Header = 0,
    /// A request is being answered, since whenever.
    Busy = 1,
    /// Between two requests.
    Idle = 2,
    /// The client has to send a request's body.
    Body = 3,
    /// The same, of a request that is refused whatever its body says.
    Refused = 4,
    /// The client was told all, and may take its time to close its side.
    Closing = 5,
}

impl Phase {
    const BITS: u64 = 3;

    fn of(state: u64) -> Self {
        match state & ((1 << Self::BITS) - 1) {
            0 => Self::Header,
            1 => Self::Busy,
            2 => Self::Idle,
            3 => Self::Body,
            4 => Self::Refused,
            _ => Self::Closing,
        }
    }
}

/// One open connection, as its task and the janitor share it.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) source: Source,
    start: Instant,
    /// Milliseconds since `start`, then the [`Phase`].
    state: AtomicU64,
    /// Milliseconds since `start` at which the client last took bytes of what it has to take, plus
    /// one; 0 while it has taken all.
    unsent: AtomicU64,
    /// Fires when it has to end.
    pub(super) end: CancellationToken,
}

/// What became of bytes that were to be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sent {
    All,
    Some,
    Nothing,
}

impl Connection {
    pub(super) fn new(source: Source) -> Self {
        let state = AtomicU64::new(Phase::Header as u64);
        let unsent = AtomicU64::new(0);
        Self { source, start: Instant::now(), state, unsent, end: CancellationToken::new() }
    }

    pub(super) fn enter(&self, phase: Phase) {
        // Nobody asks how long it has been busy, and each look at the clock costs.
        let since = if phase == Phase::Busy { 0 } else { self.millis() };
        self.state.store(since << Phase::BITS | phase as u64, Relaxed);
    }

    fn millis(&self) -> u64 {
        self.start.elapsed().as_millis() as u64
    }

    /// Bytes came in: between two requests, they begin a header; in a body, they are progress.
    pub(super) fn received(&self) {
        match Phase::of(self.state.load(Relaxed)) {
            Phase::Idle => self.enter(Phase::Header),
            Phase::Body => self.enter(Phase::Body),
            Phase::Header | Phase::Busy | Phase::Refused | Phase::Closing => {}
        }
    }

    /// Bytes were to go out. A request is answered long before its client has read the answer.
    pub(super) fn sent(&self, sent: Sent) {
        let unsent = self.unsent.load(Relaxed) != 0;
        match sent {
            Sent::All if unsent => {
                self.unsent.store(0, Relaxed);
                if self.phase().0 == Phase::Idle {
                    self.enter(Phase::Idle);
                }
            }
            Sent::Nothing if unsent => {}
            Sent::All => {}
            Sent::Some | Sent::Nothing => self.unsent.store(self.millis() + 1, Relaxed),
        }
    }

    /// How long the client has not taken a byte of what it has to take.
    pub(super) fn stalled(&self) -> Option<Duration> {
        let since = self.unsent.load(Relaxed).checked_sub(1)?;
        Some(self.start.elapsed().saturating_sub(Duration::from_millis(since)))
    }

    /// Whether a request is being read or answered.
    pub(super) fn is_busy(&self) -> bool {
        matches!(self.phase().0, Phase::Busy | Phase::Body | Phase::Refused)
    }

    pub(super) fn phase(&self) -> (Phase, Duration) {
        let state = self.state.load(Relaxed);
        let since = Duration::from_millis(state >> Phase::BITS);
        (Phase::of(state), self.start.elapsed().saturating_sub(since))
    }

    /// How easily a new client may have its place; `None` while it may not.
    pub(super) fn dispensable(&self) -> Option<Rank> {
        if let Some(age) = self.stalled() {
            return (age >= STALLED).then_some((Use::Maybe, age));
        }
        match self.phase() {
            (Phase::Refused | Phase::Closing, age) => Some((Use::None, age)),
            (Phase::Header | Phase::Idle, age) => Some((Use::Maybe, age)),
            (Phase::Body, age) => (age >= STALLED).then_some((Use::Maybe, age)),
            (Phase::Busy, _) => None,
        }
    }
}

/// The greater, the sooner a connection is ended: by its use, then by how long it has waited.
pub(super) type Rank = (Use, Duration);

/// Whether anybody still has something from a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Use {
    /// Its client may be about to ask something.
    Maybe,
    /// All that is left to say is no or farewell.
    None,
}

/// Says that a request's body is being read, until it is dropped.
pub(super) struct Reading(Option<Arc<Connection>>);

impl Reading {
    /// `phase` is [`Phase::Body`] or [`Phase::Refused`].
    pub(super) fn begin(of: &Extensions, phase: Phase) -> Self {
        let connection = of.get::<Arc<Connection>>().cloned();
        connection.iter().for_each(|connection| connection.enter(phase));
        Self(connection)
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        self.0.iter().for_each(|connection| connection.enter(Phase::Busy));
    }
}
