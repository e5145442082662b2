//! How long things take, in a few buckets of atomics.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

/// The upper bounds of the buckets in microseconds; a last bucket has everything above.
pub const BOUNDS: [u64; 9] =
    [500, 1_000, 5_000, 25_000, 100_000, 500_000, 2_500_000, 10_000_000, 60_000_000];

/// Durations by bucket.
#[derive(Debug, Default)]
pub struct Histogram {
    counts: [AtomicU64; BOUNDS.len() + 1],
    sum_micros: AtomicU64,
}

/// A [`Histogram`] at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Buckets {
    /// How many in each bucket, the last one without a bound.
    pub counts: [u64; BOUNDS.len() + 1],
    /// All durations together, in microseconds.
    pub sum_micros: u64,
}

impl Histogram {
    /// Counts a duration.
    pub fn observe(&self, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let bucket = BOUNDS.iter().position(|bound| micros <= *bound).unwrap_or(BOUNDS.len());
        self.counts[bucket].fetch_add(1, Relaxed);
        self.sum_micros.fetch_add(micros, Relaxed);
    }

    /// What was counted so far.
    pub fn read(&self) -> Buckets {
        Buckets {
            counts: std::array::from_fn(|at| self.counts[at].load(Relaxed)),
            sum_micros: self.sum_micros.load(Relaxed),
        }
    }
}

impl Buckets {
    /// How many durations were counted.
    pub fn total(&self) -> u64 {
        self.counts.iter().sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_in_the_first_bucket_that_holds_it() {
        let histogram = Histogram::default();

        for micros in [0, 500, 501, 60_000_000, 60_000_001] {
            histogram.observe(Duration::from_micros(micros));
        }

        let read = histogram.read();
        assert_eq!(read.counts, [2, 1, 0, 0, 0, 0, 0, 0, 1, 1]);
        assert_eq!((read.total(), read.sum_micros), (5, 120_001_002));
    }
}
