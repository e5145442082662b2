//! The primary token: its secret is in a file of its own, or comes from elsewhere.

use std::sync::Arc;

use super::{Issued, NewSecret, Rotation, TokenError, Tokens, change::overlapping};
use crate::{
    app::{
        audit,
        ports::{FileState, Grant, PrimaryToken, StoreError, Use},
        settings::PrimarySource,
    },
    auth::{Digest, Generation, Principal, Secret, Token, TokenName, token::PRIMARY},
};

/// Where the primary token that is now in force came from. For the moment of the start, when it may
/// be shown.
#[derive(Debug)]
pub enum InForce {
    /// It was there.
    Loaded(Secret),
    /// It was made just now, and written.
    Created(Secret),
}

const UNCHANGED: &str = "the access token was not changed; the present one stays valid";

impl Tokens {
    /// Takes all tokens from their files; makes the first primary one and writes it. Blocks on the
    /// disk.
    ///
    /// # Errors
    /// When a file can't be used or written; nothing is in force then that was not before.
    pub fn load_or_create(&self) -> Result<InForce, StoreError> {
        if let Some(secret) = self.load()? {
            return Ok(InForce::Loaded(secret));
        }
        // Whoever deletes the file wants nobody to come in with what it held, or held before.
        let name = TokenName::primary();
        let known = self.stores.grants.load()?.unwrap_or_default();
        if known.iter().any(|grant| grant.token.name == name) {
            self.stores.grants.save(&self.kept(&name, &[]))?;
        }
        let primary = self.generate();
        self.stores.primary.create(&primary)?;
        audit::token_created(PRIMARY, &primary.secret.digest().fingerprint(), None);
        self.publish(&name, vec![issue(&primary, Use::default())]);
        Ok(InForce::Created(primary.secret))
    }

    /// Takes all tokens from their files, as far as there are files. Blocks on the disk.
    ///
    /// # Errors
    /// When one can't be used; nothing is in force then that was not before.
    pub fn load(&self) -> Result<Option<Secret>, StoreError> {
        let grants = self.stores.grants.load()?;
        let primary = self.stores.primary.load()?;
        let mut grants = grants.unwrap_or_default();
        let name = TokenName::primary();
        let own = grants.iter().position(|grant| grant.token.name == name);
        let own = own.map(|at| grants.remove(at));
        // What overlaps with the file's secret has nothing to do with one from elsewhere.
        let own = own.filter(|_| self.stores.source == PrimarySource::File);
        if let Some(primary) = &primary {
            refuse_shared(&grants, &primary.secret.digest())?;
        }
        self.take_over(grants, &Principal::Daemon);
        if let Some(primary) = &primary {
            self.publish(&name, with_overlaps(primary, own));
        }
        Ok(primary.map(|primary| primary.secret))
    }

    /// Gives the primary token a new secret. The file that holds its former ones is written first: until
    /// the new secret is written too, the present one counts by its own file, whatever that says.
    pub(super) async fn rotate_primary(
        &self,
        wanted: Rotation,
        by: &Principal,
    ) -> Result<NewSecret, TokenError> {
        if self.stores.source != PrimarySource::File {
            return Err(TokenError::FromElsewhere(self.stores.source.clone()));
        }
        if wanted.expiry.is_some() {
            let why = "the primary token does not expire; make named tokens that do";
            return Err(TokenError::Invalid(why.to_owned()));
        }
        let _one_at_a_time = self.changing.lock().await;
        let name = TokenName::primary();
        let present = self.secrets(&name);
        let former = overlapping(&present, wanted.grace, self.clock.now())?;
        let noted = !former.is_empty() || present.len() > 1;
        if noted {
            self.persist(&name, &former, UNCHANGED).await?;
        }
        let primary = self.generate();
        let replaced =
            self.blocking(move |stores| stores.primary.replace(&primary).map(|()| primary));
        let primary = match replaced.await? {
            Ok(primary) => primary,
            Err(source) => {
                if noted && let Err(error) = self.persist(&name, &present, UNCHANGED).await {
                    tracing::warn!(error = &error as &dyn std::error::Error, "{error}");
                }
                return Err(TokenError::NotPersisted { outcome: UNCHANGED, source });
            }
        };
        let issued = issue(&primary, Use::default());
        let answer = NewSecret {
            generation: issued.generation.clone(),
            secret: primary.secret,
            replaces: !present.is_empty(),
            overlaps_until: former.first().and_then(|former| former.generation.overlaps_until),
            file: Some(self.stores.primary.path().to_owned()),
        };
        self.publish(&name, std::iter::once(issued).chain(former).collect());
        answer.tell_rotated(by);
        Ok(answer)
    }

    /// The primary token's secret, read from where it is: the daemon keeps only the digest.
    ///
    /// # Errors
    /// When there is none, or the file can't be read or holds another one.
    pub async fn show_primary(&self, by: &Principal) -> Result<Secret, TokenError> {
        let in_force = self.primary().ok_or(TokenError::NoneYet)?;
        let loaded = self.blocking(|stores| stores.primary.load()).await?;
        match loaded.map_err(TokenError::Unreadable)? {
            Some(primary) if primary.secret.digest() == in_force.generation.digest => {
                audit::token_shown(PRIMARY, by);
                Ok(primary.secret)
            }
            _ => Err(TokenError::NotOnDisk),
        }
    }

    /// How the primary token's file compares with the token in force; `None` without a token.
    pub async fn file_state(&self) -> Option<FileState> {
        let digest = self.primary()?.generation.digest;
        self.blocking(move |stores| stores.primary.state(&digest)).await.ok()
    }

    /// How the named tokens' file compares with what this daemon knows of it.
    pub async fn grants_state(&self) -> FileState {
        let state = self.blocking(|stores| stores.grants.state()).await;
        state.unwrap_or_else(|error| FileState::Unusable(error.to_string()))
    }

    /// Why there can be no primary token: what is wrong with its file, while none is in force.
    pub async fn obstacle(&self) -> Option<String> {
        if self.primary().is_some() {
            return None;
        }
        // Whatever the file holds differs from this; only whether it can be used counts.
        match self.blocking(|stores| stores.primary.state(&Digest::NONE)).await.ok()? {
            FileState::Unusable(why) => Some(why),
            FileState::Current | FileState::Missing | FileState::Differs => None,
        }
    }

    fn generate(&self) -> PrimaryToken {
        let secret = Secret::from_random(rand::random());
        PrimaryToken { secret, created_at: self.now_to_the_second() }
    }
}

/// A secret is of one token: of two, chance would say what it allows.
fn refuse_shared(grants: &[Grant], primary: &Digest) -> Result<(), StoreError> {
    let has_it = |grant: &&Grant| grant.secrets.iter().any(|(own, _)| own.digest == *primary);
    match grants.iter().find(has_it) {
        None => Ok(()),
        Some(grant) => Err(StoreError {
            what: format!("the primary token is the secret of token `{}` too", grant.token.name),
            help: "give the primary token another secret, or remove that token from tokens.json"
                .to_owned(),
            source: None,
        }),
    }
}

fn issue(primary: &PrimaryToken, used: Use) -> Arc<Issued> {
    let generation = Generation {
        token: Arc::new(Token::primary()),
        digest: primary.secret.digest(),
        created_at: primary.created_at,
        expires_at: None,
        overlaps_until: None,
    };
    Issued::new(generation, used)
}

/// The secret that its own file holds, and those that overlap with it. What is kept besides of the
/// former says when each ends: one that doesn't say so was replaced without an overlap.
fn with_overlaps(primary: &PrimaryToken, kept: Option<Grant>) -> Vec<Arc<Issued>> {
    let (own, others): (Vec<_>, Vec<_>) = kept
        .into_iter()
        .flat_map(|grant| grant.secrets)
        .partition(|(generation, _)| generation.digest == primary.secret.digest());
    let used = own.first().map_or_else(Use::default, |(_, used)| *used);
    let newest = issue(primary, used);
    let token = Arc::clone(&newest.generation.token);
    let overlaps = others.into_iter().filter(|(former, _)| former.overlaps_until.is_some());
    let former = overlaps.map(|(former, used)| {
        Issued::new(Generation { token: Arc::clone(&token), ..former }, used)
    });
    std::iter::once(Arc::clone(&newest)).chain(former).collect()
}
