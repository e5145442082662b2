//! `fleetctl status`

use jiff::{SignedDuration, fmt::friendly::SpanPrinter};

use super::{
    failure::Failure,
    output::{Output, table},
    token,
};
use crate::control::{
    api::{self, Count, Status},
    client::Client,
};

/// Most secrets of tokens that are listed.
const MAX_TOKENS: usize = 20;
/// Most sources that are listed; `--json` has all.
const MAX_NOT_READY: usize = 10;

pub(super) async fn show(client: &Client, output: &Output) -> Result<(), Failure> {
    let status: Status = client.get(api::STATUS).await?;
    if output.is_json() {
        return output.json(&status);
    }
    output.line(&render(&status))
}

fn render(status: &Status) -> String {
    let uptime = SignedDuration::from_secs(i64::try_from(status.uptime_seconds).unwrap_or(0));
    let uptime = SpanPrinter::new().duration_to_string(&uptime);
    let mut lines = vec![format!(
        "fleet-mcp {} is {} (pid {}, up {uptime})",
        status.version, status.state, status.pid
    )];
    let mut section = |title: &str, content: Vec<String>| {
        let title = std::iter::once(title).chain(std::iter::repeat(""));
        lines.extend(title.zip(content).map(|(title, line)| format!("{title:<16}{line}")));
    };
    section("Listening", status.listeners.clone());
    section("Public URL", status.public_url.iter().cloned().collect());
    section("Authentication", vec![authentication(status)]);
    section("Tokens", tokens(status));
    section("Agents", vec![sum(&status.agents, "none")]);
    section("Agents run", vec![launcher(status)]);
    section("Isolation", vec![status.isolation.clone()]);
    section("Refused", vec![sum(&status.refused, "nothing yet")]);
    section("Not ready", not_ready(status));
    section("Warnings", warnings(status));
    lines.join("\n")
}

fn launcher(status: &Status) -> String {
    match status.slots {
        Some(api::Slots { total, free }) => format!("by systemd, in slots: {total}, {free} free"),
        None => "as child processes of the daemon".to_owned(),
    }
}

fn authentication(status: &Status) -> String {
    let state = if status.auth.enforced { "on" } else { "OFF" };
    let token = match &status.auth.primary_from {
        None => format!("token file {}", status.auth.token_file),
        Some(elsewhere) => format!("token from {elsewhere}"),
    };
    match status.auth.token_file_state.as_deref() {
        Some("current") => format!("{state}, {token}"),
        Some(other) => format!("{state}, {token} ({other}, see warnings)"),
        None => format!("{state}, no token yet"),
    }
}

fn tokens(status: &Status) -> Vec<String> {
    if status.tokens.is_empty() {
        return vec!["none yet; `fleetctl rotate` makes the first".to_owned()];
    }
    let shown = &status.tokens[..status.tokens.len().min(MAX_TOKENS)];
    let mut lines = token::rows(shown);
    if let Some(more @ 1..) = status.tokens.len().checked_sub(MAX_TOKENS) {
        lines.push(format!("and {more} more (`fleetctl token list` has all)"));
    }
    lines
}

fn not_ready(status: &Status) -> Vec<String> {
    let row = |source: &api::NotReady| {
        let noun = if source.requests == 1 { "request" } else { "requests" };
        let requests = format!("{} {noun}", source.requests);
        let last = format!("last {}", source.last_seen);
        vec![source.source.clone(), requests, source.reason.clone(), last]
    };
    let rows: Vec<_> = status.not_ready.iter().take(MAX_NOT_READY).map(row).collect();
    let mut lines = table(&rows);
    if let Some(more @ 1..) = status.not_ready.len().checked_sub(MAX_NOT_READY) {
        lines.push(format!("and {more} more sources (--json has all)"));
    }
    lines
}

fn warnings(status: &Status) -> Vec<String> {
    let pointer = "`fleetctl doctor` says what mends them".to_owned();
    let pointer = (!status.warnings.is_empty()).then_some(pointer);
    status.warnings.iter().cloned().chain(pointer).collect()
}

/// `12 (missing_token 10, invalid_token 2)`
fn sum(counts: &[Count], none: &str) -> String {
    let some: Vec<_> = counts.iter().filter(|count| count.count > 0).collect();
    if some.is_empty() {
        return none.to_owned();
    }
    let total: u64 = some.iter().map(|count| count.count).sum();
    let parts: Vec<_> = some.iter().map(|c| format!("{} {}", c.name, c.count)).collect();
    format!("{total} ({})", parts.join(", "))
}
