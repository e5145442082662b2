//! Every metric there is; `docs/metrics.md` has the same table.

/// How a metric behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Only grows, from 0 at the daemon's start.
    Counter,
    /// How it is now.
    Gauge,
    /// Durations in buckets.
    Histogram,
}

impl Kind {
    /// Its word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// A metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Desc {
    /// Its name; a counter's samples end in `_total`.
    pub name: &'static str,
    /// How it behaves.
    pub kind: Kind,
    /// Its label, if its samples have one or two, separated by a blank.
    pub labels: &'static str,
    /// What it says.
    pub help: &'static str,
}

macro_rules! table {
    ($($id:ident $kind:ident $name:literal $labels:literal $help:literal)*) => {
        $(
            pub(super) const $id: Desc =
                Desc { name: $name, kind: Kind::$kind, labels: $labels, help: $help };
        )*

        /// Every metric, in the order of the answer.
        pub const TABLE: &[Desc] = &[$($id),*];
    };
}

table! {
    BUILD_INFO Gauge "fleet_mcp_build_info" "version"
        "Always 1; the label says which version runs."
    START_TIME Gauge "fleet_mcp_start_time_seconds" ""
        "When the daemon started, in seconds since 1970."
    HTTP_REQUESTS Counter "fleet_mcp_http_requests" "route status"
        "Requests that were answered."
    HTTP_DURATION Histogram "fleet_mcp_http_request_duration_seconds" "route"
        "Time from a request's header to its answer's header; a call that waits for an agent takes as long as it waits."
    HTTP_IN_FLIGHT Gauge "fleet_mcp_http_requests_in_flight" ""
        "Requests being worked on; at most http.max_requests."
    HTTP_STREAMS Gauge "fleet_mcp_http_streams" ""
        "Open streams of change notifications; at most a quarter of http.max_connections."
    HTTP_CONNECTIONS Gauge "fleet_mcp_http_connections" ""
        "Open connections; at most http.max_connections."
    HTTP_ACCEPTED Counter "fleet_mcp_http_connections_accepted" ""
        "Connections that were accepted."
    LIMITS Counter "fleet_mcp_http_limits_met" "limit"
        "Times that clients met a limit."
    AUTH_ENFORCED Gauge "fleet_mcp_auth_enforced" ""
        "1 while requests without a valid token are refused."
    AUTH_REFUSALS Counter "fleet_mcp_auth_refusals" "reason"
        "Requests refused with 401."
    AUTH_WOULD_REFUSE Counter "fleet_mcp_auth_would_refuse" "reason"
        "Requests that passed only because authentication is off."
    FORBIDDEN Counter "fleet_mcp_http_requests_forbidden" ""
        "Requests refused with 403 for their Host or Origin."
    TOKENS Gauge "fleet_mcp_token_secrets" ""
        "Secrets of tokens in force; a token has more than one while a rotation overlaps."
    TOKENS_EXPIRING Gauge "fleet_mcp_token_secrets_expiring" ""
        "Those of them that expire, or whose overlap ends, within 7 days."
    TOOL_CALLS Counter "fleet_mcp_tool_calls" "tool outcome"
        "Calls of tools that have answered, over any interface; who may not call it is an error."
    AGENTS Gauge "fleet_mcp_agents" "status"
        "Agents."
    TASKS Gauge "fleet_mcp_tasks" "status"
        "Tasks under way."
    TASKS_STARTED Counter "fleet_mcp_tasks_started" ""
        "Tasks that were begun."
    TASKS_ENDED Counter "fleet_mcp_tasks_ended" "outcome"
        "Tasks that have ended."
    EVENTS_RECORDED Counter "fleet_mcp_events_recorded" ""
        "Events that were made durable."
    EVENTS_DROPPED Counter "fleet_mcp_events_dropped" ""
        "Events that were not recorded, because they came faster than the disk took them."
    LOG_DROPPED Counter "fleet_mcp_log_entries_dropped" ""
        "Log entries and access log lines that nobody will see."
    STORE_CALLS Counter "fleet_mcp_store_calls" ""
        "Changes of the fleet and batches of events that were made durable."
    STORE_DURATION Histogram "fleet_mcp_store_transaction_duration_seconds" ""
        "Time of a transaction of fleet.db, most of which is the disk's."
    RESIDENT Gauge "process_resident_memory_bytes" ""
        "Resident memory."
    OPEN_FDS Gauge "process_open_fds" ""
        "Open descriptors."
    MAX_FDS Gauge "process_max_fds" ""
        "How many descriptors may be open."
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_are_unique_and_fit_both_formats() {
        let names: BTreeSet<_> = TABLE.iter().map(|desc| desc.name).collect();

        assert_eq!(names.len(), TABLE.len());
        for Desc { name, help, .. } in TABLE {
            assert!(name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'), "{name}");
            assert!(!name.ends_with("_total") && !help.contains(['\\', '"', '\n']), "{name}");
        }
    }
}
