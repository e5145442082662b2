//! The shapes that several tools answer with. Names and shapes are the original server's.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;

use crate::fleet::snapshot::Member;

/// An agent in a list.
#[derive(Serialize, JsonSchema)]
pub(super) struct AgentSummary {
    /// The agent's name
    pub(super) name: String,
    /// pending, starting, idle, busy, stopping, stopped, failed, canceling, canceled, deleting or deleted
    pub(super) status: String,
    /// The role it was created with
    pub(super) role: String,
    /// The project it works on
    pub(super) project: String,
    /// The newest task; absent before the first
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub(super) last_task: Option<String>,
    /// When it was created, RFC 3339
    pub(super) created_at: String,
    /// What is known of its work
    pub(super) metadata: BTreeMap<String, String>,
    /// How many entries all its metadata has
    pub(super) metadata_count: usize,
}

/// An agent in full.
#[derive(Serialize, JsonSchema)]
pub(super) struct AgentDetails {
    #[serde(flatten)]
    summary: AgentSummary,
    /// The agent's stable identity
    workspace_id: String,
    /// When anything of it last changed, RFC 3339
    updated_at: String,
}

impl From<&Member> for AgentSummary {
    fn from(Member { agent, .. }: &Member) -> Self {
        Self {
            name: agent.name.to_string(),
            status: agent.status.as_str().to_owned(),
            role: agent.role.clone(),
            project: agent.project.clone(),
            last_task: agent.last_task.clone(),
            created_at: agent.created_at.to_string(),
            metadata: BTreeMap::new(),
            metadata_count: 0,
        }
    }
}

impl From<&Member> for AgentDetails {
    fn from(member: &Member) -> Self {
        let agent = &member.agent;
        Self {
            workspace_id: agent.id.to_string(),
            updated_at: agent.updated_at.to_string(),
            summary: member.into(),
        }
    }
}
