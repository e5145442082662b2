//! Whether somebody has set the clock while the daemon ran.

use std::{collections::VecDeque, fmt, time::Duration};

use jiff::{SignedDuration, Timestamp};

/// What a clock may gain or lose at once before it counts as set: more than one that is slowed or
/// hurried into the right time does between two looks, or than a look may be late.
const MIN_JUMP: SignedDuration = SignedDuration::from_secs(5);
/// Jumps that are remembered; the audit trail has all.
const MAX_KEPT: usize = 4;

/// The clock was set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Jump {
    /// How far, to the second; negative if back.
    pub by: SignedDuration,
    /// When it was noticed, by the clock as it is now.
    pub at: Timestamp,
}

impl fmt::Display for Jump {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&way(self.by))
    }
}

/// Compares the clock with one that nobody can set.
#[derive(Debug)]
pub struct Jumps {
    /// What both said at the last look.
    seen: (Timestamp, Duration),
    newest: VecDeque<Jump>,
    count: u64,
}

impl Jumps {
    /// Begins with what both clocks say.
    pub fn since(now: Timestamp, own: Duration) -> Self {
        Self { seen: (now, own), newest: VecDeque::new(), count: 0 }
    }

    /// Looks at both clocks; whether the one was set since the last look. To be called every few
    /// seconds: a clock that was set back again in between was not set.
    pub fn look(&mut self, now: Timestamp, own: Duration) -> Option<Jump> {
        let (before, own_before) = std::mem::replace(&mut self.seen, (now, own));
        let passed = SignedDuration::try_from(own.saturating_sub(own_before)).ok()?;
        let by = now.duration_since(before).saturating_sub(passed);
        if by.abs() < MIN_JUMP {
            return None;
        }
        let jump = Jump { by: to_the_second(by), at: now };
        if self.newest.len() == MAX_KEPT {
            self.newest.pop_front();
        }
        self.newest.push_back(jump);
        self.count += 1;
        Some(jump)
    }

    /// How often it was set, and the newest times, the oldest of these first.
    pub fn all(&self) -> (u64, impl Iterator<Item = &Jump>) {
        (self.count, self.newest.iter())
    }
}

/// Which way, and how far.
pub fn way(by: SignedDuration) -> String {
    let way = if by.is_negative() { "back" } else { "forward" };
    format!("{way} by {:#}", by.abs())
}

/// Rounded: whoever sets a clock by a day takes a moment for it.
pub fn to_the_second(duration: SignedDuration) -> SignedDuration {
    SignedDuration::from_secs(duration.as_secs_f64().round() as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn own(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_clock_that_was_set_is_told_once_for_each_time_and_one_that_goes_is_not() {
        let mut jumps = Jumps::since(at(1_000), own(50));

        let told = [
            (1_010, 60),
            // Hurried on a little, and a machine that slept.
            (1_014, 62),
            (5_000, 4_050),
            (5_000 + 86_401, 4_051),
            (5_000 + 86_402, 4_052),
            (5_003, 4_053),
        ]
        .map(|(now, passed)| jumps.look(at(now), own(passed)).map(|jump| jump.to_string()));

        let [forth, back] = ["forward by 24h", "back by 24h"].map(|words| Some(words.to_owned()));
        assert_eq!(told, [None, None, None, forth, None, back]);
        assert_eq!(jumps.all().0, 2);
    }

    #[test]
    fn a_clock_that_never_rests_takes_no_memory() {
        let mut jumps = Jumps::since(at(0), own(0));

        for n in 1..1_000 {
            jumps.look(at(n * 100), own(0));
        }

        let (count, newest) = jumps.all();
        assert_eq!((count, newest.count()), (999, MAX_KEPT));
    }
}
