//! `list_agents`

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Call, Effect, Verb, wire::AgentSummary};
use crate::{
    app::{error::FleetError, fleet::AgentFilter},
    auth::Scope,
};

pub(crate) struct ListAgents;

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Input {
    /// Only agents with this status: pending, starting, idle, busy, stopping, stopped, failed,
    /// canceling, canceled, deleting or deleted
    #[serde(default)]
    #[schemars(with = "String", length(max = 32))]
    status_filter: Option<String>,
    /// Only agents of this project
    #[serde(default)]
    #[schemars(with = "String", length(max = 64))]
    project_filter: Option<String>,
}

#[derive(Serialize, JsonSchema)]
pub(crate) struct Output {
    /// The agents, by name
    agents: Vec<AgentSummary>,
    /// How many match
    total_count: usize,
}

impl Verb for ListAgents {
    const NAME: &'static str = "list_agents";
    const TITLE: &'static str = "List agents";
    const DESCRIPTION: &'static str = "List all agents in the fleet with optional filtering. \
        Use it first, to see who is idle; show_agent has the details of one.";
    const SCOPE: Scope = Scope::Read;
    const EFFECT: Effect = Effect::Reads;
    type Input = Input;
    type Output = Output;

    async fn run(call: Call, input: Input) -> Result<Output, FleetError> {
        let filter = AgentFilter { status: input.status_filter, project: input.project_filter };
        let agents: Vec<AgentSummary> =
            call.fleet().list_agents(&filter)?.iter().map(|member| (&**member).into()).collect();
        Ok(Output { total_count: agents.len(), agents })
    }
}
