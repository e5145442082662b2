//! The tokens of this daemon: judged on every request, changed live.
//!
//! Here is their owner. What is done with them: `judge` requests, `change` them, the `primary` one,
//! `agents`' own, `kept` what outlives the daemon, `tend` their ends and their use.

mod agents;
mod change;
mod error;
mod issued;
mod judge;
mod kept;
mod primary;
mod tend;

#[cfg(test)]
mod tests;

use std::sync::{Arc, PoisonError};

use jiff::Timestamp;
use tokio::sync::{Mutex, Notify};

use self::tend::counting;
pub use self::{
    agents::AgentToken,
    change::{Expiry, NewSecret, NewToken, Revocation, Rotation},
    error::TokenError,
    issued::Issued,
    judge::Denied,
    kept::Reread,
    primary::InForce,
};
use super::{
    clock::Clock,
    ports::{GrantStore, TokenStore, Use},
    settings::PrimarySource,
    sync::{AtomicBool, RwLock, RwLockReadGuard, spawn_blocking},
};
use crate::auth::{Generation, Registry, TokenName, token::End};

/// Where tokens outlive the daemon.
#[derive(Clone)]
pub struct Stores {
    /// The primary token's secret.
    pub primary: Arc<dyn TokenStore>,
    /// Where that comes from.
    pub source: PrimarySource,
    /// Everything else.
    pub grants: Arc<dyn GrantStore>,
}

/// Owner of all tokens. Look-ups take a read lock for the length of one hash-map access.
pub struct Tokens {
    stores: Stores,
    clock: Arc<dyn Clock>,
    registry: RwLock<Registry<Arc<Issued>>>,
    /// One change at a time: persist, publish, answer.
    changing: Mutex<()>,
    /// There may be another next end.
    changed: Notify,
    /// Secrets were used since that was last written down.
    unsaved_use: AtomicBool,
    /// Agents may outlive this daemon.
    letting_go: AtomicBool,
}

/// How a secret is, without anything secret.
#[derive(Debug, Clone)]
pub struct SecretStatus {
    /// The secret, by its digest, with its token.
    pub generation: Generation,
    /// Why it no longer counts, if it does not.
    pub over: Option<End>,
    /// How it was used.
    pub used: Use,
}

impl Tokens {
    /// No token in force yet.
    pub fn new(stores: Stores, clock: Arc<dyn Clock>) -> Self {
        Self {
            stores,
            clock,
            registry: RwLock::default(),
            changing: Mutex::default(),
            changed: Notify::new(),
            unsaved_use: AtomicBool::new(false),
            letting_go: AtomicBool::new(false),
        }
    }

    /// The primary token's present secret, if there is one.
    pub fn primary(&self) -> Option<Arc<Issued>> {
        self.registry().named(&TokenName::primary()).next().cloned()
    }

    /// Where the primary token comes from.
    pub fn source(&self) -> &PrimarySource {
        &self.stores.source
    }

    /// Every secret that is known, by name, each token's newest first.
    pub fn all(&self) -> Vec<Arc<Issued>> {
        self.registry().iter().cloned().collect()
    }

    /// How every secret is, in the same order.
    pub fn overview(&self) -> Vec<SecretStatus> {
        let now = self.clock.now();
        let status = |issued: &Arc<Issued>| SecretStatus {
            generation: issued.generation.clone(),
            over: issued.generation.over(now),
            used: issued.used(),
        };
        self.registry().iter().map(status).collect()
    }

    /// The secrets of a token, newest first.
    fn secrets(&self, name: &TokenName) -> Vec<Arc<Issued>> {
        self.registry().named(name).cloned().collect()
    }

    /// Makes these the secrets of a token; whatever is in flight with one that it had besides ends.
    fn publish(&self, name: &TokenName, secrets: Vec<Arc<Issued>>) {
        let gone = self.registry_mut(|registry| {
            // Time may have ended one since the change began.
            registry.set(name, secrets.iter().map(counting).collect())
        });
        gone.iter().for_each(|issued| issued.over().cancel());
        self.changed.notify_one();
    }

    fn registry(&self) -> RwLockReadGuard<'_, Registry<Arc<Issued>>> {
        self.registry.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn registry_mut<T>(&self, change: impl FnOnce(&mut Registry<Arc<Issued>>) -> T) -> T {
        change(&mut self.registry.write().unwrap_or_else(PoisonError::into_inner))
    }

    /// The time to the second: what files hold.
    fn now_to_the_second(&self) -> Timestamp {
        let now = self.clock.now();
        Timestamp::from_second(now.as_second()).unwrap_or(now)
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Stores) -> T + Send + 'static,
    ) -> Result<T, TokenError> {
        let stores = self.stores.clone();
        spawn_blocking(move || work(&stores)).await.map_err(|_panicked| TokenError::Internal)
    }
}
