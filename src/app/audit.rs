//! Security events: what an operator must be able to find later.
//!
//! Each function emits one event with a fixed message and its fields named in full, as journald
//! keeps them. Values from outside go into fields and are escaped by the log; of them only the
//! method and the path, cut short, stand in a message, and they come after the address.

use std::{net::SocketAddr, time::Duration};

use super::{events::Event, log_targets::AUDIT_TARGET as TARGET};
use crate::{
    auth::{Principal, Refusal, sampler::Summary},
    fleet::AgentId,
};

/// The `MESSAGE_ID` of each event. Never changes: journal filters and the catalog rely on it.
pub mod message_id {
    /// A request was refused with 401.
    pub const AUTH_FAILURE: &str = "d2f6ea4b7e0c4b4f9a2f3c1f5b8e6a01";
    /// A request was passed that would be refused if authentication were on.
    pub const WOULD_REFUSE: &str = "d2f6ea4b7e0c4b4f9a2f3c1f5b8e6a02";
    /// More refused requests of one source than get entries of their own.
    pub const REFUSALS_SUMMED_UP: &str = "d2f6ea4b7e0c4b4f9a2f3c1f5b8e6a03";
    /// A request was refused with 403 for its Host or Origin.
    pub const REQUEST_REFUSED: &str = "d2f6ea4b7e0c4b4f9a2f3c1f5b8e6a04";
    /// A token was made.
    pub const TOKEN_CREATED: &str = "d2f6ea4b7e0c4b4f9a2f3c1f5b8e6a05";
    /// A token got a new secret.
    pub const TOKEN_ROTATED: &str = "d2f6ea4b7e0c4b4f9a2f3c1f5b8e6a06";
    /// A token's secret was used for the first time since the daemon has known it.
    pub const TOKEN_FIRST_USED: &str = "d2f6ea4b7e0c4b4f9a2f3c1f5b8e6a07";
    /// A token's secret was shown on the control socket.
    pub const TOKEN_SHOWN: &str = "d2f6ea4b7e0c4b4f9a2f3c1f5b8e6a08";
    /// A tool was called that changes something.
    pub const TOOL_CALLED: &str = "d2f6ea4b7e0c4b4f9a2f3c1f5b8e6a0b";
    /// An agent, or its newest task, is in another state than before.
    pub const AGENT_CHANGED: &str = "d2f6ea4b7e0c4b4f9a2f3c1f5b8e6a0c";
    /// An agent was deleted.
    pub const AGENT_DELETED: &str = "d2f6ea4b7e0c4b4f9a2f3c1f5b8e6a0a";
    /// A local user was refused on the control socket.
    pub const CONTROL_DENIED: &str = "d2f6ea4b7e0c4b4f9a2f3c1f5b8e6a09";
}

/// Most characters of a path in a message; the field has more.
const MESSAGE_PATH_LEN: usize = 128;

/// What is known of a request that is, or would be, refused.
#[derive(Debug, Clone, Copy)]
pub struct RequestInfo<'a> {
    /// The client, seen through trusted proxies.
    pub client: SocketAddr,
    /// The HTTP method.
    pub method: &'a str,
    /// The path, without the query.
    pub path: &'a str,
    /// The User-Agent header, if it is text.
    pub user_agent: Option<&'a str>,
    /// Names the request in the log and to the client.
    pub request_id: &'a str,
}

impl RequestInfo<'_> {
    fn place(&self) -> String {
        let path: String = self.path.chars().take(MESSAGE_PATH_LEN).collect();
        format!("{}: {} {path}", self.client.ip().to_canonical(), self.method)
    }
}

/// A request was refused with 401.
pub fn auth_failure(refusal: Refusal, fingerprint: Option<&str>, request: &RequestInfo<'_>) {
    tracing::warn!(
        target: TARGET,
        MESSAGE_ID = message_id::AUTH_FAILURE,
        FLEET_EVENT = "auth_failure",
        FLEET_REASON = refusal.reason(),
        FLEET_STATUS = 401,
        FLEET_CLIENT_IP = %request.client.ip().to_canonical(),
        FLEET_CLIENT_PORT = request.client.port(),
        FLEET_METHOD = request.method,
        FLEET_PATH = request.path,
        FLEET_USER_AGENT = request.user_agent,
        FLEET_TOKEN_FINGERPRINT = fingerprint,
        FLEET_REQUEST_ID = request.request_id,
        "401 {} from {}", refusal.code(), request.place()
    );
}

/// A request was passed that would be refused if authentication were on.
pub fn would_refuse(refusal: Refusal, fingerprint: Option<&str>, request: &RequestInfo<'_>) {
    tracing::warn!(
        target: TARGET,
        MESSAGE_ID = message_id::WOULD_REFUSE,
        FLEET_EVENT = "would_refuse",
        FLEET_REASON = refusal.reason(),
        FLEET_CLIENT_IP = %request.client.ip().to_canonical(),
        FLEET_CLIENT_PORT = request.client.port(),
        FLEET_METHOD = request.method,
        FLEET_PATH = request.path,
        FLEET_USER_AGENT = request.user_agent,
        FLEET_TOKEN_FINGERPRINT = fingerprint,
        FLEET_REQUEST_ID = request.request_id,
        "would refuse {} from {}", refusal.code(), request.place()
    );
}

/// A request was refused with 403 for its Host or Origin.
pub fn request_refused(reason: &'static str, request: &RequestInfo<'_>) {
    tracing::warn!(
        target: TARGET,
        MESSAGE_ID = message_id::REQUEST_REFUSED,
        FLEET_EVENT = "request_refused",
        FLEET_REASON = reason,
        FLEET_STATUS = 403,
        FLEET_CLIENT_IP = %request.client.ip().to_canonical(),
        FLEET_CLIENT_PORT = request.client.port(),
        FLEET_METHOD = request.method,
        FLEET_PATH = request.path,
        FLEET_USER_AGENT = request.user_agent,
        FLEET_REQUEST_ID = request.request_id,
        "403 {reason} from {}", request.place()
    );
}

/// Refused requests that got no entry of their own.
pub fn refusals_summed_up(summary: &Summary) {
    let source = summary.source.map_or_else(|| "other sources".to_owned(), |s| s.to_string());
    tracing::warn!(
        target: TARGET,
        MESSAGE_ID = message_id::REFUSALS_SUMMED_UP,
        FLEET_EVENT = "refusals_summed_up",
        FLEET_SOURCE = source,
        FLEET_REASON = summary.reason,
        FLEET_COUNT = summary.count,
        FLEET_SINCE = %summary.since,
        "{} more requests refused from {source} since {:.0}: {}",
        summary.count,
        summary.since,
        summary.reason
    );
}

/// A token was made.
pub fn token_created(name: &str, fingerprint: &str) {
    tracing::info!(
        target: TARGET,
        MESSAGE_ID = message_id::TOKEN_CREATED,
        FLEET_EVENT = "token_created",
        FLEET_TOKEN = name,
        FLEET_TOKEN_FINGERPRINT = fingerprint,
        "Generated new access token"
    );
}

/// A token got a new secret; the old one is void.
pub fn token_rotated(name: &str, fingerprint: &str, by: &Principal) {
    tracing::info!(
        target: TARGET,
        MESSAGE_ID = message_id::TOKEN_ROTATED,
        FLEET_EVENT = "token_rotated",
        FLEET_TOKEN = name,
        FLEET_TOKEN_FINGERPRINT = fingerprint,
        FLEET_BY = by.name(),
        "token `{name}` rotated by {}", by.name()
    );
}

/// A token's secret was used for the first time since the daemon has known it.
pub fn token_first_used(name: &str, client: SocketAddr) {
    tracing::info!(
        target: TARGET,
        MESSAGE_ID = message_id::TOKEN_FIRST_USED,
        FLEET_EVENT = "token_first_used",
        FLEET_TOKEN = name,
        FLEET_CLIENT_IP = %client.ip().to_canonical(),
        "token `{name}` used first from {}", client.ip().to_canonical()
    );
}

/// A token's secret was shown on the control socket.
pub fn token_shown(name: &str, by: &Principal) {
    tracing::info!(
        target: TARGET,
        MESSAGE_ID = message_id::TOKEN_SHOWN,
        FLEET_EVENT = "token_shown",
        FLEET_TOKEN = name,
        FLEET_BY = by.name(),
        "token `{name}` shown to {}", by.name()
    );
}

/// A tool was called that changes something.
pub fn tool_called(tool: &str, by: &str, agent: &str, outcome: &str, took: Duration) {
    tracing::info!(
        target: TARGET,
        MESSAGE_ID = message_id::TOOL_CALLED,
        FLEET_EVENT = "tool_called",
        FLEET_TOOL = tool,
        FLEET_BY = by,
        FLEET_AGENT = agent,
        FLEET_OUTCOME = outcome,
        FLEET_DURATION_MS = took.as_millis() as u64,
        "{tool} by {by}: {outcome}"
    );
}

/// An agent, or its newest task, is in another state than before.
pub fn agent_changed(event: &Event) {
    tracing::info!(
        target: TARGET,
        MESSAGE_ID = message_id::AGENT_CHANGED,
        FLEET_EVENT = "agent_changed",
        FLEET_AGENT = event.agent,
        FLEET_AGENT_STATUS = event.status,
        FLEET_TASK_STATE = event.task,
        FLEET_DETAIL = event.message,
        "agent `{}` is {}", event.agent, event.status
    );
}

/// An agent was deleted with everything that was its.
pub fn agent_deleted(id: AgentId) {
    tracing::info!(
        target: TARGET,
        MESSAGE_ID = message_id::AGENT_DELETED,
        FLEET_EVENT = "agent_deleted",
        FLEET_AGENT_ID = %id,
        "{id} deleted"
    );
}

/// A local user was refused on the control socket.
pub fn control_denied(uid: u32, reason: &'static str) {
    tracing::warn!(
        target: TARGET,
        MESSAGE_ID = message_id::CONTROL_DENIED,
        FLEET_EVENT = "control_denied",
        FLEET_REASON = reason,
        FLEET_BY = uid,
        "control socket refused uid {uid}: {reason}"
    );
}
