//! `create_agent`

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Call, Effect, Verb, wire::AgentDetails};
use crate::{app::error::FleetError, auth::Scope};

pub(crate) struct CreateAgent;

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Input {
    /// Unique short agent name (e.g., sony, papi): a-z, 0-9 and hyphens
    #[schemars(length(min = 1, max = 32))]
    name: String,
    /// Project name
    #[schemars(length(min = 1, max = 64))]
    project: String,
    /// Task description defining objectives and constraints
    #[schemars(length(min = 1, max = 65536))]
    task: String,
    /// Agent role; the project's default role if it is left out
    #[serde(default)]
    #[schemars(with = "String", length(min = 1, max = 64))]
    role: Option<String>,
}

#[derive(Serialize, JsonSchema)]
pub(crate) struct Output {
    /// The new agent
    agent: AgentDetails,
    /// What was done, and what to call next
    message: String,
}

impl Verb for CreateAgent {
    const NAME: &'static str = "create_agent";
    const TITLE: &'static str = "Create agent";
    const DESCRIPTION: &'static str = "Create a new agent with a workspace of its own and give it its first task. \
        list_agent_projects and list_agent_roles say what there is to choose from. Returns at once: \
        wait_for_agent tells when the task has ended.";
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
