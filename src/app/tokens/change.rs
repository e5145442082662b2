//! Tokens made, rotated and revoked: persisted, published, answered, in that order.

use std::{future::Future, path::PathBuf, sync::Arc};

use jiff::{RoundMode, SignedDuration, Timestamp, TimestampRound, Unit};

use super::{Issued, TokenError, Tokens};
use crate::{
    app::{audit, ports::Use, sync::spawn},
    auth::{Generation, Networks, Principal, Projects, Scopes, Secret, Token, TokenName},
};

/// Most former secrets of one token that may still count.
const MAX_OVERLAPS: usize = 8;
/// The longest overlap.
const MAX_GRACE: SignedDuration = SignedDuration::from_hours(24 * 366);
/// The longest life of a secret.
const MAX_LIFETIME: SignedDuration = SignedDuration::from_hours(24 * 366 * 100);
/// Most names that an answer lists.
const MAX_NAMED: usize = 20;

/// A token to be made.
#[derive(Debug, Clone)]
pub struct NewToken {
    /// Its name.
    pub name: TokenName,
    /// What it allows; not nothing.
    pub scopes: Scopes,
    /// Whose agents it may see; each project has to be configured.
    pub projects: Projects,
    /// Where its requests may come from.
    pub networks: Networks,
    /// How long its secrets last.
    pub expiry: Expiry,
}

/// How long a secret lasts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expiry {
    /// For ever.
    Never,
    /// So long; the next one after a rotation again.
    After(SignedDuration),
    /// To a date; the next one after a rotation too.
    At(Timestamp),
}

/// How a token is to be rotated.
#[derive(Debug, Clone, Copy, Default)]
pub struct Rotation {
    /// How long the former secret still counts. Without it, it and all that overlap with it end at
    /// once.
    pub grace: Option<SignedDuration>,
    /// How long the new secret lasts; as before, if it is left out.
    pub expiry: Option<Expiry>,
}

/// What is to be revoked of a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Revocation {
    /// The token.
    Whole,
    /// Former secrets that still count: ends an overlap.
    Former,
}

/// A fresh secret, for the reply that issues it.
#[derive(Debug)]
pub struct NewSecret {
    /// What is known of it, and of its token.
    pub generation: Generation,
    /// The secret.
    pub secret: Secret,
    /// Whether it has a predecessor.
    pub replaces: bool,
    /// How long that still counts.
    pub overlaps_until: Option<Timestamp>,
    /// Where it was written, if it was.
    pub file: Option<PathBuf>,
}

impl Tokens {
    /// Makes a named token.
    ///
    /// Cancel safe, as all of these: once begun, the change is carried through even if nobody waits for
    /// the answer.
    ///
    /// # Errors
    /// When there is one of the name, or it makes no sense, or it can't be persisted.
    pub async fn create(
        self: &Arc<Self>,
        wanted: NewToken,
        by: Principal,
    ) -> Result<NewSecret, TokenError> {
        let tokens = Arc::clone(self);
        carry_through(async move { tokens.create_now(wanted, &by).await }).await
    }

    /// Gives a token a new secret. Without grace the old secret is refused from the publication on, and
    /// what is in flight with it ends.
    ///
    /// # Errors
    /// When there is no such token or it can't be persisted; then the old secret stays valid.
    pub async fn rotate(
        self: &Arc<Self>,
        name: TokenName,
        wanted: Rotation,
        by: Principal,
    ) -> Result<NewSecret, TokenError> {
        let tokens = Arc::clone(self);
        carry_through(async move {
            match name.is_primary() {
                true => tokens.rotate_primary(wanted, &by).await,
                false => tokens.rotate_named(&name, wanted, &by).await,
            }
        })
        .await
    }

    /// Revokes a token, or its former secrets. They are refused from the publication on, and what is in
    /// flight with them ends. How many secrets no longer count.
    ///
    /// # Errors
    /// When there is no such token or it can't be persisted; then all of it stays valid.
    pub async fn revoke(
        self: &Arc<Self>,
        name: TokenName,
        what: Revocation,
        by: Principal,
    ) -> Result<usize, TokenError> {
        let tokens = Arc::clone(self);
        carry_through(async move { tokens.revoke_now(&name, what, &by).await }).await
    }

    async fn create_now(&self, wanted: NewToken, by: &Principal) -> Result<NewSecret, TokenError> {
        let _one_at_a_time = self.changing.lock().await;
        let name = wanted.name;
        if name.agent().is_some() {
            return Err(TokenError::OfAgent(name.to_string()));
        }
        if name.is_primary() || self.registry().named(&name).next().is_some() {
            return Err(TokenError::Exists(name.to_string()));
        }
        let now = self.now_to_the_second();
        let (lifetime, expires_at) = settle(wanted.expiry, now)?;
        let token = Token {
            name: name.clone(),
            scopes: wanted.scopes,
            projects: wanted.projects,
            networks: wanted.networks,
            lifetime,
        };
        let (secret, issued) = issue(Arc::new(token), now, expires_at);
        let secrets = vec![issued];
        self.persist(&name, &secrets, "the token was not made").await?;
        let generation = secrets[0].generation.clone();
        self.publish(&name, secrets);
        let fingerprint = generation.digest.fingerprint();
        audit::token_created(name.as_str(), &fingerprint, Some(by));
        Ok(NewSecret { generation, secret, replaces: false, overlaps_until: None, file: None })
    }

    async fn rotate_named(
        &self,
        name: &TokenName,
        wanted: Rotation,
        by: &Principal,
    ) -> Result<NewSecret, TokenError> {
        let _one_at_a_time = self.changing.lock().await;
        let present = self.secrets(name);
        let Some(newest) = present.first() else { return Err(self.not_found(name.as_str())) };
        if name.agent().is_some() {
            return Err(TokenError::OfAgent(name.to_string()));
        }
        let now = self.now_to_the_second();
        let (token, expires_at) = renewed(&newest.generation, wanted.expiry, now)?;
        let former = overlapping(&present, wanted.grace, self.clock.now())?;
        // A token is one thing, whichever of its secrets is presented.
        let former = former.iter().map(|issued| {
            let generation = issued.generation.clone();
            issued.with(Generation { token: Arc::clone(&token), ..generation })
        });
        let (secret, issued) = issue(Arc::clone(&token), now, expires_at);
        let secrets: Vec<_> = std::iter::once(issued).chain(former).collect();
        self.persist(name, &secrets, "the token was not rotated; the present secret stays valid")
            .await?;
        let answer = NewSecret {
            generation: secrets[0].generation.clone(),
            secret,
            replaces: true,
            overlaps_until: secrets.get(1).and_then(|former| former.generation.overlaps_until),
            file: None,
        };
        self.publish(name, secrets);
        answer.tell_rotated(by);
        Ok(answer)
    }

    async fn revoke_now(
        &self,
        name: &TokenName,
        what: Revocation,
        by: &Principal,
    ) -> Result<usize, TokenError> {
        if what == Revocation::Whole && name.is_primary() {
            return Err(TokenError::Primary);
        }
        let _one_at_a_time = self.changing.lock().await;
        let present = self.secrets(name);
        if present.is_empty() {
            return Err(self.not_found(name.as_str()));
        }
        let kept = if what == Revocation::Whole { 0 } else { 1 };
        if present.len() > kept {
            let outcome = "the token was not revoked; it stays valid";
            self.persist(name, &present[..kept], outcome).await?;
            self.publish(name, present[..kept].to_vec());
            match what {
                Revocation::Whole => audit::token_revoked(name.as_str(), by),
                Revocation::Former => audit::token_overlap_ended(name.as_str(), by),
            }
        }
        Ok(present.len() - kept)
    }

    /// The error for a token that does not exist.
    pub fn not_found(&self, name: &str) -> TokenError {
        let registry = self.registry();
        let mut names: Vec<_> =
            registry.names().take(MAX_NAMED + 1).map(TokenName::as_str).collect();
        let more = if names.len() > MAX_NAMED { ", and more" } else { "" };
        names.truncate(MAX_NAMED);
        let there_is = match names.as_slice() {
            [] => "there are no tokens yet".to_owned(),
            names => format!("there is: {}{more}", names.join(", ")),
        };
        TokenError::NotFound { name: name.chars().take(64).collect(), there_is }
    }
}

impl NewSecret {
    pub(super) fn tell_rotated(&self, by: &Principal) {
        let name = self.generation.token.name.as_str();
        let fingerprint = self.generation.digest.fingerprint();
        audit::token_rotated(name, &fingerprint, self.overlaps_until, by);
    }
}

async fn carry_through<T: Send + 'static>(
    change: impl Future<Output = Result<T, TokenError>> + Send + 'static,
) -> Result<T, TokenError> {
    spawn(change).await.map_err(|_panicked| TokenError::Internal)?
}

pub(super) fn issue(
    token: Arc<Token>,
    created_at: Timestamp,
    expires_at: Option<Timestamp>,
) -> (Secret, Arc<Issued>) {
    let secret = Secret::named_from_random(rand::random());
    let digest = secret.digest();
    let generation = Generation { token, digest, created_at, expires_at, overlaps_until: None };
    (secret, Issued::new(generation, Use::default()))
}

/// What of a token's secrets still counts after a rotation, newest first. An overlap that was granted
/// before is neither longer nor shorter for it.
pub(super) fn overlapping(
    present: &[Arc<Issued>],
    grace: Option<SignedDuration>,
    now: Timestamp,
) -> Result<Vec<Arc<Issued>>, TokenError> {
    let Some(grace) = grace else { return Ok(Vec::new()) };
    if grace > MAX_GRACE || grace <= SignedDuration::ZERO {
        return Err(TokenError::Invalid(
            "an overlap lasts more than nothing, and at most a year".to_owned(),
        ));
    }
    // To the second, as people are told it, and never too short.
    let until = now.checked_add(grace).and_then(|at| {
        at.round(TimestampRound::new().smallest(Unit::Second).mode(RoundMode::Ceil))
    });
    let until = until.map_err(|error| TokenError::Invalid(error.to_string()))?;
    let counts = present.iter().filter(|issued| issued.generation.over(now).is_none());
    let overlaps: Vec<_> = counts
        .map(|issued| {
            let generation = issued.generation.clone();
            let overlaps_until = generation.overlaps_until.or(Some(until));
            issued.with(Generation { overlaps_until, ..generation })
        })
        .collect();
    match overlaps.len() {
        0..=MAX_OVERLAPS => Ok(overlaps),
        many => {
            let name = present.first().map(|issued| issued.token().name.to_string());
            Err(TokenError::TooManyOverlaps(name.unwrap_or_default(), many - 1))
        }
    }
}

/// How long each secret lasts from now on, and when one that is issued now expires.
fn settle(
    expiry: Expiry,
    now: Timestamp,
) -> Result<(Option<SignedDuration>, Option<Timestamp>), TokenError> {
    let invalid = |why: String| TokenError::Invalid(why);
    match expiry {
        Expiry::Never => Ok((None, None)),
        Expiry::After(lifetime) if lifetime <= SignedDuration::ZERO || lifetime > MAX_LIFETIME => {
            Err(invalid("a token lasts more than nothing, and at most 100 years".to_owned()))
        }
        Expiry::After(lifetime) => {
            let at = now.checked_add(lifetime).map_err(|error| invalid(error.to_string()))?;
            Ok((Some(lifetime), Some(at)))
        }
        Expiry::At(at) if at <= now => {
            Err(invalid(format!("{at} is over; a token expires in the future")))
        }
        Expiry::At(at) => Ok((None, Some(at))),
    }
}

/// The token after a rotation, and when its new secret expires.
fn renewed(
    newest: &Generation,
    wanted: Option<Expiry>,
    now: Timestamp,
) -> Result<(Arc<Token>, Option<Timestamp>), TokenError> {
    let token = &newest.token;
    let as_before = match (token.lifetime, newest.expires_at) {
        (Some(lifetime), _) => Expiry::After(lifetime),
        (None, Some(at)) => Expiry::At(at),
        (None, None) => Expiry::Never,
    };
    let (lifetime, expires_at) = settle(wanted.unwrap_or(as_before), now)?;
    match lifetime == token.lifetime {
        true => Ok((Arc::clone(token), expires_at)),
        false => Ok((Arc::new(Token { lifetime, ..Token::clone(token) }), expires_at)),
    }
}
