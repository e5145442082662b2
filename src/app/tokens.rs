//! The tokens of this daemon: judged on every request, rotated live.

use std::{
    net::SocketAddr,
    path::PathBuf,
    sync::{
        Arc, PoisonError, RwLock, RwLockReadGuard,
        atomic::{AtomicI64, AtomicU64, Ordering::Relaxed},
    },
};

use jiff::Timestamp;
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

use super::{
    audit,
    clock::Clock,
    ports::{FileState, PrimaryToken, StoreError, TokenStore},
};
use crate::auth::{
    Digest, Principal, Refusal, Registry, Secret, Token, Verdict, header, secret, token::PRIMARY,
};

/// A token in force, with what the daemon observes of it.
#[derive(Debug)]
pub struct Issued {
    /// The token.
    pub token: Token,
    /// Fires when the secret is rotated or revoked: whatever is in flight with it ends.
    pub revoked: CancellationToken,
    requests: AtomicU64,
    /// Unix seconds; 0 is never.
    last_used: AtomicI64,
}

impl Issued {
    fn new(token: Token) -> Arc<Self> {
        Arc::new(Self {
            token,
            revoked: CancellationToken::new(),
            requests: AtomicU64::new(0),
            last_used: AtomicI64::new(0),
        })
    }

    /// Requests that were let in with this secret since the daemon has known it.
    pub fn requests(&self) -> u64 {
        self.requests.load(Relaxed)
    }

    /// When it was last used, to the second.
    pub fn last_used(&self) -> Option<Timestamp> {
        match self.last_used.load(Relaxed) {
            0 => None,
            seconds => Timestamp::from_second(seconds).ok(),
        }
    }

    fn used(&self, client: SocketAddr, now: Timestamp) {
        self.last_used.store(now.as_second(), Relaxed);
        if self.requests.fetch_add(1, Relaxed) == 0 {
            audit::token_first_used(&self.token.name, client);
        }
    }
}

impl std::borrow::Borrow<Token> for Arc<Issued> {
    fn borrow(&self) -> &Token {
        &self.token
    }
}

/// Where the primary token that is now in force came from. For the moment of the start, when it may
/// be shown.
#[derive(Debug)]
pub enum InForce {
    /// It was in the file.
    Loaded(Secret),
    /// It was made just now, and written.
    Created(Secret),
}

/// A fresh secret, for the reply that issues it.
#[derive(Debug)]
pub struct Rotated {
    /// The token's name.
    pub name: Arc<str>,
    /// The new secret.
    pub secret: Secret,
    /// When it was issued.
    pub created_at: Timestamp,
    /// Where it was written.
    pub file: PathBuf,
}

/// Why a token was not rotated or shown. Nothing has changed then.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// There is no token of this name.
    #[error("token `{0}` not found; there is: {PRIMARY}")]
    NotFound(String),
    /// There is no primary token to show.
    #[error("there is no access token yet")]
    NoneYet,
    /// The file no longer holds the secret that is in force.
    #[error("the token file no longer holds the access token that is in force")]
    NotOnDisk,
    /// The disk refused.
    #[error("the access token was not changed; the present one stays valid")]
    NotPersisted(#[source] StoreError),
    /// The file can't be read.
    #[error("the access token can't be shown")]
    Unreadable(#[source] StoreError),
    /// The work was cut off; the log has the cause.
    #[error("internal error")]
    Internal,
}

/// Owner of all tokens. Look-ups take a read lock for the length of one hash-map access.
pub struct Tokens {
    store: Arc<dyn TokenStore>,
    clock: Arc<dyn Clock>,
    registry: RwLock<Registry<Arc<Issued>>>,
    /// One change at a time: persist, publish, answer.
    changing: Mutex<()>,
}

impl Tokens {
    /// No token in force yet.
    pub fn new(store: Arc<dyn TokenStore>, clock: Arc<dyn Clock>) -> Self {
        Self { store, clock, registry: RwLock::default(), changing: Mutex::default() }
    }

    /// Takes the primary token from its file, or makes the first one and writes it. Blocks on the
    /// disk.
    ///
    /// # Errors
    /// When the file can't be used or written; no token is in force then.
    pub fn load_or_create(&self) -> Result<InForce, StoreError> {
        if let Some(secret) = self.load()? {
            return Ok(InForce::Loaded(secret));
        }
        let primary = self.generate();
        self.store.create(&primary)?;
        audit::token_created(PRIMARY, &primary.secret.digest().fingerprint());
        self.publish(&primary);
        Ok(InForce::Created(primary.secret))
    }

    /// Takes the primary token from its file, if there is one. Blocks on the disk.
    ///
    /// # Errors
    /// When the file can't be used.
    pub fn load(&self) -> Result<Option<Secret>, StoreError> {
        let primary = self.store.load()?;
        Ok(primary.inspect(|primary| self.publish(primary)).map(|primary| primary.secret))
    }

    /// Judges the Authorization headers of one request. Counts a use of a valid token.
    ///
    /// # Errors
    /// Why the request is to be refused, with the digest of what was presented, if anything was.
    pub fn authenticate<'a>(
        &self,
        headers: impl Iterator<Item = &'a [u8]>,
        client: SocketAddr,
    ) -> Result<Arc<Issued>, (Refusal, Option<Digest>)> {
        let presented = header::presented(headers).map_err(|refusal| (refusal, None))?;
        // A longer token can't be ours, and hashing is what it would cost us.
        let digest = Digest::of(&presented[..presented.len().min(secret::MAX_LEN + 1)]);
        match self.registry().look_up(&digest) {
            Verdict::Valid(issued) => {
                issued.used(client, self.clock.now());
                Ok(issued)
            }
            Verdict::Retired => Err((Refusal::Revoked, Some(digest))),
            Verdict::Unknown => Err((Refusal::InvalidToken, Some(digest))),
        }
    }

    /// Gives a token a new secret: persists it, publishes it, answers. From the publication on the
    /// old secret is refused, and what is in flight with it ends.
    ///
    /// Cancel safe: once begun, the change is carried through even if nobody waits for the answer.
    ///
    /// # Errors
    /// When there is no such token or it can't be persisted; then the old secret stays valid.
    pub async fn rotate(
        self: &Arc<Self>,
        name: &str,
        by: Principal,
    ) -> Result<Rotated, TokenError> {
        if name != PRIMARY {
            return Err(TokenError::NotFound(name.chars().take(64).collect()));
        }
        let tokens = Arc::clone(self);
        tokio::spawn(async move { tokens.rotate_primary(&by).await })
            .await
            .map_err(|_panicked| TokenError::Internal)?
    }

    async fn rotate_primary(self: Arc<Self>, by: &Principal) -> Result<Rotated, TokenError> {
        let _one_at_a_time = self.changing.lock().await;
        let primary = self.generate();
        let primary = self.blocking(move |store| store.replace(&primary).map(|()| primary)).await?;
        let primary = primary.map_err(TokenError::NotPersisted)?;
        self.publish(&primary);
        audit::token_rotated(PRIMARY, &primary.secret.digest().fingerprint(), by);
        Ok(Rotated {
            name: PRIMARY.into(),
            secret: primary.secret,
            created_at: primary.created_at,
            file: self.store.path().to_owned(),
        })
    }

    /// The primary token's secret, read from its file: the daemon keeps only the digest.
    ///
    /// # Errors
    /// When there is none, or the file can't be read or holds another one.
    pub async fn show_primary(&self, by: &Principal) -> Result<Secret, TokenError> {
        let in_force = self.primary().ok_or(TokenError::NoneYet)?;
        let loaded = self.blocking(|store| store.load()).await?.map_err(TokenError::Unreadable)?;
        match loaded {
            Some(primary) if primary.secret.digest() == in_force.token.digest => {
                audit::token_shown(PRIMARY, by);
                Ok(primary.secret)
            }
            _ => Err(TokenError::NotOnDisk),
        }
    }

    /// How the primary token's file compares with the token in force; `None` without a token.
    pub async fn file_state(&self) -> Option<FileState> {
        let digest = self.primary()?.token.digest;
        self.blocking(move |store| store.state(&digest)).await.ok()
    }

    /// Why there can be no primary token: what is wrong with its file, while none is in force.
    pub async fn obstacle(&self) -> Option<String> {
        if self.primary().is_some() {
            return None;
        }
        // Whatever the file holds differs from this; only whether it can be used counts.
        match self.blocking(|store| store.state(&Digest::NONE)).await.ok()? {
            FileState::Unusable(why) => Some(why),
            FileState::Current | FileState::Missing | FileState::Differs => None,
        }
    }

    /// The primary token, if there is one.
    pub fn primary(&self) -> Option<Arc<Issued>> {
        self.registry().named(PRIMARY).cloned()
    }

    /// Every token in force.
    pub fn all(&self) -> Vec<Arc<Issued>> {
        self.registry().iter().cloned().collect()
    }

    fn generate(&self) -> PrimaryToken {
        let now = self.clock.now();
        // The file holds whole seconds.
        let created_at = Timestamp::from_second(now.as_second()).unwrap_or(now);
        PrimaryToken { secret: Secret::from_random(rand::random()), created_at }
    }

    fn publish(&self, primary: &PrimaryToken) {
        let issued = Issued::new(Token::primary(primary.secret.digest(), primary.created_at));
        let former = self.registry.write().unwrap_or_else(PoisonError::into_inner).publish(issued);
        if let Some(former) = former {
            former.revoked.cancel();
        }
    }

    fn registry(&self) -> RwLockReadGuard<'_, Registry<Arc<Issued>>> {
        self.registry.read().unwrap_or_else(PoisonError::into_inner)
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&dyn TokenStore) -> T + Send + 'static,
    ) -> Result<T, TokenError> {
        let store = Arc::clone(&self.store);
        tokio::task::spawn_blocking(move || work(&*store))
            .await
            .map_err(|_panicked| TokenError::Internal)
    }
}
