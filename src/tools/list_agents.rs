//! `list_agents`

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Call, Effect, Verb, wire::AgentSummary};
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
    /// Page number (1-indexed); without it and `page_size`, all agents are listed
    #[serde(default)]
    #[schemars(with = "u32", range(min = 1))]
    page: Option<u32>,
    /// Agents per page (max 100)
    #[serde(default)]
    #[schemars(with = "u32", range(min = 1, max = 100))]
    page_size: Option<u32>,
}

/// Of a page, unless it is said.
const PAGE_SIZE: u32 = 100;

#[derive(Serialize, JsonSchema)]
pub(crate) struct Output {
    /// The agents, by name
    agents: Vec<AgentSummary>,
    /// How many there are on all pages
    total_count: u64,
    /// This page, from 1; absent, as all that is below, unless a page was asked for
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "u32")]
    page: Option<u32>,
    /// Agents a page
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "u32")]
    page_size: Option<u32>,
    /// Whether there is a page after it
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "bool")]
    has_next_page: Option<bool>,
    /// Whether there is a page before it
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "bool")]
    has_previous_page: Option<bool>,
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
        let page = (input.page.is_some() || input.page_size.is_some()).then(|| Page {
            number: input.page.unwrap_or(1),
            size: input.page_size.unwrap_or(PAGE_SIZE),
        });
        let found = call.fleet().list_agents(&filter, page)?;
        let total_count = found.total;
        let has_next = |page: Page| u64::from(page.number) * u64::from(page.size) < total_count;
        Ok(Output {
            agents: found.items.iter().map(|member| (&**member).into()).collect(),
            total_count,
            page: page.map(|page| page.number),
            page_size: page.map(|page| page.size),
            has_next_page: page.map(has_next),
            has_previous_page: page.map(|page| page.number > 1),
        })
    }
}
