//! A secret in force, with what the daemon observes of it.

use std::{
    borrow::Borrow,
    sync::{
        Arc,
        atomic::Ordering::{Relaxed, SeqCst},
    },
};

use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use crate::{
    app::{
        ports::Use,
        sync::{AtomicBool, AtomicI64, AtomicU64, OnceLock, fence},
    },
    auth::{Generation, Source, Token},
};

/// One secret of a token.
#[derive(Debug)]
pub struct Issued {
    /// The secret, by its digest.
    pub generation: Generation,
    observed: Arc<Observed>,
}

#[derive(Debug)]
struct Observed {
    requests: AtomicU64,
    /// Unix seconds; 0 is never.
    last_used: AtomicI64,
    /// [`Source::to_bits`]
    last_from: AtomicU64,
    /// Most secrets have nothing in flight, so nothing that could be ended.
    over: OnceLock<CancellationToken>,
}

impl Issued {
    /// A secret that was used like this so far.
    pub(super) fn new(generation: Generation, used: Use) -> Arc<Self> {
        let observed = Observed {
            requests: used.requests.into(),
            last_used: used.last.map_or(0, Timestamp::as_second).into(),
            last_from: used.from.map_or(0, Source::to_bits).into(),
            over: OnceLock::new(),
        };
        Arc::new(Self { generation, observed: Arc::new(observed) })
    }

    /// The same secret with another end. What is in flight with it goes on.
    pub(super) fn with(&self, generation: Generation) -> Arc<Self> {
        Arc::new(Self { generation, observed: Arc::clone(&self.observed) })
    }

    /// The same secret, known anew: whatever is in flight with the former one can be ended.
    pub(super) fn anew(&self, generation: Generation) -> Arc<Self> {
        Self::new(generation, self.used())
    }

    /// The token that it is a secret of.
    pub fn token(&self) -> &Token {
        &self.generation.token
    }

    /// Fires when the secret is revoked, replaced or expired: whatever is in flight with it ends.
    pub fn over(&self) -> &CancellationToken {
        self.observed.over.get_or_init(CancellationToken::new)
    }

    /// Whether that has happened.
    pub(super) fn is_over(&self) -> bool {
        self.observed.over.get().is_some_and(CancellationToken::is_cancelled)
    }

    /// How it was used.
    pub fn used(&self) -> Use {
        let seconds = self.observed.last_used.load(Relaxed);
        let last = if seconds == 0 { None } else { Timestamp::from_second(seconds).ok() };
        let from = last.map(|_| Source::from_bits(self.observed.last_from.load(Relaxed)));
        Use { requests: self.observed.requests.load(Relaxed), last, from }
    }

    /// Counts a request; whether it is the first.
    pub(super) fn count(&self, from: Source, now: Timestamp, unsaved: &AtomicBool) -> bool {
        self.observed.last_used.store(now.as_second(), Relaxed);
        self.observed.last_from.store(from.to_bits(), Relaxed);
        let is_first = self.observed.requests.fetch_add(1, Relaxed) == 0;
        // Whoever writes use down either sees this one or is seen here to have begun.
        fence(SeqCst);
        // All requests share this word: it is written only when it changes.
        if !unsaved.load(Relaxed) {
            unsaved.store(true, Relaxed);
        }
        is_first
    }
}

impl Borrow<Generation> for Arc<Issued> {
    fn borrow(&self) -> &Generation {
        &self.generation
    }
}
