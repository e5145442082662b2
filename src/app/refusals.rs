//! Counts and logs what was refused, and what would have been.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use jiff::Timestamp;

use super::{audit, audit::RequestInfo, clock::Clock, tokens::Denied};
use crate::auth::{
    Refusal, Source,
    sampler::{Sample, Sampler, Summary},
    throttle::Throttle,
};

/// Sources that are remembered as not ready for authentication.
const MAX_UNREADY: usize = 1024;

/// All refusals of this daemon since its start.
pub struct Refusals {
    clock: Arc<dyn Clock>,
    by_reason: [AtomicU64; Refusal::ALL.len()],
    passed_by_reason: [AtomicU64; Refusal::ALL.len()],
    forbidden: AtomicU64,
    sampler: Mutex<Sampler>,
    throttle: Mutex<Throttle>,
    unready: Mutex<HashMap<Source, Unready>>,
}

/// A source whose requests were passed only because authentication is off.
#[derive(Debug, Clone)]
pub struct Unready {
    /// How many requests.
    pub requests: u64,
    /// Why the last one would have been refused.
    pub reason: Refusal,
    /// When the last one came.
    pub last_seen: Timestamp,
}

impl Refusals {
    /// Nothing refused yet.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            clock,
            by_reason: Default::default(),
            passed_by_reason: Default::default(),
            forbidden: AtomicU64::new(0),
            sampler: Mutex::default(),
            throttle: Mutex::default(),
            unready: Mutex::default(),
        }
    }

    /// Somebody is to be refused. Tells those to come back who have tried too many wrong tokens; a
    /// token that was ours once is none of these.
    pub fn throttle(&self, denied: Denied, client: IpAddr) -> Denied {
        let (Refusal::InvalidToken, Some(digest)) = (denied.refusal, denied.digest) else {
            return denied;
        };
        let wait = lock(&self.throttle).wrong(Source::of(client), &digest, denied.at);
        match wait {
            None => denied,
            retry_after => Denied { refusal: Refusal::Throttled, retry_after, ..denied },
        }
    }

    /// A request was refused with 401 or 429.
    pub fn unauthorized(&self, denied: &Denied, info: &RequestInfo<'_>) {
        self.by_reason[denied.refusal as usize].fetch_add(1, Relaxed);
        if self.sampled(denied.refusal.reason(), info, denied.at) == Sample::Whole {
            audit::auth_failure(denied, info);
        }
    }

    /// A request was passed that would be refused if authentication were on.
    pub fn passed(&self, denied: &Denied, info: &RequestInfo<'_>) {
        self.passed_by_reason[denied.refusal as usize].fetch_add(1, Relaxed);
        self.remember(denied.refusal, Source::of(info.client.ip()), denied.at);
        if self.sampled(denied.refusal.reason(), info, denied.at) == Sample::Whole {
            audit::would_refuse(denied, info);
        }
    }

    /// A request was refused with 403 for its Host or Origin.
    pub fn forbidden(&self, reason: &'static str, info: &RequestInfo<'_>) {
        self.forbidden.fetch_add(1, Relaxed);
        if self.sampled(reason, info, self.clock.now()) == Sample::Whole {
            audit::request_refused(reason, info);
        }
    }

    /// How many were refused with 401 or 429, by reason.
    pub fn counts(&self) -> Vec<(Refusal, u64)> {
        counts(&self.by_reason)
    }

    /// How many passed only because authentication is off, by reason.
    pub fn passed_counts(&self) -> Vec<(Refusal, u64)> {
        counts(&self.passed_by_reason)
    }

    /// How many were refused with 403 for their Host or Origin.
    pub fn forbidden_count(&self) -> u64 {
        self.forbidden.load(Relaxed)
    }

    /// The sources that are not ready for authentication, busiest first.
    pub fn unready(&self) -> Vec<(Source, Unready)> {
        let mut sources: Vec<_> = lock(&self.unready)
            .iter()
            .map(|(source, unready)| (*source, unready.clone()))
            .collect();
        sources.sort_by(|(a, x), (b, y)| y.requests.cmp(&x.requests).then(a.cmp(b)));
        sources
    }

    /// Sums up the minutes that are over. To be called every few seconds.
    pub fn sweep(&self) {
        let over = lock(&self.sampler).sweep(self.clock.now());
        over.iter().for_each(audit::refusals_summed_up);
    }

    /// Sums up everything that has no entry yet: for the end of the daemon.
    pub fn finish(&self) {
        let all = lock(&self.sampler).finish();
        all.iter().for_each(audit::refusals_summed_up);
    }

    fn sampled(&self, reason: &'static str, info: &RequestInfo<'_>, now: Timestamp) -> Sample {
        let source = Source::of(info.client.ip());
        let (sample, over): (Sample, Option<Summary>) =
            lock(&self.sampler).observe(source, reason, now);
        over.iter().for_each(audit::refusals_summed_up);
        sample
    }

    fn remember(&self, reason: Refusal, source: Source, last_seen: Timestamp) {
        let mut unready = lock(&self.unready);
        if unready.len() >= MAX_UNREADY && !unready.contains_key(&source) {
            let oldest = unready.iter().min_by_key(|(_, u)| u.last_seen).map(|(source, _)| *source);
            oldest.and_then(|source| unready.remove(&source));
        }
        let fresh = Unready { requests: 0, reason, last_seen };
        let entry = unready.entry(source).or_insert(fresh);
        *entry = Unready { requests: entry.requests + 1, reason, last_seen };
    }
}

fn counts(by_reason: &[AtomicU64; Refusal::ALL.len()]) -> Vec<(Refusal, u64)> {
    Refusal::ALL.into_iter().map(|r| (r, by_reason[r as usize].load(Relaxed))).collect()
}

/// These critical sections can't panic half-way; a poisoned lock still guards a sound value.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
