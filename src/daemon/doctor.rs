//! What only the running daemon can find out about itself.

use std::{future::Future, pin::Pin, sync::Arc, time::Duration};

use jiff::{SignedDuration, Timestamp};
use tokio::sync::Mutex;

use super::clock_watch::ClockWatch;
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

/// How far in the future an event may be.
const MAX_AHEAD: SignedDuration = SignedDuration::from_secs(30);

pub(super) struct Examiner {
    app: Arc<App>,
    sources: Sources,
    clock: Arc<dyn Clock>,
    watch: Arc<ClockWatch>,
    /// One at a time: each reads the whole database.
    examining: Mutex<()>,
}

impl Examiner {
    pub(super) fn new(
        app: Arc<App>,
        sources: Sources,
        clock: Arc<dyn Clock>,
        watch: Arc<ClockWatch>,
    ) -> Self {
        Self { app, sources, clock, watch, examining: Mutex::default() }
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
        report.add(self.watch.findings());
        report.add(self.events_of_the_future(now).await);
        report.add(self.lost_events());
        report
    }

    async fn events_of_the_future(&self, now: Timestamp) -> Option<Finding> {
        let query = Query { audit: true, limit: 1, ..Query::default() };
        let newest = self.app.find_events(query, Duration::ZERO).await.ok()?.events.pop()?;
        (newest.event.time.duration_since(now) > MAX_AHEAD).then(|| {
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
