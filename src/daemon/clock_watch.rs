//! Notices when somebody sets the clock.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use nix::time::{ClockId, clock_gettime};
use tokio::time::{MissedTickBehavior, interval};

use crate::app::{
    audit,
    clock::Clock,
    doctor::Finding,
    jumps::{Jumps, to_the_second, way},
};

/// How often both clocks are looked at.
const LOOK: Duration = Duration::from_secs(2);
/// How far the clock may go wrong little by little before it is told.
const MAX_DRIFT: SignedDuration = SignedDuration::from_secs(30);

/// The clock, beside the machine's own.
pub(super) struct ClockWatch {
    clock: Arc<dyn Clock>,
    start: (Timestamp, Duration),
    jumps: Mutex<Jumps>,
}

impl ClockWatch {
    /// Begins now.
    pub(super) fn new(clock: Arc<dyn Clock>) -> Self {
        let start = (clock.now(), since_boot());
        Self { clock, start, jumps: Mutex::new(Jumps::since(start.0, start.1)) }
    }

    /// Tells of each jump. Never returns.
    pub(super) async fn watch(&self) {
        let mut ticks = interval(LOOK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            self.look();
        }
    }

    /// What the doctor is told.
    pub(super) fn findings(&self) -> Option<Finding> {
        self.look();
        found(&self.jumps(), self.start, (self.clock.now(), since_boot()))
    }

    fn look(&self) {
        let jump = self.jumps().look(self.clock.now(), since_boot());
        jump.as_ref().inspect(|jump| audit::clock_set(jump));
    }

    /// Nothing in there panics half-way.
    fn jumps(&self) -> MutexGuard<'_, Jumps> {
        self.jumps.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn found(
    jumps: &Jumps,
    (then, own_then): (Timestamp, Duration),
    (now, own_now): (Timestamp, Duration),
) -> Option<Finding> {
    let passed = SignedDuration::try_from(own_now.checked_sub(own_then)?).ok()?;
    let off = now.duration_since(then).checked_sub(passed)?;
    let off = to_the_second(off);
    let what = match jumps.all() {
        (0, _) if off.abs() <= MAX_DRIFT => return None,
        (0, _) => format!("the clock went {} too far since the daemon started", way(off)),
        (count, newest) => {
            let each: Vec<_> =
                newest.map(|jump| format!("{jump}, since when it is {:.0}", jump.at)).collect();
            let each = each.join("; ");
            let times = if count == 1 { "once".to_owned() } else { format!("{count} times") };
            let together = match off.abs() <= MAX_DRIFT {
                true => "it is right again".to_owned(),
                false => format!("in all {}", way(off)),
            };
            format!("the clock was set {times} since the daemon started ({together}): {each}")
        }
    };
    Some(Finding::warning(
        "clock",
        what,
        "what expires does so by the clock: that much earlier or later than issued",
        "timedatectl; then look at what was issued meanwhile: `fleetctl events --audit`",
    ))
}

/// What nobody can set; it goes on while the machine sleeps.
fn since_boot() -> Duration {
    clock_gettime(ClockId::CLOCK_BOOTTIME).map(Into::into).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    const fn own(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    /// What is told after these looks at both clocks.
    fn told(looks: &[(i64, u64)]) -> Option<String> {
        let mut jumps = Jumps::since(at(1_000), own(50));
        for &(now, passed) in looks {
            jumps.look(at(now), own(passed));
        }
        let &(now, passed) = looks.last().unwrap();
        found(&jumps, (at(1_000), own(50)), (at(now), own(passed))).map(|finding| finding.what)
    }

    #[test]
    fn a_clock_that_goes_is_not_told() {
        assert_eq!(told(&[(1_600, 650)]), None);
        assert_eq!(told(&[(1_603, 650), (1_606, 652)]), None);
    }

    #[test]
    fn a_clock_that_was_set_is_told_also_when_it_is_right_again() {
        const DAY: i64 = 86_400;

        let forth = told(&[(1_010 + DAY, 60)]).unwrap();
        let right = told(&[(1_010 + DAY, 60), (1_020, 70)]).unwrap();

        assert!(
            forth.contains("set once since the daemon started (in all forward by 24h): forward")
        );
        let back = told(&[(1_010 - DAY, 60)]).unwrap();
        assert!(back.contains("(in all back by 24h): back by 24h, since when it is 1969-12-31"));
        assert!(right.contains("set 2 times since the daemon started (it is right again): "));
        assert!(right.contains("; back by 24h, since when it is 1970-01-01T00:17:00Z"), "{right}");
    }

    #[test]
    fn a_clock_that_went_wrong_little_by_little_is_told() {
        let looks: Vec<_> = (1..20).map(|n| (1_000 + n * 14, 50 + 10 * n as u64)).collect();

        assert!(told(&looks).unwrap().contains("went forward by 1m 16s too far"));
    }
}
