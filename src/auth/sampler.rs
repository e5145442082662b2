//! Which refused requests get a log entry of their own when there are very many.
//!
//! Per source, reason and minute the first ten are whole entries; the rest are counted and summed up
//! in one when the minute is over. By reason, because ten harmless refusals must not hide that
//! somebody uses a token that was revoked. For each reason there is a budget for all sources
//! together, so that a flood from thousands of them does not push everything else out of the
//! journal. Memory is bounded, and the counts always add up.

use std::{cmp::Reverse, collections::HashMap};

use jiff::{SignedDuration, Timestamp};

use super::source::Source;

/// Entries that a source gets for a reason within one window.
const WHOLE_PER_WINDOW: u32 = 10;
/// How long a window lasts.
const WINDOW: SignedDuration = SignedDuration::from_mins(1);
/// Windows that are open at once; beyond, all sources share one for each reason.
const MAX_WINDOWS: usize = 4096;
/// Entries that all sources together get for a reason within one window. Half of them are for sources
/// that have none yet, so that a few loud ones do not hide the others.
const MAX_WHOLE: u32 = 200;
/// Sums of their own that sources get for a reason within one window; the rest are in one sum.
const MAX_SUMS: u32 = 100;

/// Decides, request by request.
#[derive(Debug, Default)]
pub struct Sampler {
    windows: HashMap<Key, Window>,
    budgets: HashMap<&'static str, Budget>,
}

/// Whose window, and for which reason. `None` stands for all sources that have none of their own,
/// and for those whose sums were too many.
type Key = (Option<Source>, &'static str);

#[derive(Debug)]
struct Window {
    began: Timestamp,
    whole: u32,
    summed: u64,
    /// When the first of the summed may have come: before it began, if it took over others' sums.
    since: Timestamp,
}

/// What a reason has had in the present minute.
#[derive(Debug)]
struct Budget {
    began: Timestamp,
    whole: u32,
    sums: u32,
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
    /// Where they came from; `None` is every source that has no sum of its own.
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
        let budget = self.budgets.entry(reason).or_insert_with(|| Budget::new(now));
        budget.renew(now);
        let window = self.windows.entry(key).or_insert_with(|| Window::new(now));
        let over = window.is_over(now).then(|| std::mem::replace(window, Window::new(now)));
        let sample = if window.whole < WHOLE_PER_WINDOW && budget.has_entry(window.whole == 0) {
            window.whole += 1;
            budget.whole += 1;
            Sample::Whole
        } else {
            window.summed += 1;
            Sample::Summed
        };
        (sample, over.and_then(|window| self.sum_up(key, &window)))
    }

    /// Ends the windows that are over and sums them up.
    pub fn sweep(&mut self, now: Timestamp) -> Vec<Summary> {
        self.budgets.values_mut().for_each(|budget| budget.renew(now));
        self.end(|window| window.is_over(now))
    }

    /// Ends all windows and sums them up: for the end of the daemon.
    pub fn finish(&mut self) -> Vec<Summary> {
        self.end(|_| true)
    }

    fn end(&mut self, over: impl Fn(&Window) -> bool) -> Vec<Summary> {
        let own = self.windows.extract_if(|(source, _), window| source.is_some() && over(window));
        let mut own: Vec<_> = own.collect();
        // The busiest have sums of their own; what the others share comes last, when it is whole.
        own.sort_unstable_by_key(|(_, window)| Reverse(window.summed));
        let mut sums: Vec<_> =
            own.iter().filter_map(|(key, window)| self.sum_up(*key, window)).collect();
        let shared =
            self.windows.extract_if(|(source, _), window| source.is_none() && over(window));
        sums.extend(shared.filter_map(|(key, window)| window.summary(key)));
        sums
    }

    /// The sum of a window that is over; if there are too many, it becomes a part of the sum of all
    /// other sources.
    fn sum_up(&mut self, key: Key, window: &Window) -> Option<Summary> {
        let (source, reason) = key;
        let summary = window.summary(key)?;
        let budget = self.budgets.get_mut(reason);
        if source.is_none() || budget.is_none_or(Budget::takes_sum) {
            return Some(summary);
        }
        let fresh = || Window::new(window.began);
        let shared = self.windows.entry((None, reason)).or_insert_with(fresh);
        shared.summed += summary.count;
        shared.since = shared.since.min(summary.since);
        None
    }
}

impl Window {
    fn new(now: Timestamp) -> Self {
        Self { began: now, whole: 0, summed: 0, since: now }
    }

    fn is_over(&self, now: Timestamp) -> bool {
        is_over(self.began, now)
    }

    fn summary(&self, (source, reason): Key) -> Option<Summary> {
        let (count, since) = (self.summed, self.since);
        (count > 0).then_some(Summary { source, reason, count, since })
    }
}

impl Budget {
    fn new(now: Timestamp) -> Self {
        Self { began: now, whole: 0, sums: 0 }
    }

    fn renew(&mut self, now: Timestamp) {
        if is_over(self.began, now) {
            *self = Self::new(now);
        }
    }

    fn has_entry(&self, first_of_its_source: bool) -> bool {
        self.whole < if first_of_its_source { MAX_WHOLE } else { MAX_WHOLE / 2 }
    }

    fn takes_sum(&mut self) -> bool {
        let has_room = self.sums < MAX_SUMS;
        self.sums += u32::from(has_room);
        has_room
    }
}

/// A clock that was set back ends it too.
fn is_over(began: Timestamp, now: Timestamp) -> bool {
    now.duration_since(began).abs() >= WINDOW
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

    #[test]
    fn a_flood_from_thousands_of_sources_gets_few_entries_and_its_counts_add_up() {
        const MINUTES: i64 = 5;
        let mut sampler = Sampler::default();
        let (mut whole, mut sums) = (0, Vec::new());

        for n in 0..100_000 * MINUTES as u32 {
            let now = at(i64::from(n) * 60 / 100_000);
            let (sample, summary) = sampler.observe(source(n % 4_000), "r", now);
            whole += u64::from(sample == Sample::Whole);
            sums.extend(summary);
            if n % 10_000 == 0 {
                sums.extend(sampler.sweep(now));
            }
        }
        sums.extend(sampler.finish());

        let counts = sums.iter().map(|summary| summary.count).sum::<u64>();
        assert_eq!(whole + counts, 100_000 * MINUTES as u64);
        assert!(whole <= u64::from(MAX_WHOLE) * MINUTES as u64, "{whole} entries");
        let shared = sums.iter().filter(|summary| summary.source.is_none()).count();
        assert!(shared <= 12 * MINUTES as usize, "{shared} sums of other sources");
        let own = sums.len() - shared;
        assert!(own <= MAX_SUMS as usize * (MINUTES + 1) as usize, "{own} sums of one source");
    }

    #[test]
    fn loud_sources_leave_room_for_one_that_has_no_entry_yet_and_for_other_reasons() {
        let mut sampler = Sampler::default();
        for n in 0..1_000 {
            sampler.observe(source(n % 20), "r", at(0));
        }

        let quiet = [(); 2].map(|()| sampler.observe(source(99), "r", at(1)).0);

        assert_eq!(quiet, [Sample::Whole, Sample::Summed]);
        assert_eq!(sampler.observe(source(1), "other", at(1)).0, Sample::Whole);
    }

    #[test]
    fn the_busiest_sources_have_sums_of_their_own_and_the_others_one_since_the_first() {
        let mut sampler = Sampler::default();
        for n in 0..MAX_SUMS + 50 {
            let requests = if n < 50 { 11 } else { 40 };
            for _ in 0..requests {
                sampler.observe(source(n), "r", at(i64::from(n) / 10));
            }
        }

        let sums = sampler.finish();

        assert_eq!(sums.len(), MAX_SUMS as usize + 1);
        let shared = sums.last().unwrap();
        assert_eq!((shared.source, shared.since), (None, at(0)));
        let busiest = sums.iter().filter_map(|summary| summary.source);
        assert_eq!(busiest.min(), Some(source(50)));
    }
}
