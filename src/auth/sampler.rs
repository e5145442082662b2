//! Which refused requests get a log entry of their own when there are very many.
//!
//! Per source, reason and minute the first ten are whole entries; the rest are counted and summed up
//! in one when the minute is over. By reason, because ten harmless refusals must not hide that
//! somebody uses a token that was revoked. Memory is bounded, and the counts always add up.

use std::collections::HashMap;

use jiff::{SignedDuration, Timestamp};

use super::source::Source;

/// Entries that a source gets for a reason within one window.
const WHOLE_PER_WINDOW: u32 = 10;
/// How long a window lasts.
const WINDOW: SignedDuration = SignedDuration::from_mins(1);
/// Windows that are open at once; beyond, all sources share one for each reason.
const MAX_WINDOWS: usize = 4096;

/// Decides, request by request.
#[derive(Debug, Default)]
pub struct Sampler {
    /// The source `None` stands for all sources beyond [`MAX_WINDOWS`].
    windows: HashMap<(Option<Source>, &'static str), Window>,
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

/// The requests of one source, refused for one reason, that got no entry of their own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// Where they came from; `None` is every source beyond those that are told apart.
    pub source: Option<Source>,
    /// Why they were refused.
    pub reason: &'static str,
    /// How many.
    pub count: u64,
    /// When the window began.
    pub since: Timestamp,
}

impl Sampler {
    /// Counts one refused request; a window that is over comes back as a summary.
    pub fn observe(
        &mut self,
        source: Source,
        reason: &'static str,
        now: Timestamp,
    ) -> (Sample, Option<Summary>) {
        let own = (Some(source), reason);
        let fits = self.windows.len() < MAX_WINDOWS || self.windows.contains_key(&own);
        let key = if fits { own } else { (None, reason) };
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
        ended.filter_map(|(key, window)| window.summary(key)).collect()
    }
}

impl Window {
    /// A clock that was set back ends it too.
    fn is_over(&self, now: Timestamp) -> bool {
        now.duration_since(self.since).abs() >= WINDOW
    }

    fn summary(&self, (source, reason): (Option<Source>, &'static str)) -> Option<Summary> {
        let (count, since) = (self.summed, self.since);
        (count > 0).then_some(Summary { source, reason, count, since })
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

        let samples: Vec<_> = (0..25).map(|_| sampler.observe(source(1), "r", at(0)).0).collect();

        assert_eq!(samples.iter().filter(|s| **s == Sample::Whole).count(), 10);
        assert_eq!(sampler.sweep(at(59)), []);
        let summary = Summary { source: Some(source(1)), reason: "r", count: 15, since: at(0) };
        assert_eq!(sampler.sweep(at(60)), [summary]);
        assert_eq!(sampler.observe(source(1), "r", at(61)).0, Sample::Whole);
    }

    #[test]
    fn many_refusals_for_one_reason_hide_none_for_another() {
        let mut sampler = Sampler::default();
        for _ in 0..25 {
            sampler.observe(source(1), "missing_token", at(0));
        }

        let revoked: Vec<_> =
            (0..11).map(|_| sampler.observe(source(1), "revoked", at(1)).0).collect();

        assert_eq!(revoked.iter().filter(|sample| **sample == Sample::Whole).count(), 10);
        let mut sums: Vec<_> = sampler.finish().iter().map(|s| (s.reason, s.count)).collect();
        sums.sort_unstable();
        assert_eq!(sums, [("missing_token", 15), ("revoked", 1)]);
    }

    #[test]
    fn a_request_after_the_minute_brings_the_sum_of_the_minute_before() {
        let mut sampler = Sampler::default();
        for _ in 0..12 {
            sampler.observe(source(1), "r", at(0));
        }

        let (sample, summary) = sampler.observe(source(1), "r", at(100));

        assert_eq!(sample, Sample::Whole);
        assert_eq!(summary.unwrap().count, 2);
    }

    #[test]
    fn counts_add_up_whatever_the_number_of_sources() {
        let mut sampler = Sampler::default();
        let (mut whole, mut summed) = (0, 0);

        for n in 0..100_000_u32 {
            let reason = ["a", "b", "c"][n as usize % 3];
            let now = at(i64::from(n) / 500);
            let (sample, summary) = sampler.observe(source(n % 20_000), reason, now);
            whole += u64::from(sample == Sample::Whole);
            summed += summary.map_or(0, |s| s.count);
            assert!(sampler.windows.len() <= MAX_WINDOWS + 3);
        }
        summed += sampler.finish().iter().map(|s| s.count).sum::<u64>();

        assert_eq!(whole + summed, 100_000);
    }
}
