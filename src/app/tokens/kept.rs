//! What outlives the daemon: read at the start and on reload, written before anything counts.

use std::{collections::HashMap, sync::Arc};

use tokio::sync::MutexGuard;

use super::{Issued, TokenError, Tokens};
use crate::{
    app::{
        audit,
        ports::{Grant, StoreError, Use},
    },
    auth::{Digest, Generation, Principal, TokenName},
};

/// Named tokens that were read again, and do not count yet. Nobody changes tokens meanwhile.
pub struct Reread<'a> {
    tokens: &'a Tokens,
    grants: Option<Vec<Grant>>,
    _nobody_else: MutexGuard<'a, ()>,
}

impl Reread<'_> {
    /// Puts them in force: tokens that are no longer there are revoked. A file that was deleted
    /// revokes nothing; the next change writes it anew.
    pub fn take_over(self, by: &Principal) {
        let Some(grants) = self.grants else { return };
        self.tokens.take_over(grants, by);
    }
}

impl Tokens {
    /// Reads the named tokens again.
    ///
    /// # Errors
    /// When the file can't be used.
    pub async fn reread(&self) -> Result<Reread<'_>, StoreError> {
        let nobody_else = self.changing.lock().await;
        let read = self.blocking(|stores| stores.grants.load()).await;
        let grants = read.unwrap_or_else(|panicked| {
            Err(StoreError {
                what: format!("could not read the named tokens: {panicked}"),
                help: "the daemon's log has the cause".to_owned(),
                source: None,
            })
        })?;
        Ok(Reread { tokens: self, grants, _nobody_else: nobody_else })
    }

    /// Everything that is to be kept, with these secrets of one token in place of its present ones.
    pub(super) fn kept(&self, name: &TokenName, secrets: &[Arc<Issued>]) -> Vec<Grant> {
        let registry = self.registry();
        let others = registry.names().filter(|known| *known != name);
        let others = others.filter_map(|name| grant(registry.named(name)));
        let mut grants: Vec<_> = others.chain(grant(secrets.iter())).collect();
        grants.sort_by(|a, b| a.token.name.cmp(&b.token.name));
        grants
    }

    /// Writes it down, before anything counts.
    pub(super) async fn persist(
        &self,
        name: &TokenName,
        secrets: &[Arc<Issued>],
        outcome: &'static str,
    ) -> Result<(), TokenError> {
        let grants = self.kept(name, secrets);
        let saved = self.blocking(move |stores| stores.grants.save(&grants)).await?;
        saved.map_err(|source| TokenError::NotPersisted { outcome, source })
    }

    /// Makes all named tokens those that were read. The primary one has its own ways.
    pub(super) fn take_over(&self, grants: Vec<Grant>, by: &Principal) {
        let primary = TokenName::primary();
        let wanted: HashMap<_, _> = grants
            .into_iter()
            .filter(|grant| grant.token.name != primary)
            .map(|grant| (grant.token.name.clone(), grant))
            .collect();
        let known: Vec<_> =
            self.registry().names().filter(|name| **name != primary).cloned().collect();
        for name in known.into_iter().filter(|name| !wanted.contains_key(name)) {
            self.publish(&name, Vec::new());
            audit::token_revoked(name.as_str(), by);
        }
        for (name, grant) in wanted {
            self.take(&name, grant);
        }
    }

    /// Secrets that are known stay what they are, with what is in flight with them, unless they now
    /// allow something else.
    fn take(&self, name: &TokenName, grant: Grant) {
        let known = self.secrets(name);
        let mut other = Vec::new();
        let issue = |(generation, used): (Generation, Use)| {
            let same = |issued: &&Arc<Issued>| is_of(issued, &generation.digest);
            match known.iter().find(same) {
                Some(issued) if *issued.token() == *generation.token => issued.with(generation),
                Some(issued) => {
                    other.push(Arc::clone(issued));
                    issued.anew(generation)
                }
                None => Issued::new(generation, used),
            }
        };
        let secrets = grant.secrets.into_iter().map(issue).collect();
        self.publish(name, secrets);
        other.iter().for_each(|issued| issued.over().cancel());
    }
}

fn is_of(issued: &Issued, digest: &Digest) -> bool {
    issued.generation.digest == *digest
}

fn grant<'a>(secrets: impl Iterator<Item = &'a Arc<Issued>>) -> Option<Grant> {
    let secrets: Vec<_> =
        secrets.map(|issued| (issued.generation.clone(), issued.used())).collect();
    let token = Arc::clone(&secrets.first()?.0.token);
    Some(Grant { token, secrets })
}
