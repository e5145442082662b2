//! `show_agent`

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Call, Effect, Verb, wire::AgentDetails};
use crate::{app::error::FleetError, auth::Scope};

pub(crate) struct ShowAgent;

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Input {
    /// Name of the agent to retrieve
    #[schemars(length(min = 1, max = 32))]
    agent_name: String,
}

#[derive(Serialize, JsonSchema)]
pub(crate) struct Output {
    /// The agent
    agent: AgentDetails,
}

impl Verb for ShowAgent {
    const NAME: &'static str = "show_agent";
    const TITLE: &'static str = "Show agent";
    const DESCRIPTION: &'static str = "Show detailed information about a specific agent. \
        list_agents has the names.";
    const SCOPE: Scope = Scope::Read;
    const EFFECT: Effect = Effect::Reads;
    type Input = Input;
    type Output = Output;

    async fn run(call: Call, input: Input) -> Result<Output, FleetError> {
        Ok(Output { agent: (&*call.fleet().show_agent(&input.agent_name)?).into() })
    }
}
