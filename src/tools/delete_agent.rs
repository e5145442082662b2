//! `delete_agent`

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Call, Effect, Verb};
use crate::{app::error::FleetError, auth::Scope};

pub(crate) struct DeleteAgent;

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Input {
    /// Name of the agent to delete
    #[schemars(length(min = 1, max = 32))]
    agent_name: String,
}

#[derive(Serialize, JsonSchema)]
pub(crate) struct Output {
    /// The agent
    agent_name: String,
    /// What was done
    message: String,
}

impl Verb for DeleteAgent {
    const NAME: &'static str = "delete_agent";
    const TITLE: &'static str = "Delete agent";
    const DESCRIPTION: &'static str = "Delete an agent, whatever it is doing: its program is ended, and its workspace and \
        its history are removed. Work on a repository is published on the agent's branch first.";
    const SCOPE: Scope = Scope::Manage;
    const EFFECT: Effect = Effect::Destroys;
    type Input = Input;
    type Output = Output;

    async fn run(call: Call, input: Input) -> Result<Output, FleetError> {
        let member = call.fleet().delete_agent(&input.agent_name).await?;
        let agent_name = member.agent.name.to_string();
        let message = format!(
            "Agent '{agent_name}' deleted successfully; work on a repository is published as branch \
             fleet/{agent_name} (fleetctl events has the git fetch to run)"
        );
        Ok(Output { agent_name, message })
    }
}
