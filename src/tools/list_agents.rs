//! `list_agents`

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    Call, Effect, Verb,
    wire::{AgentSummary, LIST_TASK},
};
use crate::{
    app::{error::FleetError, fleet::AgentFilter, ports::fleet_store::Page},
    auth::Scope,
};

pub(crate) struct ListAgents;

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Input {
    /// Only agents with this status, such as `idle`: pending, starting, idle, busy, stopping, stopped, failed,
    /// canceling, canceled, deleting or deleted; any by default
    #[serde(default)]
    #[schemars(with = "String", length(max = 32))]
    status_filter: Option<String>,
    /// Only agents of this project; of all by default
    #[serde(default)]
    #[schemars(with = "String", length(max = 64))]
    project_filter: Option<String>,
    /// The page, from 1; all agents on one by default, unless `page_size` is given
    #[serde(default)]
    #[schemars(with = "u32", range(min = 1))]
    page: Option<u32>,
    /// Agents a page; 100 by default, if `page` is given
    #[serde(default)]
    #[schemars(with = "u32", range(min = 1, max = 100))]
    page_size: Option<u32>,
}

/// Of a page, unless it is said.
const PAGE_SIZE: u32 = 100;

#[derive(Serialize, JsonSchema)]
pub(crate) struct Output {
    agents: Vec<AgentSummary>,
    total_count: u64,
    /// Absent, as all that is below, unless a page was asked for
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "u32")]
    page: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "u32")]
    page_size: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "bool")]
    has_next_page: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "bool")]
    has_previous_page: Option<bool>,
}

impl Verb for ListAgents {
    const NAME: &'static str = "list_agents";
    const TITLE: &'static str = "List agents";
    const DESCRIPTION: &'static str = "List the agents of the fleet. Use it first, to see who is idle and who waits for an \
        answer. Next: start_agent_task for an idle one, show_agent for one that waits, \
        create_agent if none fits.";
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
            agents: found
                .items
                .iter()
                .map(|member| AgentSummary::of(member, page.map(|_| LIST_TASK)))
                .collect(),
            total_count,
            page: page.map(|page| page.number),
            page_size: page.map(|page| page.size),
            has_next_page: page.map(has_next),
            has_previous_page: page.map(|page| page.number > 1),
        })
    }
}
