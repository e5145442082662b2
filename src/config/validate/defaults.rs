//! What the fleet offers to somebody who has configured nothing.

use super::super::surroundings::Surroundings;
use crate::fleet::{
    Driver, FleetToken, Permissions, Program, Project, Role,
    program::{KNOWN, Known},
};

/// The built-in agent program, and its role.
const DEMO: &str = "demo";

/// The role for whoever names none: the first of these that there is, else the built-in one.
const PREFERRED: [&str; 5] = ["claude", "codex", "opencode", "gemini", "goose"];

/// An agent needs no repository to show what it can do.
pub(super) fn project() -> Project {
    Project {
        name: "scratch".to_owned(),
        description: "An empty directory for each agent".to_owned(),
        repository: None,
    }
}

/// The built-in one, and the known ones on PATH.
pub(super) fn programs(around: &Surroundings) -> impl Iterator<Item = Program> {
    let acp = |name: &str, command, arguments: &[&str]| Program {
        name: name.to_owned(),
        driver: Driver::Acp,
        command,
        arguments: arguments.iter().map(ToString::to_string).collect(),
        environment: Vec::new(),
    };
    let demo = acp(DEMO, around.program.clone(), &["demo-agent"]);
    let found = KNOWN.iter().filter_map(move |known| {
        let command = around.find(known.command.as_ref())?;
        Some(acp(known.name, command, known.arguments))
    });
    std::iter::once(demo).chain(found)
}

/// The one that is meant when none is named.
pub(super) fn program(programs: &[Program]) -> Option<&Program> {
    let named = |name: &str| programs.iter().find(|p| p.name.eq_ignore_ascii_case(name));
    PREFERRED.into_iter().chain([DEMO]).find_map(named)
}

/// One for each program.
pub(super) fn roles(programs: &[Program]) -> Vec<Role> {
    let default = program(programs);
    let role = |program: &Program| Role {
        name: program.name.clone(),
        description: description(&program.name),
        projects: Vec::new(),
        default: default.is_some_and(|default| default.name == program.name),
        agent: program.name.clone(),
        prompt: None,
        mode: None,
        model: None,
        permissions: Permissions::Ask,
        fleet_token: FleetToken::Off,
        environment: Vec::new(),
        environment_file: None,
        credentials: Vec::new(),
    };
    programs.iter().map(role).collect()
}

fn description(program: &str) -> String {
    let is_meant = |known: &&Known| known.name.eq_ignore_ascii_case(program);
    match KNOWN.iter().find(is_meant) {
        Some(known) => known.description.to_owned(),
        None if program == DEMO => "A demonstration that needs no account".to_owned(),
        None => format!("The agent program {program}"),
    }
}
