//! `restart_agent`

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Call, Effect, Verb, wire::AgentDetails};
use crate::{app::error::FleetError, auth::Scope};

pub(crate) struct RestartAgent;

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Input {
    /// The agent's name, such as `sony`
    #[schemars(length(min = 1, max = 32))]
    agent_name: String,
}

#[derive(Serialize, JsonSchema)]
pub(crate) struct Output {
    agent: AgentDetails,
    message: String,
}

impl Verb for RestartAgent {
    const NAME: &'static str = "restart_agent";
    const TITLE: &'static str = "Restart agent";
    const DESCRIPTION: &'static str = "End an agent's program and start it anew in the same workspace, with its conversation if \
        the program can resume it. Use it when an agent hangs; a running task is canceled. Next: \
        wait_for_agent until it is idle, then start_agent_task.";
    const SCOPE: Scope = Scope::Manage;
    const EFFECT: Effect = Effect::Destroys;
    type Input = Input;
    type Output = Output;

    async fn run(call: Call, input: Input) -> Result<Output, FleetError> {
        let member = call.fleet().restart_agent(&input.agent_name).await?;
        let message = format!("Agent '{}' restarted successfully", member.agent.name);
        Ok(Output { agent: (&*member).into(), message })
    }
}
