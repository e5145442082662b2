//! `start_agent_task`

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Call, Effect, Verb};
use crate::{app::error::FleetError, auth::Scope};

pub(crate) struct StartAgentTask;

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Input {
    /// The agent's name, such as `sony`
    #[schemars(length(min = 1, max = 32))]
    agent_name: String,
    /// What is to be done: the goal, the limits and how to tell that it is reached; the agent sees nothing
    /// of this conversation
    #[schemars(length(min = 1, max = 65536))]
    task_description: String,
}

#[derive(Serialize, JsonSchema)]
pub(crate) struct Output {
    agent_name: String,
    task_description: String,
    task_id: i64,
    message: String,
}

impl Verb for StartAgentTask {
    const NAME: &'static str = "start_agent_task";
    const TITLE: &'static str = "Start task";
    const DESCRIPTION: &'static str = "Give an idle agent a task. It has its workspace as it left it, and remembers its \
        conversation. Returns at once. Next: wait_for_agent.";
    const SCOPE: Scope = Scope::Task;
    const EFFECT: Effect = Effect::Changes;
    type Input = Input;
    type Output = Output;

    async fn run(call: Call, input: Input) -> Result<Output, FleetError> {
        let member = call.fleet().start_task(&input.agent_name, &input.task_description).await?;
        let agent_name = member.agent.name.to_string();
        Ok(Output {
            message: format!(
                "Task assigned to agent '{agent_name}' successfully; next: wait_for_agent"
            ),
            agent_name,
            task_description: input.task_description,
            task_id: member.task.as_ref().map_or(0, |task| task.id.0),
        })
    }
}
