//! How the daemon is, in one piece, for the operator.

use std::{collections::HashSet, net::SocketAddr, path::PathBuf};

use jiff::{SignedDuration, Timestamp};

use super::{
    App, Phase,
    ports::{FileState, slots::Slots},
    refusals::Unready,
    settings::PrimarySource,
    tokens::SecretStatus,
};
use crate::{
    auth::{Refusal, Source},
    fleet::{Status as AgentStatus, TaskStatus},
};

/// What `fleetctl status` shows.
#[derive(Debug, Clone)]
pub struct Status {
    /// Where the daemon is in its life.
    pub phase: Phase,
    /// When it started.
    pub started_at: Timestamp,
    /// How long ago that was.
    pub uptime: SignedDuration,
    /// Where the data plane listens.
    pub listeners: Vec<SocketAddr>,
    /// Whether it speaks TLS itself.
    pub tls: bool,
    /// The URL that clients reach it by, if it is not the listening address.
    pub public_url: Option<String>,
    /// Whether requests without a valid token are refused.
    pub auth_enforced: bool,
    /// The primary token's file.
    pub token_file: PathBuf,
    /// How that file compares with the token in force; `None` without a token.
    pub token_file_state: Option<FileState>,
    /// Where the primary token comes from.
    pub primary: PrimarySource,
    /// The tokens' secrets, by name, each token's newest first.
    pub tokens: Vec<SecretStatus>,
    /// How many agents have which status; only those that occur.
    pub agents: Vec<(AgentStatus, usize)>,
    /// How many requests were refused with 401, by reason.
    pub unauthorized: Vec<(Refusal, u64)>,
    /// How many were refused with 403 for their Host or Origin.
    pub forbidden: u64,
    /// Sources that are not ready for authentication, busiest first.
    pub unready: Vec<(Source, Unready)>,
    /// How agents are kept apart from everything else.
    pub isolation: String,
    /// The slots that agents live in; `None` if they are child processes.
    pub slots: Option<SlotCount>,
    /// What the operator should look at.
    pub warnings: Vec<String>,
}

/// How many places for agents there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SlotCount {
    /// All.
    pub total: usize,
    /// Those that no agent lives in.
    pub free: usize,
}

impl App {
    /// How the daemon is now.
    pub async fn status(&self) -> Status {
        let settings = self.settings();
        let token_file_state = self.tokens.file_state().await;
        Status {
            phase: self.phase(),
            started_at: self.started_at,
            uptime: self.clock.now().duration_since(self.started_at),
            listeners: self.listeners().to_vec(),
            tls: settings.http.tls.is_some(),
            public_url: settings.http.public_url.clone(),
            auth_enforced: self.enforces_auth(),
            token_file: settings.auth.token_file.clone(),
            warnings: {
                let obstacle = self.tokens.obstacle().await;
                let mut all = self.all_warnings(token_file_state.as_ref(), obstacle);
                all.extend(grants_warning(&self.tokens.grants_state().await));
                all
            },
            token_file_state,
            primary: self.tokens.source().clone(),
            tokens: self.tokens.overview(),
            agents: self.agents_by_status(),
            isolation: self.isolation.clone(),
            slots: self.slots.as_ref().map(|slots| self.count(&**slots)),
            unauthorized: self.refusals.counts(),
            forbidden: self.refusals.forbidden_count(),
            unready: self.refusals.unready(),
        }
    }

    /// How the daemon is, in one line.
    pub fn summary(&self) -> String {
        let at: Vec<_> = self.listeners().iter().map(ToString::to_string).collect();
        let auth = if self.enforces_auth() { "on" } else { "OFF" };
        let fleet = self.snapshot();
        let tasks = fleet.agents.values().filter_map(|member| member.task.as_ref());
        let running = tasks.filter(|task| task.status == TaskStatus::Running).count();
        let refused: u64 = self.refusals.counts().iter().map(|(_, count)| count).sum();
        format!(
            "Serving on {}; authentication {auth}; {}, {} running; {refused} refused",
            at.join(", "),
            counted(fleet.agents.len(), "agent"),
            counted(running, "task"),
        )
    }

    /// Slots that are there no more count as none, even if agents live in them.
    fn count(&self, slots: &dyn Slots) -> SlotCount {
        let present = slots.all().unwrap_or_default();
        let snapshot = self.snapshot();
        let taken: HashSet<_> =
            snapshot.agents.values().filter_map(|member| member.agent.slot.as_ref()).collect();
        let free = present.iter().filter(|slot| !taken.contains(slot)).count();
        SlotCount { total: present.len(), free }
    }

    fn agents_by_status(&self) -> Vec<(AgentStatus, usize)> {
        let snapshot = self.snapshot();
        let count =
            |s: AgentStatus| snapshot.agents.values().filter(|m| m.agent.status == s).count();
        AgentStatus::ALL.into_iter().map(|s| (s, count(s))).filter(|&(_, n)| n > 0).collect()
    }

    fn all_warnings(&self, file: Option<&FileState>, obstacle: Option<String>) -> Vec<String> {
        let mut warnings = self.warnings.borrow().clone();
        warnings.extend(self.exposure_warning());
        warnings.extend(obstacle.map(|why| format!("authentication can't be turned on: {why}")));
        warnings.extend(file.and_then(file_warning));
        let slots = self.slots.as_ref().and_then(|slots| slots.all().err());
        warnings.extend(slots.map(|why| format!("no agent can be created: {why}")));
        warnings.extend(lost(self.recorder.dropped(), "events were not recorded"));
        warnings.extend(lost(self.figures.log_entries_dropped(), "log entries were not written"));
        warnings
    }

    /// How many events were not recorded.
    pub fn events_dropped(&self) -> u64 {
        self.recorder.dropped()
    }

    /// Authentication off together with an address that others can reach.
    pub fn exposure_warning(&self) -> Option<String> {
        exposure(self.enforces_auth(), self.listeners())
    }
}

fn counted(count: usize, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

fn exposure(enforced: bool, listeners: &[SocketAddr]) -> Option<String> {
    let beyond = !listeners.iter().all(|address| address.ip().is_loopback());
    (!enforced && beyond).then(|| {
        "authentication is off and the server listens beyond loopback: anyone who can reach it can \
         use it; set auth.enabled (FLEET_MCP_AUTH_ENABLED=true)"
            .to_owned()
    })
}

fn grants_warning(state: &FileState) -> Option<String> {
    match state {
        FileState::Current => None,
        FileState::Missing => Some(
            "tokens.json was deleted; named tokens in memory stay valid until the restart, and the \
             next change of one writes all of them anew"
                .to_owned(),
        ),
        FileState::Differs => Some(
            "tokens.json was changed by somebody else, and no token can be changed until `fleetctl \
             reload` takes it over"
                .to_owned(),
        ),
        FileState::Unusable(why) => Some(format!("the next start will stop: {why}")),
    }
}

fn lost(count: u64, what: &str) -> Option<String> {
    (count > 0)
        .then(|| format!("{count} {what} since the start: the disk or the journal was too slow"))
}

fn file_warning(state: &FileState) -> Option<String> {
    match state {
        FileState::Current => None,
        FileState::Missing => Some(
            "the token file was deleted; the token in memory stays valid until the restart, which \
             makes a new one; `fleetctl rotate` makes one now"
                .to_owned(),
        ),
        FileState::Differs => Some(
            "the token file holds another token than the one in force; the restart takes the \
             file's, `fleetctl rotate` replaces both"
                .to_owned(),
        ),
        FileState::Unusable(why) => Some(format!("the next start will stop: {why}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn being_off_beyond_loopback_is_a_warning_of_its_own() {
        let warned = |enforced, listeners: &[&str]| {
            let listeners: Vec<_> = listeners.iter().map(|text| text.parse().unwrap()).collect();
            exposure(enforced, &listeners).is_some()
        };

        for beyond in ["0.0.0.0:8000", "[::]:8000", "192.0.2.1:1", "[2001:db8::1]:1"] {
            assert!(warned(false, &["127.0.0.1:8000", beyond]), "{beyond}");
            assert!(!warned(true, &["127.0.0.1:8000", beyond]), "{beyond}");
        }
        assert!(!warned(false, &["127.0.0.1:8000", "[::1]:8000", "127.9.9.9:1"]));
    }
}
