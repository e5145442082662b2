//! `list_agent_projects`

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Call, Effect, Verb};
use crate::{app::error::FleetError, auth::Scope};

pub(crate) struct ListAgentProjects;

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Input {}

#[derive(Serialize, JsonSchema)]
pub(crate) struct Output {
    projects: Vec<Project>,
    total_count: usize,
}

#[derive(Serialize, JsonSchema)]
struct Project {
    id: String,
    /// What `create_agent` takes as `project`
    name: String,
    description: String,
}

impl Verb for ListAgentProjects {
    const NAME: &'static str = "list_agent_projects";
    const TITLE: &'static str = "List projects";
    const DESCRIPTION: &'static str = "List the projects that agents can work on. Use it before create_agent. Next: \
        list_agent_roles for the roles that one of them offers.";
    const SCOPE: Scope = Scope::Read;
    const EFFECT: Effect = Effect::Reads;
    type Input = Input;
    type Output = Output;

    async fn run(call: Call, Input {}: Input) -> Result<Output, FleetError> {
        let shown = call.fleet().list_projects().into_iter().map(|project| Project {
            id: project.name.clone(),
            name: project.name,
            description: project.description,
        });
        let projects: Vec<_> = shown.collect();
        Ok(Output { total_count: projects.len(), projects })
    }
}
