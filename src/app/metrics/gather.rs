//! Reads all counters, and what else the daemon knows, for one answer.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use jiff::SignedDuration;

use super::{Format, Limit, Route, STATUSES, table, text::Text};
use crate::{
    app::App,
    fleet::{Status, TaskStatus},
};

/// What ends within this time is about to.
const SOON: SignedDuration = SignedDuration::from_hours(7 * 24);

impl App {
    /// All metrics as text.
    pub fn metrics_text(&self, format: Format) -> String {
        let mut text = Text::new(format);
        text.labeled(&table::BUILD_INFO, [(env!("CARGO_PKG_VERSION"), 1)]);
        text.single(&table::START_TIME, self.started_at.as_second().unsigned_abs());
        self.http(&mut text);
        self.auth(&mut text);
        text.family(&table::TOOL_CALLS, self.metrics.tools.read());
        self.fleet_figures(&mut text);
        text.single(&table::EVENTS_RECORDED, *self.recorder.recorded().borrow());
        text.single(&table::EVENTS_DROPPED, self.recorder.dropped());
        self.machine(&mut text);
        text.finish()
    }

    fn http(&self, text: &mut Text) {
        let http = &self.metrics.http;
        let statuses = STATUSES.map(|status| match status {
            0 => "other".to_owned(),
            status => status.to_string(),
        });
        let answered = Route::ALL.into_iter().flat_map(|route| {
            let counts = http.requests[route as usize].iter().map(|count| count.load(Relaxed));
            let named = statuses.iter().zip(counts).filter(|(_, count)| *count > 0);
            named.map(move |(status, count)| ([route.as_str(), &**status], count))
        });
        text.family(&table::HTTP_REQUESTS, answered);
        let durations =
            Route::ALL.map(|route| (route.as_str(), http.durations[route as usize].read()));
        text.histogram(
            &table::HTTP_DURATION,
            durations.into_iter().filter(|(_, buckets)| buckets.total() > 0),
        );
        text.single(&table::HTTP_IN_FLIGHT, http.in_flight.load(Relaxed) as u64);
        text.single(&table::HTTP_STREAMS, http.streams.load(Relaxed) as u64);
        text.single(&table::HTTP_CONNECTIONS, http.connections.load(Relaxed) as u64);
        text.single(&table::HTTP_ACCEPTED, http.accepted.load(Relaxed));
        let met = Limit::ALL.map(|limit| (limit.as_str(), read(&http.limits, limit as usize)));
        text.labeled(&table::LIMITS, met);
    }

    fn auth(&self, text: &mut Text) {
        text.single(&table::AUTH_ENFORCED, self.enforces_auth().into());
        let counts = self.refusals.counts();
        text.labeled(&table::AUTH_REFUSALS, counts.iter().map(|(why, n)| (why.reason(), *n)));
        let passed = self.refusals.passed_counts();
        text.labeled(&table::AUTH_WOULD_REFUSE, passed.iter().map(|(why, n)| (why.reason(), *n)));
        text.single(&table::FORBIDDEN, self.refusals.forbidden_count());
        let secrets = self.tokens.overview();
        let in_force = secrets.iter().filter(|secret| secret.over.is_none());
        let ends = in_force.clone().filter_map(|secret| secret.generation.end());
        let soon = self.clock.now() + SOON;
        text.single(&table::TOKENS, in_force.count() as u64);
        text.single(&table::TOKENS_EXPIRING, ends.filter(|(end, _)| *end < soon).count() as u64);
    }

    fn fleet_figures(&self, text: &mut Text) {
        let snapshot = self.snapshot();
        let mut agents = [0; Status::ALL.len()];
        let mut tasks = [0; TaskStatus::ALL.len()];
        for member in snapshot.agents.values() {
            agents[member.agent.status as usize] += 1;
            if let Some(task) = &member.task {
                tasks[task.status as usize] += 1;
            }
        }
        text.labeled(&table::AGENTS, Status::ALL.map(|s| (s.as_str(), agents[s as usize])));
        let (over, underway): (Vec<_>, Vec<_>) =
            TaskStatus::ALL.into_iter().partition(|status| status.is_over());
        text.labeled(&table::TASKS, underway.iter().map(|s| (s.as_str(), tasks[*s as usize])));
        text.single(&table::TASKS_STARTED, self.metrics.tasks_started.load(Relaxed));
        let ended = &self.metrics.tasks_ended;
        let ended = over.iter().map(|s| (s.as_str(), read(ended, *s as usize)));
        text.labeled(&table::TASKS_ENDED, ended);
    }

    fn machine(&self, text: &mut Text) {
        text.single(&table::LOG_DROPPED, self.figures.log_entries_dropped());
        let store = self.figures.store();
        text.single(&table::STORE_CALLS, store.calls);
        text.histogram(&table::STORE_DURATION, [("", store.transactions)]);
        let process = self.figures.process();
        for (desc, value) in [
            (&table::RESIDENT, process.resident_bytes),
            (&table::OPEN_FDS, process.open_fds),
            (&table::MAX_FDS, process.max_fds),
        ] {
            if let Some(value) = value {
                text.single(desc, value);
            }
        }
    }
}

fn read(counts: &[AtomicU64], at: usize) -> u64 {
    counts[at].load(Relaxed)
}
