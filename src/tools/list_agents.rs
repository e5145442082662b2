//! `list_agents`

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    Call, Effect, Verb,
    wire::{AgentSummary, Paging},
};
use crate::{
    app::{error::FleetError, fleet::AgentFilter, ports::fleet_store::Page},
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
    /// Page number (1-indexed)
    #[serde(default = "first_page")]
    #[schemars(range(min = 1))]
    page: u32,
    /// Agents per page (max 100); all of them on one page if it is left out
    #[serde(default)]
    #[schemars(with = "u32", range(min = 1, max = 100))]
    page_size: Option<u32>,
}

#[derive(Serialize, JsonSchema)]
pub(crate) struct Output {
    /// The agents, by name
    agents: Vec<AgentSummary>,
    #[serde(flatten)]
    paging: Paging,
}

fn first_page() -> u32 {
    1
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
        let page = input.page_size.map(|size| Page { number: input.page, size });
        let found = call.fleet().list_agents(&filter, page)?;
        let (number, size) = match page {
            Some(page) => (page.number, page.size),
            None => (1, u32::try_from(found.total).unwrap_or(u32::MAX)),
        };
        Ok(Output {
            agents: found.items.iter().map(|member| (&**member).into()).collect(),
            paging: Paging::of(found.total, number, size),
        })
    }
}
