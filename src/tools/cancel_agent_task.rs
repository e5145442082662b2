//! `cancel_agent_task`

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Call, Effect, Verb};
use crate::{app::error::FleetError, auth::Scope, fleet::TaskId};

pub(crate) struct CancelAgentTask;

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Input {
    /// The agent's name, such as `sony`
    #[schemars(length(min = 1, max = 32))]
    agent_name: String,
    /// The task's id, so that no later one is canceled; the current task by default
    #[serde(default)]
    #[schemars(with = "i64", range(min = 1))]
    task_id: Option<i64>,
}

#[derive(Serialize, JsonSchema)]
pub(crate) struct Output {
    agent_name: String,
    message: String,
}

impl Verb for CancelAgentTask {
    const NAME: &'static str = "cancel_agent_task";
    const TITLE: &'static str = "Cancel task";
    const DESCRIPTION: &'static str = "Cancel the task of a busy agent, because it goes wrong or is no longer wanted. The agent \
        is told to stop; after a few seconds its program is ended. The agent stays. Next: \
        wait_for_agent until it is idle, then start_agent_task.";
    const SCOPE: Scope = Scope::Task;
    const EFFECT: Effect = Effect::Destroys;
    type Input = Input;
    type Output = Output;

    async fn run(call: Call, input: Input) -> Result<Output, FleetError> {
        let task = input.task_id.map(TaskId);
        let member = call.fleet().cancel_task(&input.agent_name, task).await?;
        let agent_name = member.agent.name.to_string();
        let message = format!("Task canceled for agent '{agent_name}' successfully");
        Ok(Output { agent_name, message })
    }
}
