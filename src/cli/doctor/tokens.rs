//! Tokens that are old, or that nobody uses.

use jiff::{SignedDuration, Timestamp};

use crate::{
    app::doctor::Finding,
    control::api::{Status, Token},
};

/// So old a secret should have been rotated.
const OLD: SignedDuration = SignedDuration::from_hours(365 * 24);
/// So long a token should not be unused.
const UNUSED: SignedDuration = SignedDuration::from_hours(30 * 24);

pub(super) fn look(status: &Status, now: Timestamp) -> Vec<Finding> {
    status
        .tokens
        .iter()
        .flat_map(|token| old(token, now).into_iter().chain(unused(token, now)))
        .collect()
}

fn old(token: &Token, now: Timestamp) -> Option<Finding> {
    let age = age(&token.created_at, now)?;
    (age >= OLD).then(|| {
        Finding::note(
            "tokens",
            format!("token `{}` is {} days old", token.name, age.as_hours() / 24),
            "the longer a secret is about, the more have seen it",
            format!("fleetctl rotate {}", token.name),
        )
    })
}

fn unused(token: &Token, now: Timestamp) -> Option<Finding> {
    let age = age(token.last_used.as_ref().unwrap_or(&token.created_at), now)?;
    (age >= UNUSED).then(|| {
        Finding::note(
            "tokens",
            format!("nobody has used token `{}` for {} days", token.name, age.as_hours() / 24),
            "a token that nobody needs is only there to be stolen",
            "take it back, if nobody needs it",
        )
    })
}

fn age(since: &str, now: Timestamp) -> Option<SignedDuration> {
    Some(now.duration_since(since.parse().ok()?))
}
