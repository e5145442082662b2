//! Tokens that are about to expire, old, unused, broader than needed, or not yet moved from.

use jiff::{SignedDuration, Timestamp};

use crate::{
    app::doctor::Finding,
    auth::{Scope, token::PRIMARY},
    control::api::Token,
};

const CHECK: &str = "tokens";
/// So long before the end there should be another secret.
const SOON: SignedDuration = SignedDuration::from_hours(14 * 24);
/// So old a secret should have been rotated.
const OLD: SignedDuration = SignedDuration::from_hours(365 * 24);
/// So long a token should not be unused.
const UNUSED: SignedDuration = SignedDuration::from_hours(60 * 24);

pub(super) fn look(tokens: &[Token], now: Timestamp) -> Vec<Finding> {
    let current = tokens.iter().filter(|token| token.state == "current");
    let lasting = current.flat_map(|token| {
        [expiring(token, now), old(token, now), unused(token, now), broad(token)]
    });
    let others = tokens.iter().flat_map(|token| [overlapping(token, now), expired(token)]);
    lasting.chain(others).flatten().collect()
}

fn expiring(token: &Token, now: Timestamp) -> Option<Finding> {
    let end: Timestamp = token.expires_at.as_ref()?.parse().ok()?;
    let left = end.duration_since(now);
    (left < SOON).then(|| {
        Finding::warning(
            CHECK,
            format!("token `{}` expires at {end:.0}, in {}", token.name, days(left)),
            "from then on its clients get 401",
            format!("fleetctl token rotate {} --grace 7d", token.name),
        )
    })
}

fn expired(token: &Token) -> Option<Finding> {
    (token.state == "expired").then(|| {
        Finding::note(
            CHECK,
            format!("token `{}` has expired", token.name),
            "its clients get 401; if it is of no use any more, it need not be listed",
            format!("fleetctl token rotate {0}, or fleetctl token revoke {0}", token.name),
        )
    })
}

fn old(token: &Token, now: Timestamp) -> Option<Finding> {
    let age = age(&token.created_at, now)?;
    (age >= OLD).then(|| {
        Finding::note(
            CHECK,
            format!("the secret of token `{}` is {} old", token.name, days(age)),
            "the longer a secret is about, the more have seen it",
            format!("fleetctl token rotate {} --grace 7d", token.name),
        )
    })
}

/// The primary token is rarely used where there are others, and can't be revoked.
fn unused(token: &Token, now: Timestamp) -> Option<Finding> {
    let age = age(token.last_used.as_ref().unwrap_or(&token.created_at), now)?;
    (age >= UNUSED && token.name != PRIMARY).then(|| {
        Finding::note(
            CHECK,
            format!("nobody has used token `{}` for {}", token.name, days(age)),
            "a token that nobody needs is only there to be stolen",
            format!("fleetctl token revoke {}", token.name),
        )
    })
}

fn broad(token: &Token) -> Option<Finding> {
    let has_all = Scope::ALL.iter().all(|scope| token.scopes.iter().any(|s| s == scope.as_str()));
    let everywhere = token.projects.is_none() && token.from.is_none();
    (has_all && everywhere && token.name != PRIMARY).then(|| {
        Finding::note(
            CHECK,
            format!("token `{}` may do everything, in all projects, from everywhere", token.name),
            "whoever gets hold of it can do as much",
            format!(
                "fleetctl token create NAME --scope … --project … --from …, then fleetctl token \
                 revoke {}",
                token.name
            ),
        )
    })
}

/// A secret that was replaced, and that somebody has used since.
fn overlapping(token: &Token, now: Timestamp) -> Option<Finding> {
    let end: Timestamp = token.overlaps_until.as_ref()?.parse().ok()?;
    let from = token.last_used_from.as_ref().filter(|_| token.state == "overlapping")?;
    Some(Finding::warning(
        CHECK,
        format!(
            "the former secret of token `{}` was last used from {from}; it works for another {}",
            token.name,
            days(end.duration_since(now))
        ),
        "who has not moved by then gets 401",
        "give whoever is there the new secret; `fleetctl token list` shows who still uses the old",
    ))
}

fn age(since: &str, now: Timestamp) -> Option<SignedDuration> {
    Some(now.duration_since(since.parse().ok()?))
}

fn days(time: SignedDuration) -> String {
    match (time.as_hours() / 24, time.as_hours()) {
        (days @ 2.., _) => format!("{days} days"),
        (_, hours @ 2..) => format!("{hours} hours"),
        _ => format!("{} minutes", time.as_mins()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(name: &str) -> Token {
        Token {
            name: name.to_owned(),
            state: "current".to_owned(),
            created_at: "2026-11-01T00:00:00Z".to_owned(),
            expires_at: None,
            overlaps_until: None,
            last_used: Some("2026-11-24T00:00:00Z".to_owned()),
            last_used_from: Some("192.0.2.1".to_owned()),
            requests: 7,
            fingerprint: "0c10c26b".to_owned(),
            scopes: vec!["read".to_owned()],
            projects: None,
            from: None,
        }
    }

    /// What is found at noon of November 25, 2026.
    fn found(tokens: Vec<Token>) -> Vec<String> {
        let now = "2026-11-25T12:00:00Z".parse().unwrap();
        look(&tokens, now).into_iter().map(|finding| finding.what).collect()
    }

    #[test]
    fn a_token_in_daily_use_is_fine() {
        assert_eq!(found(vec![token("ci"), token(PRIMARY)]), [""; 0]);
    }

    #[test]
    fn what_ends_is_old_unused_or_broad_is_found() {
        let all = Scope::ALL.iter().map(|scope| scope.as_str().to_owned()).collect();
        let time = |text: &str| Some(text.to_owned());
        let cases = [
            (Token { expires_at: time("2026-11-27T12:00:00Z"), ..token("a") }, "in 2 days"),
            (Token { created_at: "2025-01-01T00:00:00Z".into(), ..token("a") }, "days old"),
            (Token { last_used: time("2026-01-01T00:00:00Z"), ..token("a") }, "nobody has used"),
            (Token { scopes: all, ..token("a") }, "may do everything"),
            (Token { state: "expired".into(), ..token("a") }, "has expired"),
            (
                Token {
                    state: "overlapping".into(),
                    overlaps_until: time("2026-11-25T15:00:00Z"),
                    ..token("a")
                },
                "used from 192.0.2.1; it works for another 3 hours",
            ),
        ];
        for (token, says) in cases {
            let found = found(vec![token]);

            assert!(found.len() == 1 && found[0].contains(says), "{says}: {found:?}");
        }
    }
}
