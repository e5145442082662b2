//! Which refused requests get a log entry of their own when there are very many.
//!
//! Per source and minute the first ten are whole entries; the rest are counted and summed up in one
//! when the minute is over. Memory is bounded, and the counts always add up.

use std::collections::HashMap;

use jiff::{SignedDuration, Timestamp};

use super::source::Source;

/// Entries that a source gets for itself within one window.
const WHOLE_PER_WINDOW: u32 = 10;
/// How long a window lasts.
const WINDOW: SignedDuration = SignedDuration::from_mins(1);
/// Sources that are told apart at once; all others share one window.
const MAX_SOURCES: usize = 4096;

/// Decides, request by request.
#[derive(Debug, Default)]
pub struct Sampler {
    /// The key `None` stands for all sources beyond [`MAX_SOURCES`].
    windows: HashMap<Option<Source>, Window>,
}

#[derive(Debug)]
struct Window {
    since: Timestamp,
    whole: u32,
    summed: u64,
}

/// What to do with one refused request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sample {
    /// Write an entry for it.
    Whole,
    /// It is in a later [`Summary`].
    Summed,
}

/// The requests of one source that got no entry of their own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// Where they came from; `None` is every source beyond those that are told apart.
    pub source: Option<Source>,
    /// How many.
    pub count: u64,
    /// When the window began.
    pub since: Timestamp,
}

impl Sampler {
    /// Counts one refused request; a window that is over comes back as a summary.
    pub fn observe(&mut self, source: Source, now: Timestamp) -> (Sample, Option<Summary>) {
        let known = self.windows.contains_key(&Some(source)) || self.windows.len() < MAX_SOURCES;
        let key = known.then_some(source);
        let fresh = || Window { since: now, whole: 0, summed: 0 };
        let window = self.windows.entry(key).or_insert_with(fresh);
        let over = window.is_over(now).then(|| std::mem::replace(window, fresh()));
        let sample = if window.whole < WHOLE_PER_WINDOW {
            window.whole += 1;
            Sample::Whole
        } else {
            window.summed += 1;
            Sample::Summed
        };
        (sample, over.and_then(|window| window.summary(key)))
    }

    /// Ends the windows that are over and sums them up.
    pub fn sweep(&mut self, now: Timestamp) -> Vec<Summary> {
        self.end(|window| window.is_over(now))
    }

    /// Ends all windows and sums them up: for the end of the daemon.
    pub fn finish(&mut self) -> Vec<Summary> {
        self.end(|_| true)
    }

    fn end(&mut self, over: impl Fn(&Window) -> bool) -> Vec<Summary> {
        let ended = self.windows.extract_if(|_, window| over(window));
        ended.filter_map(|(source, window)| window.summary(source)).collect()
    }
}

impl Window {
    /// A clock that was set back ends it too.
    fn is_over(&self, now: Timestamp) -> bool {
        now.duration_since(self.since).abs() >= WINDOW
    }

    fn summary(&self, source: Option<Source>) -> Option<Summary> {
        (self.summed > 0).then_some(Summary { source, count: self.summed, since: self.since })
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use super::*;

    fn source(n: u32) -> Source {
        Source::of(IpAddr::V4(Ipv4Addr::from_bits(n)))
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn the_first_ten_of_a_minute_are_whole_and_the_rest_are_summed_up() {
        let mut sampler = Sampler::default();

        let samples: Vec<_> = (0..25).map(|_| sampler.observe(source(1), at(0)).0).collect();

        assert_eq!(samples.iter().filter(|s| **s == Sample::Whole).count(), 10);
        assert_eq!(sampler.sweep(at(59)), []);
        let summary = Summary { source: Some(source(1)), count: 15, since: at(0) };
        assert_eq!(sampler.sweep(at(60)), [summary]);
        assert_eq!(sampler.observe(source(1), at(61)).0, Sample::Whole);
    }

    #[test]
    fn a_request_after_the_minute_brings_the_sum_of_the_minute_before() {
        let mut sampler = Sampler::default();
        for _ in 0..12 {
            sampler.observe(source(1), at(0));
        }

        let (sample, summary) = sampler.observe(source(1), at(100));

        assert_eq!(sample, Sample::Whole);
        assert_eq!(summary.unwrap().count, 2);
    }

    #[test]
    fn counts_add_up_whatever_the_number_of_sources() {
        let mut sampler = Sampler::default();
        let (mut whole, mut summed) = (0, 0);

        for n in 0..100_000_u32 {
            let (sample, summary) = sampler.observe(source(n % 20_000), at(i64::from(n) / 500));
            whole += u64::from(sample == Sample::Whole);
            summed += summary.map_or(0, |s| s.count);
            assert!(sampler.windows.len() <= MAX_SOURCES + 1);
        }
        summed += sampler.finish().iter().map(|s| s.count).sum::<u64>();

        assert_eq!(whole + summed, 100_000);
    }
}
