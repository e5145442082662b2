//! What to run for an agent, from its role and its project.

use crate::{
    app::{
        ports::sessions::{Program, SessionSpec},
        settings::Settings,
    },
    fleet::Agent,
};

/// # Errors
/// When the configuration no longer has what the agent was created with; says what.
pub(super) fn of(
    agent: &Agent,
    resume: Option<String>,
    settings: &Settings,
) -> Result<SessionSpec, String> {
    let gone =
        |noun: &str, name: &str| format!("the configuration has no {noun} `{name}` any more");
    let project = settings.projects.iter().find(|project| project.name == agent.project);
    let project = project.ok_or_else(|| gone("project", &agent.project))?;
    let role = settings.roles.iter().find(|role| role.name == agent.role);
    let role = role.ok_or_else(|| gone("role", &agent.role))?;
    let program = settings.programs.iter().find(|p| p.name.eq_ignore_ascii_case(&role.agent));
    let program = program.ok_or_else(|| gone("agent program", &role.agent))?;
    Ok(SessionSpec {
        agent: agent.id,
        name: agent.name.clone(),
        slot: agent.slot.clone(),
        project: project.name.clone(),
        repository: project.repository.clone(),
        program: Program {
            driver: program.driver,
            command: program.command.clone(),
            arguments: program.arguments.clone(),
            environment: program.environment.clone(),
            environment_file: role.environment_file.clone(),
            overrides: role.environment.clone(),
            credentials: role.credentials.clone(),
        },
        resume,
        permissions: role.permissions,
        fleet_token: role.fleet_token,
        mode: role.mode.clone(),
        model: role.model.clone(),
    })
}
