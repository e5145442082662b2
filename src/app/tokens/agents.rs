//! Tokens of agents: made when an agent's session opens, void when it ends. Their secrets go to the agent
//! and nowhere else.

use std::sync::{Arc, atomic::Ordering::Relaxed};

use super::{Issued, TokenError, Tokens, change::issue};
use crate::{
    app::audit,
    auth::{Digest, Networks, Principal, Projects, Scopes, Secret, Token, TokenName},
    fleet::AgentName,
};

/// An agent's token, while its session is open.
pub struct AgentToken {
    tokens: Arc<Tokens>,
    name: TokenName,
    digest: Digest,
}

impl Tokens {
    /// Makes the token of an agent whose session opens; the one that it had before is void. The guard
    /// revokes it when the session ends, unless sessions are let go of.
    ///
    /// # Errors
    /// When it can't be persisted. The one before is void then only if the session has ended.
    pub async fn mint(
        self: &Arc<Self>,
        agent: &AgentName,
        scopes: Scopes,
        project: &str,
    ) -> Result<(Secret, AgentToken), TokenError> {
        let name = TokenName::of_agent(agent.as_str());
        let projects = Projects::Only([project.into()].into());
        // That is where it is told to use it; some programs show it to whoever looks at processes.
        let networks = Networks::loopback();
        let token = Token { name: name.clone(), scopes, projects, networks, lifetime: None };
        let _one_at_a_time = self.changing.lock().await;
        let (secret, issued) = issue(Arc::new(token), self.now_to_the_second(), None);
        let digest = issued.generation.digest;
        let secrets = vec![issued];
        self.persist(&name, &secrets, "the agent has no token").await?;
        self.publish(&name, secrets);
        audit::token_created(name.as_str(), &digest.fingerprint(), Some(&Principal::Daemon));
        Ok((secret, AgentToken { tokens: Arc::clone(self), name, digest }))
    }

    /// The token of an agent whose session has outlived the former daemon, if it has one.
    pub fn retake(self: &Arc<Self>, agent: &AgentName) -> Option<AgentToken> {
        let name = TokenName::of_agent(agent.as_str());
        let digest = self.secrets(&name).first()?.generation.digest;
        Some(AgentToken { tokens: Arc::clone(self), name, digest })
    }

    /// Sessions are let go of from now on, and may outlive the daemon: so may their tokens.
    pub fn let_go_of_agents(&self) {
        self.letting_go.store(true, Relaxed);
    }

    /// Revokes the tokens of agents that have no session any more: for the start, when no session has
    /// opened yet. Blocks on the disk.
    pub fn retain_agents(&self, has_session: impl Fn(&str) -> bool) {
        let agents = |name: &&TokenName| name.agent().is_some_and(|agent| !has_session(agent));
        let gone: Vec<_> = self.registry().names().filter(agents).cloned().collect();
        for name in &gone {
            self.publish(name, Vec::new());
            audit::token_revoked(name.as_str(), &Principal::Daemon);
        }
        let Some(last) = gone.last() else { return };
        if let Err(error) = self.stores.grants.save(&self.kept(last, &[])) {
            let error = &error as &dyn std::error::Error;
            tracing::warn!(error, "tokens of former agents are still in the file");
        }
    }

    async fn revoke_agents(&self, name: &TokenName, of: Digest) {
        let _one_at_a_time = self.changing.lock().await;
        // Another session may have one of its own by now.
        let is_of = |issued: &Arc<Issued>| issued.generation.digest == of;
        if !self.secrets(name).iter().any(is_of) {
            return;
        }
        // First: nobody waits for this, and the agent is gone.
        self.publish(name, Vec::new());
        audit::token_revoked(name.as_str(), &Principal::Daemon);
        if let Err(error) = self.persist(name, &[], "an agent's token is still in the file").await {
            tracing::warn!(error = &error as &dyn std::error::Error, "{error}");
        }
    }
}

impl Drop for AgentToken {
    fn drop(&mut self) {
        if self.tokens.letting_go.load(Relaxed) {
            return;
        }
        let (tokens, name, digest) = (Arc::clone(&self.tokens), self.name.clone(), self.digest);
        // Without a runtime the daemon has ended; its next start sweeps.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move { tokens.revoke_agents(&name, digest).await });
        }
    }
}
