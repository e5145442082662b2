//! What an agent gets of the fleet itself: an MCP server on loopback, and a token of its own.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::{Arc, OnceLock},
};

use tokio::sync::watch;

use crate::{
    agents::drivers::acp::FleetServer,
    app::{
        ports::sessions::{FleetToken, SessionSpec},
        settings::Settings,
        tokens::{AgentToken, Tokens},
    },
    auth::{Scope, Scopes},
};

/// Gives agents access to the fleet, as far as their roles say.
#[derive(Clone)]
pub(super) struct AgentTokens {
    pub(super) tokens: Arc<Tokens>,
    pub(super) settings: watch::Receiver<Arc<Settings>>,
    /// Filled in once the daemon listens.
    pub(super) listeners: Arc<OnceLock<Vec<SocketAddr>>>,
}

impl AgentTokens {
    /// The server for an agent whose session opens, with a token that lasts as long as the guard; nothing
    /// if its role does not ask for it.
    ///
    /// # Errors
    /// Why the agent can't have what its role asks for.
    pub(super) async fn give(
        &self,
        spec: &SessionSpec,
    ) -> Result<Option<(FleetServer, AgentToken)>, String> {
        let Some(scopes) = scopes(spec.fleet_token) else { return Ok(None) };
        let url = self.url().map_err(str::to_owned)?;
        let minted = self.tokens.mint(&spec.name, scopes, &spec.project).await;
        let (secret, token) = minted.map_err(|error| super::failure::chain(&error))?;
        Ok(Some((FleetServer { url, secret }, token)))
    }

    /// The guard of the token that an agent has from a former daemon.
    pub(super) fn retake(&self, spec: &SessionSpec) -> Option<AgentToken> {
        self.tokens.retake(&spec.name)
    }

    fn url(&self) -> Result<String, &'static str> {
        if self.settings.borrow().http.tls.is_some() {
            return Err("the daemon speaks TLS, and its certificate is not for loopback");
        }
        let listeners = self.listeners.get().map(Vec::as_slice).unwrap_or_default();
        let near = listeners.iter().find_map(|listener| on_loopback(*listener));
        let near = near.ok_or("the daemon does not listen on loopback; add it to `listen`")?;
        Ok(format!("http://{near}/mcp"))
    }
}

/// How this machine reaches a listener by loopback.
fn on_loopback(listener: SocketAddr) -> Option<SocketAddr> {
    let ip = match listener.ip() {
        ip if ip.is_loopback() => ip,
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        _ => return None,
    };
    Some(SocketAddr::new(ip, listener.port()))
}

fn scopes(wanted: FleetToken) -> Option<Scopes> {
    let scopes: &[Scope] = match wanted {
        FleetToken::Off => return None,
        FleetToken::Read => &[Scope::Read],
        FleetToken::Task => &[Scope::Read, Scope::Task],
        FleetToken::Manage => &[Scope::Read, Scope::Task, Scope::Manage],
    };
    Some(scopes.iter().copied().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agents_reach_the_daemon_by_loopback_or_not_at_all() {
        let near = |text: &str| on_loopback(text.parse().unwrap()).map(|at| at.to_string());

        assert_eq!(near("0.0.0.0:8000").as_deref(), Some("127.0.0.1:8000"));
        assert_eq!(near("[::]:8000").as_deref(), Some("[::1]:8000"));
        assert_eq!(near("127.0.0.1:1").as_deref(), Some("127.0.0.1:1"));
        assert_eq!(near("192.0.2.1:8000"), None);
    }
}
