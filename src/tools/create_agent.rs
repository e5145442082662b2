//! `create_agent`

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Call, Effect, Verb, wire::AgentDetails};
use crate::{app::error::FleetError, auth::Scope};

pub(crate) struct CreateAgent;

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Input {
    /// A short name that no agent has yet, such as `sony`: a-z, 0-9 and hyphens, which neither begin nor end it
    #[schemars(length(min = 1, max = 32))]
    name: String,
    /// The project, by its name in `list_agent_projects`
    #[schemars(length(min = 1, max = 64))]
    project: String,
    /// What is to be done: the goal, the limits and how to tell that it is reached; the agent sees nothing
    /// of this conversation
    #[schemars(length(min = 1, max = 65536))]
    task: String,
    /// The role, by its name in `list_agent_roles`; by default the project's default role
    #[serde(default)]
    #[schemars(with = "String", length(min = 1, max = 64))]
    role: Option<String>,
}

#[derive(Serialize, JsonSchema)]
pub(crate) struct Output {
    agent: AgentDetails,
    message: String,
}

impl Verb for CreateAgent {
    const NAME: &'static str = "create_agent";
    const TITLE: &'static str = "Create agent";
    const DESCRIPTION: &'static str = "Create an agent with a workspace of its own and give it its first task. Use it when \
        list_agents shows no idle agent that fits; list_agent_projects and list_agent_roles have \
        what to choose from. Returns at once. Next: wait_for_agent.";
    const SCOPE: Scope = Scope::Manage;
    const EFFECT: Effect = Effect::Changes;
    type Input = Input;
    type Output = Output;

    async fn run(call: Call, input: Input) -> Result<Output, FleetError> {
        let role = input.role.as_deref();
        let member =
            call.fleet().create_agent(&input.name, &input.project, role, &input.task).await?;
        let name = &member.agent.name;
        let message = format!("Agent '{name}' created successfully; next: wait_for_agent");
        Ok(Output { agent: (&*member).into(), message })
    }
}
