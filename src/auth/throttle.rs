//! Who has tried too many wrong tokens.
//!
//! More than ten *different* wrong tokens from one source within a minute: further wrong ones are
//! told to come back. A client with one stale token, however often it asks, tries one. A right token
//! is never asked about here, so one bad client behind an address locks nobody out. Memory is
//! bounded: beyond that many sources, those that are new are not counted.

use std::collections::HashMap;

use jiff::{SignedDuration, Timestamp};

use super::{Digest, Source};

/// Different wrong tokens that a source may try within one window.
const MAX_TRIES: usize = 10;
/// How long a window lasts, from the first wrong token on.
const WINDOW: SignedDuration = SignedDuration::from_mins(1);
/// Sources that are counted at once.
const MAX_SOURCES: usize = 16_384;
/// How often windows that are over are looked for when there is no room.
const SWEEP_PAUSE: SignedDuration = SignedDuration::from_secs(1);

/// Counts, wrong token by wrong token.
#[derive(Debug, Default)]
pub struct Throttle {
    windows: HashMap<Source, Window>,
    swept: Option<Timestamp>,
}

#[derive(Debug)]
struct Window {
    since: Timestamp,
    /// Those that were tried, as far as they count; a chance hit of these keys lets one more pass.
    tried: [u64; MAX_TRIES],
    count: usize,
}

impl Throttle {
    /// A source presented a token that was never ours. How long it has to wait, if it has tried too
    /// many.
    pub fn wrong(
        &mut self,
        source: Source,
        presented: &Digest,
        now: Timestamp,
    ) -> Option<SignedDuration> {
        self.make_room(source, now);
        let fresh = || Window { since: now, tried: [0; MAX_TRIES], count: 0 };
        if self.windows.len() >= MAX_SOURCES && !self.windows.contains_key(&source) {
            return None;
        }
        let window = self.windows.entry(source).or_insert_with(fresh);
        if window.is_over(now) {
            *window = fresh();
        }
        window.tries(presented.prefix()).then(|| WINDOW - now.duration_since(window.since))
    }

    fn make_room(&mut self, source: Source, now: Timestamp) {
        let is_full = self.windows.len() >= MAX_SOURCES && !self.windows.contains_key(&source);
        let long_ago = |swept: Timestamp| now.duration_since(swept).abs() >= SWEEP_PAUSE;
        if is_full && self.swept.is_none_or(long_ago) {
            self.windows.retain(|_, window| !window.is_over(now));
            self.swept = Some(now);
        }
    }
}

impl Window {
    /// A clock that was set back ends it too.
    fn is_over(&self, now: Timestamp) -> bool {
        now.duration_since(self.since).abs() >= WINDOW
    }

    /// Whether this one is too many.
    fn tries(&mut self, key: u64) -> bool {
        if self.count > MAX_TRIES {
            return true;
        }
        if self.tried[..self.count.min(MAX_TRIES)].contains(&key) {
            return false;
        }
        if let Some(free) = self.tried.get_mut(self.count) {
            *free = key;
        }
        self.count += 1;
        self.count > MAX_TRIES
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(n: u32) -> Source {
        Source::of(std::net::Ipv4Addr::from_bits(n).into())
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn token(n: u32) -> Digest {
        Digest::of(&n.to_be_bytes())
    }

    #[test]
    fn the_eleventh_wrong_token_within_a_minute_waits_for_the_minute_to_end() {
        let mut throttle = Throttle::default();
        for n in 0..10 {
            assert_eq!(throttle.wrong(source(1), &token(n), at(0)), None);
        }

        assert_eq!(
            throttle.wrong(source(1), &token(10), at(20)),
            Some(SignedDuration::from_secs(40))
        );

        assert!(throttle.wrong(source(1), &token(0), at(59)).is_some(), "known, and still wrong");
        assert_eq!(throttle.wrong(source(2), &token(0), at(59)), None, "another source");
        assert_eq!(throttle.wrong(source(1), &token(0), at(60)), None, "another minute");
    }

    #[test]
    fn one_stale_token_is_one_try_however_often_it_comes() {
        let mut throttle = Throttle::default();

        let waits = (0..10_000).filter_map(|_| throttle.wrong(source(1), &token(1), at(0)));

        assert_eq!(waits.count(), 0);
    }

    #[test]
    fn memory_is_bounded_and_room_is_made_for_sources_that_come_later() {
        let mut throttle = Throttle::default();
        for n in 0..100_000 {
            throttle.wrong(source(n), &token(n), at(0));
        }
        assert_eq!(throttle.windows.len(), MAX_SOURCES);

        for n in 0..11 {
            throttle.wrong(source(200_000), &token(n), at(61));
        }

        assert!(throttle.wrong(source(200_000), &token(99), at(61)).is_some());
        assert_eq!(throttle.windows.len(), 1);
    }

    #[test]
    fn a_clock_that_is_set_back_lets_nobody_wait_for_it() {
        let mut throttle = Throttle::default();
        for n in 0..=10 {
            throttle.wrong(source(1), &token(n), at(100_000));
        }

        assert_eq!(throttle.wrong(source(1), &token(11), at(0)), None);
    }
}
