//! What only the running daemon can find out about itself.

use std::{future::Future, pin::Pin, sync::Arc, time::Duration};

use jiff::{SignedDuration, Timestamp};
use nix::time::{ClockId, clock_gettime};
use tokio::sync::Mutex;

use crate::{
    app::{
        App,
        clock::Clock,
        doctor::{Finding, Report},
        ports::{Examine, event_store::Query},
    },
    config::Sources,
    doctor::{self, Subject},
};

/// How far the wall clock may go wrong against the machine's own before it is told.
const MAX_DRIFT: SignedDuration = SignedDuration::from_secs(30);

pub(super) struct Examiner {
    app: Arc<App>,
    sources: Sources,
    clock: Arc<dyn Clock>,
    /// When the daemon started, by both clocks.
    start: (Timestamp, Option<Duration>),
    /// One at a time: each reads the whole database.
    examining: Mutex<()>,
}

impl Examiner {
    pub(super) fn new(app: Arc<App>, sources: Sources, clock: Arc<dyn Clock>) -> Self {
        let start = (clock.now(), since_boot());
        Self { app, sources, clock, start, examining: Mutex::default() }
    }

    async fn examine_now(&self) -> Report {
        let _one_at_a_time = self.examining.lock().await;
        let now = self.clock.now();
        let subject = Subject {
            owner: self.sources.euid,
            sources: self.sources.clone(),
            listeners: Some(self.app.listeners().to_vec()),
            enforced: Some(self.app.enforces_auth()),
            now,
        };
        let examined = tokio::task::spawn_blocking(move || doctor::examine(&subject)).await;
        let mut report = examined.unwrap_or_default();
        report.add(drift(self.start, (now, since_boot())));
        report.add(self.events_of_the_future(now).await);
        report.add(self.lost_events());
        report
    }

    async fn events_of_the_future(&self, now: Timestamp) -> Option<Finding> {
        let query = Query { audit: true, limit: 1, ..Query::default() };
        let newest = self.app.find_events(query, Duration::ZERO).await.ok()?.events.pop()?;
        (newest.event.time.duration_since(now) > MAX_DRIFT).then(|| {
            Finding::warning(
                "clock",
                format!("the newest event is from {:.0}, and it is {now:.0}", newest.event.time),
                "the clock was set back: events are out of order, and expiry is late",
                "timedatectl; then look at what was issued meanwhile: `fleetctl events --audit`",
            )
        })
    }

    fn lost_events(&self) -> Option<Finding> {
        let lost = self.app.events_dropped();
        (lost > 0).then(|| {
            Finding::warning(
                "events",
                format!("{lost} events were not recorded since the start"),
                "the disk did not take them in time; the journal has them",
                "iostat -x 1; journalctl -u fleet-mcp",
            )
        })
    }
}

impl Examine for Examiner {
    fn examine(self: Arc<Self>) -> Pin<Box<dyn Future<Output = Report> + Send>> {
        Box::pin(async move { self.examine_now().await })
    }
}

/// What nobody can set; it goes on while the machine sleeps.
fn since_boot() -> Option<Duration> {
    clock_gettime(ClockId::CLOCK_BOOTTIME).ok().map(Into::into)
}

fn drift(
    (then, booted_then): (Timestamp, Option<Duration>),
    (now, booted_now): (Timestamp, Option<Duration>),
) -> Option<Finding> {
    let passed = SignedDuration::try_from(booted_now?.checked_sub(booted_then?)?).ok()?;
    let drift = now.duration_since(then).checked_sub(passed)?;
    (drift.abs() > MAX_DRIFT).then(|| {
        let way = if drift.is_negative() { "back" } else { "forward" };
        Finding::warning(
            "clock",
            format!("the clock was set {way} by {:#} since the daemon started", drift.abs()),
            "what expires does so by the clock: that much earlier or later than issued",
            "timedatectl; then look at what was issued meanwhile: `fleetctl events --audit`",
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_was_set_is_told_and_one_that_goes_is_not() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let boot = |seconds| Some(Duration::from_secs(seconds));
        let what = |now, booted| {
            drift((at(1000), boot(50)), (at(now), boot(booted))).map(|finding| finding.what)
        };

        assert_eq!(what(1600, 650), None);
        assert_eq!(what(1620, 650), None);
        assert!(what(1000 + 86_400, 51).unwrap().contains("set forward by 23h 59m 59s"));
        assert!(what(1000 - 86_400, 50).unwrap().contains("set back by 24h"));
    }
}
