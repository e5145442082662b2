//! The wire types and paths of the control API, version 1. Members are only ever added.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::app::doctor;

/// `GET`: [`Status`].
pub const STATUS: &str = "/v1/status";
/// `POST`: [`Reloaded`].
pub const RELOAD: &str = "/v1/reload";

/// `GET`: the metrics as text, in Prometheus' format.
pub const METRICS: &str = "/v1/metrics";

/// `GET`: [`Examination`].
pub const DOCTOR: &str = "/v1/doctor";

/// `POST` with the tool's arguments as a JSON object: the tool's result.
pub fn tool(name: &str) -> String {
    format!("/v1/tools/{name}")
}

/// `GET`, with `?after=ID`: [`LogTail`].
pub fn log_tail(agent: &str) -> String {
    format!("/v1/agents/{agent}/log")
}

/// `GET`: [`TokenList`]; `POST` of [`CreateToken`]: [`IssuedToken`].
pub const TOKENS: &str = "/v1/tokens";

/// `POST` of [`RotateToken`], or of nothing: [`IssuedToken`].
pub fn rotate(name: &str) -> String {
    format!("/v1/tokens/{name}/rotate")
}

/// `POST` of [`RevokeToken`], or of nothing: [`Revoked`].
pub fn revoke(name: &str) -> String {
    format!("/v1/tokens/{name}/revoke")
}

/// `GET`: [`IssuedToken`].
pub fn secret(name: &str) -> String {
    format!("/v1/tokens/{name}/secret")
}

/// How the daemon is.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Status {
    /// `starting`, `ready` or `stopping`.
    pub state: String,
    /// The daemon's version.
    pub version: String,
    /// The daemon's process id.
    pub pid: u32,
    /// RFC 3339.
    pub started_at: String,
    /// Seconds since then.
    pub uptime_seconds: u64,
    /// The base URLs that the data plane listens on.
    pub listeners: Vec<String>,
    /// The URL that clients reach it by, if the configuration names one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub public_url: Option<String>,
    /// Authentication.
    pub auth: Auth,
    /// The tokens' secrets; at most 1,000, [`TOKENS`] has all.
    pub tokens: Vec<Token>,
    /// Agents by status; only those that occur.
    pub agents: Vec<Count>,
    /// How agents are kept apart from everything else.
    pub isolation: String,
    /// The slots that systemd runs agents in; absent if they are the daemon's child processes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slots: Option<Slots>,
    /// Refused requests by reason, since the start.
    pub refused: Vec<Count>,
    /// Sources whose requests pass only because authentication is off, busiest first.
    pub not_ready: Vec<NotReady>,
    /// What the operator should look at.
    pub warnings: Vec<String>,
}

/// Authentication.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Auth {
    /// Whether requests without a valid token are refused.
    pub enforced: bool,
    /// The primary token's file.
    pub token_file: String,
    /// Where the primary token comes from, if it is not that file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub primary_from: Option<String>,
    /// `current`, `missing`, `differs` or `unusable`; absent without a token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token_file_state: Option<String>,
}

/// One secret of a token, without anything secret. All times are RFC 3339.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Token {
    /// The token's name.
    pub name: String,
    /// `current`; `overlapping`, replaced but still valid; `expired`; `replaced`, its overlap over.
    pub state: String,
    /// When the secret was issued.
    pub created_at: String,
    /// When it expires.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<String>,
    /// When its overlap with its successor ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub overlaps_until: Option<String>,
    /// When it was last used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_used: Option<String>,
    /// Where from: an IPv4 address or an IPv6 network.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_used_from: Option<String>,
    /// How many requests it let in.
    pub requests: u64,
    /// The first 8 digits of its SHA-256, as the log shows them.
    pub fingerprint: String,
    /// What it allows.
    pub scopes: Vec<String>,
    /// The projects that it may see; absent for all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub projects: Option<Vec<String>>,
    /// Where its requests may come from; absent for everywhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Vec<String>>,
}

/// All tokens: each secret that counts, or counted until its time was over.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct TokenList {
    /// By name, each token's newest secret first.
    pub tokens: Vec<Token>,
}

/// A token to be made.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CreateToken {
    /// Its name.
    pub name: String,
    /// `read`, `task`, `manage`, `metrics`: at least one.
    pub scopes: Vec<String>,
    /// Projects that are configured; absent for all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub projects: Option<Vec<String>>,
    /// IP addresses and networks; absent for everywhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Vec<String>>,
    /// How long each of its secrets lasts; absent, with `expires_at`, for ever.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_in_seconds: Option<u64>,
    /// When it expires, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<String>,
}

/// How a token is to be rotated.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RotateToken {
    /// How long the former secret still counts; absent for not at all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grace_seconds: Option<u64>,
    /// As in [`CreateToken`]; absent, with `expires_at`, for as before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_in_seconds: Option<u64>,
    /// As in [`CreateToken`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<String>,
}

/// What is to be revoked of a token.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RevokeToken {
    /// Only its former secrets: ends an overlap.
    #[serde(default)]
    pub former: bool,
}

/// What was revoked.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Revoked {
    /// The token's name.
    pub name: String,
    /// How many secrets no longer count.
    pub secrets: usize,
}

/// Places for agents.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Slots {
    /// All.
    pub total: usize,
    /// Those that no agent lives in.
    pub free: usize,
}

/// How many of something.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Count {
    /// Of what.
    pub name: String,
    /// How many.
    pub count: u64,
}

/// A source that is not ready for authentication.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct NotReady {
    /// An IPv4 address or an IPv6 network.
    pub source: String,
    /// How many of its requests would have been refused.
    pub requests: u64,
    /// Why the last one would have been.
    pub reason: String,
    /// When that came, RFC 3339.
    pub last_seen: String,
}

/// A token with its secret. Neither prints.
#[derive(Serialize, Deserialize)]
pub struct IssuedToken {
    /// The token's name.
    pub name: String,
    /// The plain secret.
    pub secret: String,
    /// When it was issued, RFC 3339; absent when it is only shown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created_at: Option<String>,
    /// When it expires, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<String>,
    /// Whether it takes the place of a former secret.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub replaces: bool,
    /// How long that still counts, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub overlaps_until: Option<String>,
    /// What the token allows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scopes: Option<Vec<String>>,
    /// The file that holds it: the primary token's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
}

impl Drop for IssuedToken {
    fn drop(&mut self) {
        zeroize::Zeroize::zeroize(&mut self.secret);
    }
}

/// The newest entries of an agent's conversation, oldest first.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct LogTail {
    /// At most 1,000.
    pub entries: Vec<LogLine>,
}

/// An entry of an agent's conversation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogLine {
    /// Grows with each entry: what `after` takes.
    pub id: i64,
    /// RFC 3339.
    pub time: String,
    /// `task`, `answer`, `message`, `thought`, `tool_call`, `plan`, `question`, `diagnostic`, `notice`.
    pub kind: String,
    /// The text. What an agent wrote is untrusted.
    pub content: String,
}

/// `GET`, with an [`EventQuery`] as its query: [`EventList`].
pub const EVENTS: &str = "/v1/events";

/// Which events.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct EventQuery {
    /// Who has changed what, and what was refused; else what happened in the fleet.
    #[serde(default)]
    pub audit: bool,
    /// Only events after this id.
    pub after: Option<i64>,
    /// From this time on, RFC 3339. Without it and `after`: the newest.
    pub since: Option<String>,
    /// Only this agent's.
    pub agent: Option<String>,
    /// Only this token's; they are in the audit trail.
    pub token: Option<String>,
    /// Most that are wanted, 1 to 1,000.
    pub limit: Option<u32>,
    /// Seconds to wait for an event if there is none, at most 30.
    pub wait: Option<u32>,
}

/// Events, oldest first.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct EventList {
    /// As many as were wanted at most.
    pub events: Vec<Event>,
    /// What `after` takes to go on.
    pub last: i64,
    /// Whether there are more already.
    pub more: bool,
}

/// Something that has happened.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Event {
    /// Grows with each event, over restarts too.
    pub id: i64,
    /// RFC 3339.
    pub time: String,
    /// `fleet`, `audit` or `refusals`.
    pub trail: String,
    /// What kind: the journal's `FLEET_EVENT`.
    pub event: String,
    /// The agent that it happened to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agent: Option<String>,
    /// The token that it happened to, or was done with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
    /// It in a sentence.
    pub message: String,
    /// What else is known: the journal's other fields, in lower case without `FLEET_`. What agents and
    /// clients have said is untrusted.
    pub fields: BTreeMap<String, String>,
}

/// What the daemon has found on this machine.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Examination {
    /// How many checks found nothing.
    pub good: u64,
    /// What the others found.
    pub findings: Vec<Finding>,
}

/// Something that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// What was checked.
    pub check: String,
    /// `error`, `warning`, `note` or `skipped`.
    pub severity: String,
    /// What is so.
    pub what: String,
    /// Why it matters, or why it could not be checked.
    pub why: String,
    /// What mends it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fix: Option<String>,
}

impl From<doctor::Finding> for Finding {
    fn from(finding: doctor::Finding) -> Self {
        Self {
            check: finding.check.to_owned(),
            severity: finding.severity.as_str().to_owned(),
            what: finding.what,
            why: finding.why,
            fix: finding.fix,
        }
    }
}

/// What a reload did.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Reloaded {
    /// Settings that have changed but only count after a restart.
    pub needs_restart: Vec<String>,
    /// What the operator should look at.
    pub warnings: Vec<String>,
}

/// The body of every answer that is no success.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ErrorBody {
    /// The error.
    pub error: Error,
}

/// Why it was not done.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Error {
    /// `NOT_FOUND`, `PERMISSION_DENIED`, `INVALID_INPUT`, `CONFLICT`, `INTERNAL_ERROR` or
    /// `SERVICE_UNAVAILABLE`.
    pub code: String,
    /// What failed.
    pub message: String,
    /// Why, from the outside in.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub causes: Vec<String>,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub help: Option<String>,
}
