//! `fleetctl rotate` and `fleetctl token …`. A secret goes to standard output and nowhere else.

use clap::Subcommand;
use jiff::{SignedDuration, Span, SpanRelativeTo, Timestamp, civil::Date, tz::TimeZone};

use super::{
    failure::Failure,
    output::{Output, table},
};
use crate::{
    auth::token::PRIMARY,
    control::{
        api::{self, CreateToken, IssuedToken, RevokeToken, Revoked, RotateToken, TokenList},
        client::Client,
    },
};

#[derive(Debug, Subcommand)]
pub(super) enum TokenVerb {
    /// Make a named token, and print its secret: once, nobody can see it again
    Create(Create),
    /// List all tokens: what they allow, when they end, when and where they were last used
    List,
    /// Print the primary token
    Show {
        /// The token
        #[arg(default_value = PRIMARY)]
        name: String,
    },
    /// Give a token a new secret, and print it; the old one no longer works, or only for a while
    Rotate(Rotate),
    /// Revoke a named token: it no longer works, and what is in flight with it ends
    Revoke {
        /// The token
        name: String,
        /// Only its former secrets that still work: end an overlap before its time
        #[arg(long)]
        former: bool,
    },
}

#[derive(Debug, clap::Args)]
pub(super) struct Create {
    /// A name: a-z, 0-9, `.`, `_`, `@` and `-`
    name: String,
    /// What it allows: read, task (start, cancel, answer and publish), manage (create, delete and restart), metrics
    #[arg(long, value_name = "SCOPE", value_delimiter = ',', default_value = "read")]
    scope: Vec<String>,
    /// Only agents of these projects exist for it [default: all]
    #[arg(long, value_name = "PROJECT", value_delimiter = ',')]
    project: Option<Vec<String>>,
    /// Requests with it are let in from these addresses and networks only [default: all]
    #[arg(long, value_name = "CIDR", value_delimiter = ',')]
    from: Option<Vec<String>>,
    /// How long each of its secrets works, such as 90d; or a date, such as 2027-01-31 [default: for ever]
    #[arg(long, value_name = "WHEN", value_parser = parse_expiry)]
    expires: Option<Expires>,
}

#[derive(Debug, clap::Args)]
pub(super) struct Rotate {
    /// The token
    #[arg(default_value = PRIMARY)]
    name: String,
    /// How long the old secret still works, such as 10m or 7d
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    grace: Option<SignedDuration>,
    /// End the old secret, and any that still overlaps, at once; so it is without --grace
    #[arg(long, conflicts_with = "grace")]
    now: bool,
    /// How long the new secret works, such as 90d; or a date [default: as before]
    #[arg(long, value_name = "WHEN", value_parser = parse_expiry)]
    expires: Option<Expires>,
}

/// How long a secret works.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Expires {
    After(SignedDuration),
    At(Timestamp),
}

impl Expires {
    fn seconds(this: Option<Self>) -> Option<u64> {
        match this? {
            Self::After(duration) => Some(duration.as_secs().unsigned_abs()),
            Self::At(_) => None,
        }
    }

    fn time(this: Option<Self>) -> Option<String> {
        match this? {
            Self::After(_) => None,
            Self::At(at) => Some(at.to_string()),
        }
    }
}

pub(super) async fn run(client: &Client, output: &Output, verb: TokenVerb) -> Result<(), Failure> {
    match verb {
        TokenVerb::Create(wanted) => create(client, output, wanted).await,
        TokenVerb::List => list(client, output).await,
        TokenVerb::Show { name } => show(client, output, &name).await,
        TokenVerb::Rotate(wanted) => rotate(client, output, wanted).await,
        TokenVerb::Revoke { name, former } => revoke(client, output, &name, former).await,
    }
}

async fn create(client: &Client, output: &Output, wanted: Create) -> Result<(), Failure> {
    let (expires_in_seconds, expires_at) =
        (Expires::seconds(wanted.expires), Expires::time(wanted.expires));
    let body = CreateToken {
        name: wanted.name,
        scopes: wanted.scope,
        projects: wanted.project,
        from: wanted.from,
        expires_in_seconds,
        expires_at,
    };
    let issued: IssuedToken = client.send(api::TOKENS, &body).await?;
    print(output, &issued)?;
    let scopes = issued.scopes.as_deref().unwrap_or_default().join(", ");
    let expires = match &issued.expires_at {
        Some(at) => format!("It expires at {at}."),
        None => "It does not expire.".to_owned(),
    };
    output.note(&format!(
        "Token `{}` created; it allows: {scopes}. {expires}\n\
         The secret is shown this once. Next: hand it out; `fleetctl client-config CLIENT` shows how \
         each client takes it.",
        issued.name
    ));
    Ok(())
}

pub(super) async fn rotate(
    client: &Client,
    output: &Output,
    wanted: Rotate,
) -> Result<(), Failure> {
    let body = RotateToken {
        grace_seconds: wanted.grace.map(|grace| grace.as_secs().unsigned_abs()),
        expires_in_seconds: Expires::seconds(wanted.expires),
        expires_at: Expires::time(wanted.expires),
    };
    let issued: IssuedToken = client.send(&api::rotate(&in_path(&wanted.name)), &body).await?;
    print(output, &issued)?;
    let old = match &issued.overlaps_until {
        None if !issued.replaces => "this is its first secret.".to_owned(),
        None => "the old secret no longer works.".to_owned(),
        Some(until) => format!("the old secret works until {until}."),
    };
    let place = match &issued.file {
        Some(file) => format!("The new one is saved to {file}."),
        None => "The new one is shown this once.".to_owned(),
    };
    let next = match &issued.overlaps_until {
        None => "give it to every client; `fleetctl client-config CLIENT` shows how each takes it.",
        Some(_) => {
            "give it to every client; `fleetctl token list` shows who still uses the old one."
        }
    };
    output.note(&format!("Token `{}` rotated: {old} {place}\nNext: {next}", issued.name));
    Ok(())
}

async fn show(client: &Client, output: &Output, name: &str) -> Result<(), Failure> {
    let issued: IssuedToken = client.get(&api::secret(&in_path(name))).await?;
    print(output, &issued)
}

async fn revoke(client: &Client, output: &Output, name: &str, former: bool) -> Result<(), Failure> {
    let revoked: Revoked =
        client.send(&api::revoke(&in_path(name)), &RevokeToken { former }).await?;
    if output.is_json() {
        return output.json(&revoked);
    }
    output.line(&match (former, revoked.secrets) {
        (false, _) => format!("Token `{}` revoked.", revoked.name),
        (true, 0) => format!("Token `{}` has no former secret that still works.", revoked.name),
        (true, 1) => format!("The former secret of token `{}` no longer works.", revoked.name),
        (true, many) => {
            format!("{many} former secrets of token `{}` no longer work.", revoked.name)
        }
    })
}

async fn list(client: &Client, output: &Output) -> Result<(), Failure> {
    let list: TokenList = client.get(api::TOKENS).await?;
    if output.is_json() {
        return output.json(&list);
    }
    if list.tokens.is_empty() {
        output.note("There are no tokens yet; `fleetctl token create NAME` makes one.");
        return Ok(());
    }
    output.line(&rows(&list.tokens).join("\n"))
}

/// Tokens as a table, a line for each secret.
pub(super) fn rows(tokens: &[api::Token]) -> Vec<String> {
    let header = ["NAME", "STATE", "CREATED", "EXPIRES", "LAST USED", "FROM", "REQUESTS", "ALLOWS"];
    let row = |token: &api::Token| {
        let state = match (&*token.state, &token.overlaps_until) {
            ("overlapping", Some(until)) => format!("until {until}"),
            (state, _) => state.to_owned(),
        };
        let or =
            |value: &Option<String>, none: &str| value.clone().unwrap_or_else(|| none.to_owned());
        vec![
            token.name.clone(),
            state,
            token.created_at.clone(),
            or(&token.expires_at, "never"),
            or(&token.last_used, "never"),
            or(&token.last_used_from, "-"),
            token.requests.to_string(),
            allows(token),
        ]
    };
    let header = header.map(str::to_owned).to_vec();
    table(&std::iter::once(header).chain(tokens.iter().map(row)).collect::<Vec<_>>())
}

/// `read,task of website from 10.0.0.0/8`
fn allows(token: &api::Token) -> String {
    let mut text = match token.scopes.len() {
        4 => "all".to_owned(),
        _ => token.scopes.join(","),
    };
    if let Some(projects) = &token.projects {
        text.push_str(&format!(" of {}", projects.join(",")));
    }
    if let Some(from) = &token.from {
        text.push_str(&format!(" from {}", from.join(",")));
    }
    text
}

fn print(output: &Output, issued: &IssuedToken) -> Result<(), Failure> {
    if output.is_json() { output.json(issued) } else { output.line(&issued.secret) }
}

/// `10m`, `90d`, `1h 30m`.
fn parse_duration(text: &str) -> Result<SignedDuration, String> {
    let misfit = || format!("`{text}` is no duration; use such as 30s, 10m, 12h or 90d");
    let span: Span = text.parse().map_err(|_| misfit())?;
    let duration = span.to_duration(SpanRelativeTo::days_are_24_hours()).map_err(|_| misfit())?;
    match duration.as_secs() {
        1.. => Ok(duration),
        _ => Err("use at least a second".to_owned()),
    }
}

/// A duration, a time with its zone, or a date, whose first moment in UTC is meant.
fn parse_expiry(text: &str) -> Result<Expires, String> {
    if let Ok(at) = text.parse::<Timestamp>() {
        return Ok(Expires::At(at));
    }
    if let Ok(date) = text.parse::<Date>() {
        let at = date.to_zoned(TimeZone::UTC).map_err(|error| error.to_string())?;
        return Ok(Expires::At(at.timestamp()));
    }
    parse_duration(text).map(Expires::After).map_err(|_| {
        format!("`{text}` is no time; use a duration such as 90d, or a date such as 2027-01-31")
    })
}

/// A name as one segment of a path.
pub(super) fn in_path(name: &str) -> String {
    let escape = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' => (byte as char).to_string(),
        _ => format!("%{byte:02X}"),
    };
    name.bytes().map(escape).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_durations_and_dates_and_nothing_else() {
        let hours = |count| Ok(Expires::After(SignedDuration::from_hours(count)));
        let at = |text: &str| Ok(Expires::At(text.parse().unwrap()));
        for (text, means) in [
            ("90d", hours(90 * 24)),
            ("2w", hours(14 * 24)),
            ("36h", hours(36)),
            ("1d 12h", hours(36)),
            ("2027-01-31", at("2027-01-31T00:00:00Z")),
            ("2027-01-31T12:00:00+02:00", at("2027-01-31T10:00:00Z")),
        ] {
            assert_eq!(parse_expiry(text), means, "{text}");
        }
        for text in ["", "soon", "90", "-1d", "1 month", "0s", "2027-13-01", "999ms"] {
            assert!(parse_expiry(text).is_err(), "{text}: {:?}", parse_expiry(text));
        }
    }
}
