//! `cancel_agent_task`

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Call, Effect, Verb};
use crate::{app::error::FleetError, auth::Scope};

pub(crate) struct CancelAgentTask;

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Input {
    /// Name of the agent whose task to cancel
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

impl Verb for CancelAgentTask {
    const NAME: &'static str = "cancel_agent_task";
    const TITLE: &'static str = "Cancel task";
    const DESCRIPTION: &'static str = "Cancel the current task of a busy agent. The agent is told to stop; if it does not \
        within a few seconds, its program is ended.";
    const SCOPE: Scope = Scope::Task;
    const EFFECT: Effect = Effect::Destroys;
    type Input = Input;
    type Output = Output;

    async fn run(call: Call, input: Input) -> Result<Output, FleetError> {
        let member = call.fleet().cancel_task(&input.agent_name).await?;
        let agent_name = member.agent.name.to_string();
        let message = format!("Task canceled for agent '{agent_name}' successfully");
        Ok(Output { agent_name, message })
    }
}
