//! What an operator must be able to find later: events of security, and what happens in the fleet.
//!
//! What is told here goes to the log and, through the log's layer, to the recorder
//! ([`recorder`](super::recorder)): the journal and `fleetctl events` have the same. `kinds` is the
//! table of them.
//!
//! Each function emits one event with a fixed message and its fields named in full, as journald
//! keeps them. Values from outside go into fields and are escaped by the log; of them only the
//! method and the path, cut short, stand in a message, and they come after the address.

pub mod kinds;

use std::{fmt, net::SocketAddr, time::Duration};

use jiff::Timestamp;

pub use self::kinds::KINDS;
use super::{
    events::AgentChange, jumps::Jump, log_targets::AUDIT_TARGET as TARGET, tokens::Denied,
};
use crate::{
    auth::{Principal, TokenName, sampler::Summary, token::End},
    fleet::AgentId,
};

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
    pub request_id: RequestId,
}

impl RequestInfo<'_> {
    fn place(&self) -> String {
        let path: String = self.path.chars().take(MESSAGE_PATH_LEN).collect();
        format!("{}: {} {path}", self.client.ip().to_canonical(), self.method)
    }
}

/// A request was refused with 401, or with 429 after too many wrong tokens.
pub fn auth_failure(denied: &Denied, request: &RequestInfo<'_>) {
    let refusal = denied.refusal;
    tracing::warn!(
        target: TARGET,
        MESSAGE_ID = kinds::AUTH_FAILURE.message_id,
        FLEET_EVENT = kinds::AUTH_FAILURE.event,
        FLEET_REASON = refusal.reason(),
        FLEET_STATUS = refusal.status(),
        FLEET_CLIENT_IP = %request.client.ip().to_canonical(),
        FLEET_CLIENT_PORT = request.client.port(),
        FLEET_METHOD = request.method,
        FLEET_PATH = request.path,
        FLEET_USER_AGENT = request.user_agent,
        FLEET_TOKEN = denied.token.as_ref().map(TokenName::as_str),
        FLEET_TOKEN_FINGERPRINT = denied.fingerprint(),
        FLEET_HINT = denied.hint,
        FLEET_REQUEST_ID = %request.request_id,
        "{} {} from {}", refusal.status(), refusal.code(), request.place()
    );
}

/// A request was passed that would be refused if authentication were on.
pub fn would_refuse(denied: &Denied, request: &RequestInfo<'_>) {
    let refusal = denied.refusal;
    tracing::warn!(
        target: TARGET,
        MESSAGE_ID = kinds::WOULD_REFUSE.message_id,
        FLEET_EVENT = kinds::WOULD_REFUSE.event,
        FLEET_REASON = refusal.reason(),
        FLEET_CLIENT_IP = %request.client.ip().to_canonical(),
        FLEET_CLIENT_PORT = request.client.port(),
        FLEET_METHOD = request.method,
        FLEET_PATH = request.path,
        FLEET_USER_AGENT = request.user_agent,
        FLEET_TOKEN = denied.token.as_ref().map(TokenName::as_str),
        FLEET_TOKEN_FINGERPRINT = denied.fingerprint(),
        FLEET_HINT = denied.hint,
        FLEET_REQUEST_ID = %request.request_id,
        "would refuse {} from {}", refusal.code(), request.place()
    );
}

/// A request was refused with 403 for its Host or Origin.
pub fn request_refused(reason: &'static str, request: &RequestInfo<'_>) {
    tracing::warn!(
        target: TARGET,
        MESSAGE_ID = kinds::REQUEST_REFUSED.message_id,
        FLEET_EVENT = kinds::REQUEST_REFUSED.event,
        FLEET_REASON = reason,
        FLEET_STATUS = 403,
        FLEET_CLIENT_IP = %request.client.ip().to_canonical(),
        FLEET_CLIENT_PORT = request.client.port(),
        FLEET_METHOD = request.method,
        FLEET_PATH = request.path,
        FLEET_USER_AGENT = request.user_agent,
        FLEET_REQUEST_ID = %request.request_id,
        "403 {reason} from {}", request.place()
    );
}

/// Refused requests that got no entry of their own.
pub fn refusals_summed_up(summary: &Summary) {
    let source = summary.source.map_or_else(|| "other sources".to_owned(), |s| s.to_string());
    tracing::warn!(
        target: TARGET,
        MESSAGE_ID = kinds::REFUSALS_SUMMED_UP.message_id,
        FLEET_EVENT = kinds::REFUSALS_SUMMED_UP.event,
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

/// A token was made; by nobody, if the start makes the primary one.
pub fn token_created(name: &str, fingerprint: &str, by: Option<&Principal>) {
    let by = by.map(Principal::name);
    let made = match &by {
        None => "Generated new access token".to_owned(),
        Some(by) => format!("token `{name}` created by {by}"),
    };
    tracing::info!(
        target: TARGET,
        MESSAGE_ID = kinds::TOKEN_CREATED.message_id,
        FLEET_EVENT = kinds::TOKEN_CREATED.event,
        FLEET_TOKEN = name,
        FLEET_TOKEN_FINGERPRINT = fingerprint,
        FLEET_BY = by,
        "{made}"
    );
}

/// A token got a new secret; the old one is void, or will be then.
pub fn token_rotated(name: &str, fingerprint: &str, until: Option<Timestamp>, by: &Principal) {
    let overlap = until.map(|at| format!("; the former secret counts until {at:.0}"));
    tracing::info!(
        target: TARGET,
        MESSAGE_ID = kinds::TOKEN_ROTATED.message_id,
        FLEET_EVENT = kinds::TOKEN_ROTATED.event,
        FLEET_TOKEN = name,
        FLEET_TOKEN_FINGERPRINT = fingerprint,
        FLEET_OVERLAP_UNTIL = until.map(|at| at.to_string()),
        FLEET_BY = by.name(),
        "token `{name}` rotated by {}{}", by.name(), overlap.unwrap_or_default()
    );
}

/// A token was revoked, with all its secrets.
pub fn token_revoked(name: &str, by: &Principal) {
    tracing::info!(
        target: TARGET,
        MESSAGE_ID = kinds::TOKEN_REVOKED.message_id,
        FLEET_EVENT = kinds::TOKEN_REVOKED.event,
        FLEET_TOKEN = name,
        FLEET_BY = by.name(),
        "token `{name}` revoked by {}", by.name()
    );
}

/// The former secrets of a token were revoked before their overlap was over.
pub fn token_overlap_ended(name: &str, by: &Principal) {
    tracing::info!(
        target: TARGET,
        MESSAGE_ID = kinds::TOKEN_OVERLAP_ENDED.message_id,
        FLEET_EVENT = kinds::TOKEN_OVERLAP_ENDED.event,
        FLEET_TOKEN = name,
        FLEET_BY = by.name(),
        "former secrets of token `{name}` revoked by {}", by.name()
    );
}

/// A secret's time, or its overlap with its successor, is over.
pub fn token_ended(name: &str, fingerprint: &str, why: Option<End>) {
    let (reason, words) = match why {
        Some(End::Replaced) => ("overlap_over", "its overlap is over"),
        Some(End::Expired) | None => ("expired", "it has expired"),
    };
    tracing::info!(
        target: TARGET,
        MESSAGE_ID = kinds::TOKEN_ENDED.message_id,
        FLEET_EVENT = kinds::TOKEN_ENDED.event,
        FLEET_REASON = reason,
        FLEET_TOKEN = name,
        FLEET_TOKEN_FINGERPRINT = fingerprint,
        "a secret of token `{name}` ended: {words}"
    );
}

/// A token's secret was used for the first time since the daemon has known it.
pub fn token_first_used(name: &str, client: SocketAddr) {
    tracing::info!(
        target: TARGET,
        MESSAGE_ID = kinds::TOKEN_FIRST_USED.message_id,
        FLEET_EVENT = kinds::TOKEN_FIRST_USED.event,
        FLEET_TOKEN = name,
        FLEET_CLIENT_IP = %client.ip().to_canonical(),
        "token `{name}` used first from {}", client.ip().to_canonical()
    );
}

/// A token's secret was shown on the control socket.
pub fn token_shown(name: &str, by: &Principal) {
    tracing::info!(
        target: TARGET,
        MESSAGE_ID = kinds::TOKEN_SHOWN.message_id,
        FLEET_EVENT = kinds::TOKEN_SHOWN.event,
        FLEET_TOKEN = name,
        FLEET_BY = by.name(),
        "token `{name}` shown to {}", by.name()
    );
}

/// The request that a tool was called with.
#[derive(Debug, Clone, Copy)]
pub struct Origin {
    /// The client, seen through trusted proxies.
    pub client: SocketAddr,
    /// Names the request in the log and to the client.
    pub request: RequestId,
}

/// A request's name: unique over restarts for all practical purposes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestId {
    /// Another one for each daemon.
    pub daemon: u32,
    /// Another one for each request.
    pub number: u64,
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}-{:x}", self.daemon, self.number)
    }
}

/// A call of a tool that changes something.
#[derive(Debug, Clone, Copy)]
pub struct ToolCall<'a> {
    /// The tool.
    pub tool: &'a str,
    /// Who called it.
    pub by: &'a Principal,
    /// The agent that it names. Not checked.
    pub agent: Option<&'a str>,
    /// The request; local ones have none.
    pub origin: Option<Origin>,
    /// `ok`, or the error's code.
    pub outcome: &'a str,
    /// How long it took.
    pub took: Duration,
}

/// A tool was called that changes something.
pub fn tool_called(call: &ToolCall<'_>) {
    let token = match call.by {
        Principal::Token { name, .. } => Some(&**name),
        Principal::Anonymous | Principal::Daemon | Principal::Local { .. } => None,
    };
    tracing::info!(
        target: TARGET,
        MESSAGE_ID = kinds::TOOL_CALLED.message_id,
        FLEET_EVENT = kinds::TOOL_CALLED.event,
        FLEET_TOOL = call.tool,
        FLEET_BY = call.by.name(),
        FLEET_TOKEN = token,
        FLEET_AGENT = call.agent,
        FLEET_OUTCOME = call.outcome,
        FLEET_DURATION_MS = call.took.as_millis() as u64,
        FLEET_CLIENT_IP = call.origin.map(|o| tracing::field::display(o.client.ip().to_canonical())),
        FLEET_REQUEST_ID = call.origin.map(|o| tracing::field::display(o.request)),
        "{} by {}: {}", call.tool, call.by.name(), call.outcome
    );
}

/// An agent, or its newest task, is in another state than before.
pub fn agent_changed(change: &AgentChange<'_>) {
    tracing::info!(
        target: TARGET,
        MESSAGE_ID = kinds::AGENT_CHANGED.message_id,
        FLEET_EVENT = kinds::AGENT_CHANGED.event,
        FLEET_AGENT = change.agent,
        FLEET_AGENT_STATUS = change.status,
        FLEET_TASK_STATE = change.task,
        FLEET_DETAIL = change.detail,
        "agent `{}` is {}", change.agent, change.status
    );
}

/// An agent was deleted with everything that was its.
pub fn agent_deleted(id: AgentId) {
    tracing::info!(
        target: TARGET,
        MESSAGE_ID = kinds::AGENT_DELETED.message_id,
        FLEET_EVENT = kinds::AGENT_DELETED.event,
        FLEET_AGENT_ID = %id,
        "{id} deleted"
    );
}

/// A local user was refused on the control socket.
pub fn control_denied(uid: u32, reason: &'static str) {
    tracing::warn!(
        target: TARGET,
        MESSAGE_ID = kinds::CONTROL_DENIED.message_id,
        FLEET_EVENT = kinds::CONTROL_DENIED.event,
        FLEET_REASON = reason,
        FLEET_BY = uid,
        "control socket refused uid {uid}: {reason}"
    );
}

/// The daemon serves from now on.
pub fn daemon_started(version: &str, listeners: &[SocketAddr], auth_enforced: bool) {
    let auth = if auth_enforced { "on" } else { "off" };
    let listeners: Vec<_> = listeners.iter().map(ToString::to_string).collect();
    let listeners = listeners.join(",");
    tracing::info!(
        target: TARGET,
        MESSAGE_ID = kinds::DAEMON_STARTED.message_id,
        FLEET_EVENT = kinds::DAEMON_STARTED.event,
        FLEET_VERSION = version,
        FLEET_LISTENERS = listeners,
        FLEET_AUTH = auth,
        "fleet-mcp {version} serves on {listeners}, authentication {auth}"
    );
}

/// The daemon was told to stop, and has.
pub fn daemon_stopped() {
    tracing::info!(
        target: TARGET,
        MESSAGE_ID = kinds::DAEMON_STOPPED.message_id,
        FLEET_EVENT = kinds::DAEMON_STOPPED.event,
        "Server stopped"
    );
}

/// Configuration and certificates were taken over.
pub fn configuration_reloaded(needs_restart: &[String]) {
    let needs_restart = (!needs_restart.is_empty()).then(|| needs_restart.join(", "));
    tracing::info!(
        target: TARGET,
        MESSAGE_ID = kinds::CONFIGURATION_RELOADED.message_id,
        FLEET_EVENT = kinds::CONFIGURATION_RELOADED.event,
        FLEET_NEEDS_RESTART = needs_restart,
        "Configuration reloaded"
    );
}

/// Configuration or certificates could not be taken over.
pub fn reload_refused(problems: &[String]) {
    let problems = problems.join("; ");
    tracing::error!(
        target: TARGET,
        MESSAGE_ID = kinds::RELOAD_REFUSED.message_id,
        FLEET_EVENT = kinds::RELOAD_REFUSED.event,
        FLEET_PROBLEMS = problems,
        "nothing was reloaded: {problems}"
    );
}

/// A reload turned authentication on.
pub fn authentication_enabled() {
    tracing::info!(
        target: TARGET,
        MESSAGE_ID = kinds::AUTHENTICATION_ENABLED.message_id,
        FLEET_EVENT = kinds::AUTHENTICATION_ENABLED.event,
        "Authentication enabled: requests without a valid token are refused from now on"
    );
}

/// Somebody has set the machine's clock.
pub fn clock_set(jump: &Jump) {
    tracing::warn!(
        target: TARGET,
        MESSAGE_ID = kinds::CLOCK_SET.message_id,
        FLEET_EVENT = kinds::CLOCK_SET.event,
        FLEET_SECONDS = jump.by.as_secs(),
        "the clock was set {jump}: what expires does so that much earlier or later"
    );
}

/// Some events were not recorded.
pub fn events_lost(count: u64) {
    tracing::warn!(
        target: TARGET,
        MESSAGE_ID = kinds::EVENTS_LOST.message_id,
        FLEET_EVENT = kinds::EVENTS_LOST.event,
        FLEET_COUNT = count,
        "{count} events were not recorded, because they came faster than the disk took them; the \
         journal has them"
    );
}
