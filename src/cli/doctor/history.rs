//! What the events of late tell: who was refused and why, and whether tokens do not last.

use std::{collections::BTreeMap, net::IpAddr};

use jiff::SignedDuration;

use super::{Findings, probe};
use crate::{
    app::{
        clock::{Clock as _, SystemClock},
        doctor::Finding,
    },
    auth::token::PRIMARY,
    control::{
        api::{self, Event, EventList, Status},
        client::{Client, ClientError},
    },
};

/// How far back refused requests are looked for.
const LATELY: SignedDuration = SignedDuration::from_hours(1);
/// Most pages of a thousand events that are read.
const MAX_PAGES: usize = 10;
/// Sources that are named.
const MAX_SOURCES: usize = 3;

/// Requests that were refused for one reason.
#[derive(Default)]
struct Refused {
    requests: u64,
    by_source: BTreeMap<String, u64>,
}

pub(super) async fn refusals(
    client: &Client,
    status: &Status,
    findings: &mut Findings,
) -> Result<(), ClientError> {
    let since = SystemClock.now().checked_sub(LATELY).unwrap_or_default();
    let mut by_reason = BTreeMap::<(bool, String), Refused>::new();
    let mut place = format!("since={since}");
    for _ in 0..MAX_PAGES {
        let path = format!("{}?audit=true&{place}", api::EVENTS);
        let page: EventList = client.get(&path).await?;
        for event in page.events.iter().filter(|event| event.trail == "refusals") {
            tally(event, status.auth.enforced, &mut by_reason);
        }
        if !page.more {
            break;
        }
        place = format!("after={}", page.last);
    }
    findings.add(by_reason.iter().map(|((passed, reason), refused)| {
        if *passed { would_be_refused(reason, refused) } else { were_refused(reason, refused) }
    }));
    Ok(())
}

fn tally(event: &Event, enforced: bool, by_reason: &mut BTreeMap<(bool, String), Refused>) {
    let field = |name: &str| event.fields.get(name).map(String::as_str);
    let Some(reason) = field("reason").filter(|_| !is_our_own(event)) else { return };
    // What only would have been refused is summed up with the same words.
    let is_sum = event.event == "refusals_summed_up";
    let passed = event.event == "would_refuse" || (is_sum && !enforced);
    let count = field("count").and_then(|count| count.parse().ok()).unwrap_or(1);
    let source = field("client_ip").or_else(|| field("source")).unwrap_or("this machine");
    let refused = by_reason.entry((passed, reason.to_owned())).or_default();
    refused.requests += count;
    *refused.by_source.entry(source.to_owned()).or_default() += count;
}

/// The request without a token that this command makes. Anyone can name himself so, but gains nothing:
/// from this machine, and without a token, there is nothing to be found out.
fn is_our_own(event: &Event) -> bool {
    let field = |name: &str| event.fields.get(name).map(String::as_str);
    let client = field("client_ip").and_then(|ip| ip.parse::<IpAddr>().ok());
    field("user_agent") == Some(probe::USER_AGENT)
        && field("reason") == Some("missing_token")
        && client.is_some_and(|ip| ip.is_loopback())
}

fn were_refused(reason: &str, refused: &Refused) -> Finding {
    let (why, fix) = cause(reason);
    let what = format!("{} as {reason} within the last hour, {}", requests(refused), from(refused));
    Finding::warning("refusals", what, why, fix)
}

fn would_be_refused(reason: &str, refused: &Refused) -> Finding {
    let (why, fix) = cause(reason);
    let what = format!(
        "{} within the last hour only because authentication is off ({reason}), {}",
        requests(refused).replace("refused", "served"),
        from(refused)
    );
    Finding::note("refusals", what, why, fix)
}

fn requests(refused: &Refused) -> String {
    match refused.requests {
        1 => "1 request was refused".to_owned(),
        count => format!("{count} requests were refused"),
    }
}

/// The busiest sources.
fn from(refused: &Refused) -> String {
    let mut sources: Vec<_> = refused.by_source.iter().collect();
    sources.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
    let named =
        sources.iter().take(MAX_SOURCES).map(|(source, count)| format!("{source} ({count})"));
    let named = named.collect::<Vec<_>>().join(", ");
    match sources.len().checked_sub(MAX_SOURCES) {
        Some(more @ 1..) => format!("from {named} and {more} more"),
        _ => format!("from {named}"),
    }
}

/// What a reason means, and what mends it.
fn cause(reason: &str) -> (&'static str, &'static str) {
    match reason {
        "missing_token" => (
            "the client sends no Authorization header",
            "fleetctl client-config CLIENT shows how each client takes the token",
        ),
        "invalid_token" => (
            "what the client sends was never a token of this server: mistyped, or of another one",
            "compare it with `fleetctl token show`, and hand out the present one",
        ),
        "revoked" => (
            "the client has a secret from before a rotation, or of a token that was revoked",
            "give it the present one: `fleetctl token show`, or a named one of its own",
        ),
        "expired" => (
            "the client has a token whose time is over",
            "fleetctl token rotate NAME, and give it the new secret",
        ),
        "address_not_allowed" => (
            "the token is good, but not for where it was used from: moved, or stolen",
            "fleetctl events --audit --since 1h says which; make one with another --from, or revoke it",
        ),
        "throttled" => (
            "more than ten different wrong tokens came from there within a minute: somebody guesses",
            "block the address in the firewall; right tokens pass all the same",
        ),
        "malformed_header" => (
            "the Authorization header is not exactly `Bearer`, one blank and a token",
            "spell `Bearer` with a capital B; look for quotes, line breaks, a second blank, two \
             headers",
        ),
        "host_not_allowed" => (
            "the request's Host is no name that this server answers for",
            "list the name in http.allowed_hosts, or turn authentication on",
        ),
        "origin_not_allowed" => (
            "a web page of another origin sent it",
            "if that page may, list its origin in http.allowed_origins",
        ),
        _ => ("each of them is in the audit trail", "fleetctl events --audit --since 1h"),
    }
}

/// The primary token is made once; more often, its file does not last.
pub(super) async fn made_anew(client: &Client, findings: &mut Findings) -> Result<(), ClientError> {
    let path = format!("{}?audit=true&token={PRIMARY}", api::EVENTS);
    let page: EventList = client.get(&path).await?;
    let made = page.events.iter().filter(|event| event.event == "token_created").count();
    findings.add((made > 1).then(|| {
        Finding::warning(
            "token_lasts",
            format!("the primary token was made anew {} times by a start", made - 1),
            "each time, every client had to be given another one: its file was gone",
            "find out what removes it: `fleetctl events --audit --token default` says when; is it \
             on a disk, and is FLEET_MCP_AUTH_TOKEN_FILE the same at each start?",
        )
    }));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(word: &str, fields: &[(&str, &str)]) -> Event {
        let field = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        Event {
            id: 1,
            time: String::new(),
            trail: "refusals".to_owned(),
            event: word.to_owned(),
            agent: None,
            token: None,
            message: String::new(),
            fields: fields.iter().map(field).collect(),
        }
    }

    /// What was tallied of it, while authentication is on.
    fn tallied(event: &Event) -> Vec<(bool, String, u64)> {
        let mut by_reason = BTreeMap::new();
        tally(event, true, &mut by_reason);
        by_reason.into_iter().map(|((passed, why), n)| (passed, why, n.requests)).collect()
    }

    #[test]
    fn sums_count_as_many_and_only_our_own_request_counts_for_nothing() {
        let ours = [("user_agent", probe::USER_AGENT), ("reason", "missing_token")];
        let from = |ip| event("auth_failure", &[ours[0], ours[1], ("client_ip", ip)]);
        let wrong = [ours[0], ("reason", "invalid_token"), ("client_ip", "127.0.0.1")];
        let sum = [("reason", "revoked"), ("count", "90"), ("source", "192.0.2.1")];

        assert_eq!(tallied(&from("127.0.0.1")), []);
        assert_eq!(tallied(&from("192.0.2.1")), [(false, "missing_token".to_owned(), 1)]);
        let wrong = event("auth_failure", &wrong);
        assert_eq!(tallied(&wrong), [(false, "invalid_token".to_owned(), 1)]);
        let sum = event("refusals_summed_up", &sum);
        assert_eq!(tallied(&sum), [(false, "revoked".to_owned(), 90)]);
        let passed = event("would_refuse", &[("reason", "missing_token")]);
        assert_eq!(tallied(&passed), [(true, "missing_token".to_owned(), 1)]);
    }
}
