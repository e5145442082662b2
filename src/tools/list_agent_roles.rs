//! `list_agent_roles`

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Call, Effect, Verb};
use crate::{app::error::FleetError, auth::Scope};

pub(crate) struct ListAgentRoles;

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Input {
    /// Project name to query roles for
    #[schemars(length(min = 1, max = 64))]
    project: String,
}

#[derive(Serialize, JsonSchema)]
pub(crate) struct Output {
    /// The roles, by name
    roles: Vec<Role>,
    /// The project, in its own spelling
    project_name: String,
    /// How many roles there are
    total_count: usize,
}

#[derive(Serialize, JsonSchema)]
struct Role {
    /// The role's identity: its name
    id: String,
    /// What `create_agent` takes as `role`
    name: String,
    /// How an agent in this role works
    description: String,
    /// The identity of the project
    project_id: String,
    /// The name of the project
    project_name: String,
    /// Whether it is chosen when no role is named
    default: bool,
}

impl Verb for ListAgentRoles {
    const NAME: &'static str = "list_agent_roles";
    const TITLE: &'static str = "List roles";
    const DESCRIPTION: &'static str = "List all available roles for a specific project.";
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
