//! How far each agent's log has come, for those who wait for more of it.

use std::collections::HashMap;

use super::AgentId;

/// How often each agent's log has grown since the daemon's start. Only whether two such numbers
/// differ means anything.
#[derive(Debug, Clone, Default)]
pub struct Logs(HashMap<AgentId, u64>);

impl Logs {
    /// Where this agent's log is.
    pub fn of(&self, agent: AgentId) -> u64 {
        self.0.get(&agent).copied().unwrap_or_default()
    }

    /// It has grown.
    pub fn grow(&mut self, agent: AgentId) {
        *self.0.entry(agent).or_default() += 1;
    }

    /// Its agent is gone.
    pub fn forget(&mut self, agent: AgentId) {
        self.0.remove(&agent);
    }
}
