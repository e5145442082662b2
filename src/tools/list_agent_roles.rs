//! `list_agent_roles`

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Call, Effect, Verb};
use crate::{app::error::FleetError, auth::Scope};

pub(crate) struct ListAgentRoles;

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Input {
    /// The project, by its name in `list_agent_projects`
    #[schemars(length(min = 1, max = 64))]
    project: String,
}

#[derive(Serialize, JsonSchema)]
pub(crate) struct Output {
    roles: Vec<Role>,
    project_name: String,
    total_count: usize,
}

#[derive(Serialize, JsonSchema)]
struct Role {
    id: String,
    /// What `create_agent` takes as `role`
    name: String,
    description: String,
    project_id: String,
    project_name: String,
    /// Whether it is chosen when no role is named
    default: bool,
}

impl Verb for ListAgentRoles {
    const NAME: &'static str = "list_agent_roles";
    const TITLE: &'static str = "List roles";
    const DESCRIPTION: &'static str = "List the roles that a project offers: how an agent in each works. Use it before \
        create_agent, unless the default role will do. Next: create_agent.";
    const SCOPE: Scope = Scope::Read;
    const EFFECT: Effect = Effect::Reads;
    type Input = Input;
    type Output = Output;

    async fn run(call: Call, input: Input) -> Result<Output, FleetError> {
        let (project, roles) = call.fleet().list_roles(&input.project)?;
        let shown = roles.into_iter().map(|role| Role {
            id: role.name.clone(),
            name: role.name,
            description: role.description,
            project_id: project.name.clone(),
            project_name: project.name.clone(),
            default: role.default,
        });
        let roles: Vec<_> = shown.collect();
        Ok(Output { total_count: roles.len(), roles, project_name: project.name.clone() })
    }
}
