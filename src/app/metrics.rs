//! What is counted while the daemon works, for `/metrics` and `fleetctl metrics`.
//!
//! Counting costs an atomic addition or two and never waits. Labels come from closed lists: nothing
//! from outside is a label, so that nobody can make the answer grow. `table` says what there is,
//! `gather` reads it, `text` writes it down.

mod gather;
mod histogram;
mod table;
mod text;
mod tool_calls;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use self::tool_calls::ToolCalls;
pub use self::{
    histogram::{BOUNDS, Buckets, Histogram},
    table::{Desc, Kind, TABLE},
    text::Format,
};
use crate::fleet::TaskStatus;

/// What a request was for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Route {
    /// `/mcp` and `/`.
    Mcp,
    /// `/mcp/TOOL`.
    Tool,
    /// `/health`.
    Health,
    /// `/metrics`.
    Metrics,
    /// Where clients look for OAuth.
    OauthProbe,
    /// There is nothing.
    Other,
}

impl Route {
    const ALL: [Self; 6] =
        [Self::Mcp, Self::Tool, Self::Health, Self::Metrics, Self::OauthProbe, Self::Other];

    /// What is at this path.
    pub fn of(path: &str) -> Self {
        match path {
            "/mcp" | "/" | "/mcp/" => Self::Mcp,
            "/health" => Self::Health,
            "/metrics" => Self::Metrics,
            "/register" | "/authorize" | "/token" => Self::OauthProbe,
            _ if path.starts_with("/mcp/") => Self::Tool,
            _ if path.starts_with("/.well-known/") => Self::OauthProbe,
            _ => Self::Other,
        }
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::Mcp => "mcp",
            Self::Tool => "tool",
            Self::Health => "health",
            Self::Metrics => "metrics",
            Self::OauthProbe => "oauth_probe",
            Self::Other => "other",
        }
    }
}

/// A limit that a client has met.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// `http.max_connections`: a connection was ended to make room.
    Connections,
    /// `http.max_requests`: 503.
    Requests,
    /// The share of `http.max_connections` that streams of notifications may have: 503.
    Streams,
    /// `http.max_body_bytes`: 413.
    BodySize,
    /// `http.body_timeout`: 408.
    BodyTime,
    /// The memory for all bodies together: 503.
    BodyMemory,
    /// `http.header_timeout`: the connection was ended.
    HeaderTime,
    /// `http.idle_timeout`: the connection was ended.
    IdleTime,
    /// The client did not take its answer: the connection was ended.
    SendTime,
    /// The system had no descriptor or memory for another connection.
    Descriptors,
}

impl Limit {
    const ALL: [Self; 10] = [
        Self::Connections,
        Self::Requests,
        Self::Streams,
        Self::BodySize,
        Self::BodyTime,
        Self::BodyMemory,
        Self::HeaderTime,
        Self::IdleTime,
        Self::SendTime,
        Self::Descriptors,
    ];

    fn as_str(self) -> &'static str {
        match self {
            Self::Connections => "connections",
            Self::Requests => "requests",
            Self::Streams => "streams",
            Self::BodySize => "body_size",
            Self::BodyTime => "body_time",
            Self::BodyMemory => "body_memory",
            Self::HeaderTime => "header_time",
            Self::IdleTime => "idle_time",
            Self::SendTime => "send_time",
            Self::Descriptors => "descriptors",
        }
    }
}

/// The statuses that we answer; any other counts as the last one, `other`.
const STATUSES: [u16; 20] = [
    200, 202, 204, 400, 401, 403, 404, 405, 406, 408, 409, 411, 413, 415, 422, 429, 500, 501, 503,
    0,
];

/// All counters of the daemon.
#[derive(Debug, Default)]
pub struct Metrics {
    /// The data plane's.
    pub http: HttpMetrics,
    tools: ToolCalls,
    tasks_started: AtomicU64,
    tasks_ended: [AtomicU64; TaskStatus::ALL.len()],
}

impl Metrics {
    /// A tool was called, over any interface, and has answered.
    pub fn tool_called(&self, tool: &'static str, succeeded: bool) {
        self.tools.count(tool, succeeded);
    }

    /// A task has begun.
    pub fn task_started(&self) {
        self.tasks_started.fetch_add(1, Relaxed);
    }

    /// A task has ended so.
    pub fn task_ended(&self, outcome: TaskStatus) {
        self.tasks_ended[outcome as usize].fetch_add(1, Relaxed);
    }
}

/// The data plane's counters.
#[derive(Debug, Default)]
pub struct HttpMetrics {
    requests: [[AtomicU64; STATUSES.len()]; Route::ALL.len()],
    durations: [Histogram; Route::ALL.len()],
    /// Requests that are being worked on now.
    pub in_flight: Arc<AtomicUsize>,
    /// Connections that are open now.
    pub connections: AtomicUsize,
    /// Streams of notifications that are open now.
    streams: AtomicUsize,
    accepted: AtomicU64,
    limits: [AtomicU64; Limit::ALL.len()],
}

impl HttpMetrics {
    /// A request was answered so, after this time.
    pub fn answered(&self, route: Route, status: u16, took: Duration) {
        let known = STATUSES.iter().position(|known| *known == status);
        let status = known.unwrap_or(STATUSES.len() - 1);
        self.requests[route as usize][status].fetch_add(1, Relaxed);
        self.durations[route as usize].observe(took);
    }

    /// A connection was accepted.
    pub fn opened(&self) {
        self.accepted.fetch_add(1, Relaxed);
        self.connections.fetch_add(1, Relaxed);
    }

    /// It has ended.
    pub fn closed(&self) {
        self.connections.fetch_sub(1, Relaxed);
    }

    /// A stream of notifications was opened.
    pub fn stream_opened(&self) {
        self.streams.fetch_add(1, Relaxed);
    }

    /// It has ended.
    pub fn stream_closed(&self) {
        self.streams.fetch_sub(1, Relaxed);
    }

    /// A client has met a limit.
    pub fn met(&self, limit: Limit) {
        self.limits[limit as usize].fetch_add(1, Relaxed);
    }
}

/// What is counted where no use case can see it; the program provides it.
pub trait Figures: Send + Sync + 'static {
    /// Log entries that were dropped.
    fn log_entries_dropped(&self) -> u64;
    /// How the fleet's store gets on with its disk.
    fn store(&self) -> StoreFigures;
    /// What the daemon takes of the machine.
    fn process(&self) -> ProcessFigures;
}

/// What was made durable.
#[derive(Debug, Clone, Default)]
pub struct StoreFigures {
    /// Calls that succeeded.
    pub calls: u64,
    /// How long transactions took, each of several calls; most of it is the disk's time.
    pub transactions: Buckets,
}

/// What the daemon takes of the machine; `None` where the system does not tell.
#[derive(Debug, Clone, Copy, Default)]
pub struct ProcessFigures {
    /// Resident memory in bytes.
    pub resident_bytes: Option<u64>,
    /// Open descriptors.
    pub open_fds: Option<u64>,
    /// How many there may be.
    pub max_fds: Option<u64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_counted_by_its_route_and_never_by_itself() {
        for (path, route) in [
            ("/mcp", Route::Mcp),
            ("/", Route::Mcp),
            ("/mcp/list_agents", Route::Tool),
            ("/health", Route::Health),
            ("/health/", Route::Other),
            ("/.well-known/x", Route::OauthProbe),
            ("/wp-login.php", Route::Other),
        ] {
            assert_eq!(Route::of(path), route, "{path}");
        }
    }
}
