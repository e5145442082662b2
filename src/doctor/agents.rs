//! What agents need: programs, repositories, git, walls.

use std::{
    io,
    path::{Path, PathBuf},
};

use nix::unistd::{AccessFlags, access};

use super::Subject;
use crate::{
    agents::host,
    app::{doctor::Finding, settings::Settings},
};

/// A name that is not on PATH is told by the settings; what is left are paths.
pub(super) fn programs(subject: &Subject, settings: &Settings) -> Vec<Finding> {
    const CHECK: &str = "agent_programs";
    let mut findings = Vec::new();
    for program in settings.programs.iter().filter(|program| program.command.is_absolute()) {
        let of_it = settings.roles.iter().filter(|role| role.agent == program.name);
        let roles: Vec<_> = of_it.map(|role| format!("`{}`", role.name)).collect();
        if roles.is_empty() {
            continue;
        }
        let shown = program.command.display();
        let why = format!("no agent of the role {} can start", roles.join(", "));
        if !program.command.is_file() {
            let fix = "install it, or correct `command` in [agents]";
            findings.push(Finding::error(CHECK, format!("`{shown}` is not there"), why, fix));
        } else if subject.is_us() && access(&program.command, AccessFlags::X_OK).is_err() {
            let what = format!("the daemon may not run `{shown}`");
            findings.push(Finding::error(CHECK, what, why, format!("chmod a+rx {shown}")));
        }
    }
    findings
}

pub(super) fn projects(subject: &Subject, settings: &Settings) -> Vec<Finding> {
    const CHECK: &str = "projects";
    let mut findings = Vec::new();
    for project in &settings.projects {
        let Some(path) = project.repository.as_deref().and_then(local) else { continue };
        let (name, shown) = (&project.name, path.display());
        let why = format!("no agent of the project `{name}` can start");
        match look_at_repository(&path) {
            Ok(true) => {}
            Ok(false) => {
                let what = format!("`{shown}` is no git repository");
                let fix = format!("git init {shown}; or correct `repository` of `{name}`");
                findings.push(Finding::error(CHECK, what, why, fix));
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let fix = format!("clone it there, or correct `repository` of `{name}`");
                findings.push(Finding::error(CHECK, format!("`{shown}` is not there"), why, fix));
            }
            Err(_) if !subject.is_us() => {
                let what = format!("`{shown}` was not checked");
                findings.push(Finding::skipped(CHECK, what, "this user may not look there"));
            }
            Err(error) => {
                let what = format!("the daemon can't read `{shown}`: {error}");
                let fix = format!(
                    "chmod -R a+rX {shown}; or setfacl -R -m u:{}:rX {shown}",
                    subject.owner
                );
                findings.push(Finding::error(CHECK, what, why, fix));
            }
        }
    }
    findings
}

/// What is a path on this machine; git takes everything with a colon before a slash for a URL.
fn local(repository: &str) -> Option<PathBuf> {
    let path = repository.strip_prefix("file://").unwrap_or(repository);
    path.starts_with('/').then(|| path.into())
}

/// Whether there is one: a bare one, or one with files.
fn look_at_repository(path: &Path) -> io::Result<bool> {
    path.read_dir()?;
    Ok(path.join("HEAD").exists() || path.join(".git").exists())
}

pub(super) fn git(subject: &Subject, settings: &Settings) -> Option<Finding> {
    let search = subject.search_path();
    if host::find_program(Path::new("git"), &search).is_some() {
        return None;
    }
    let what = format!("git is not on PATH (`{search}`)");
    let with_one = settings.projects.iter().filter(|project| project.repository.is_some());
    let names: Vec<_> = with_one.map(|project| format!("`{}`", project.name)).collect();
    if names.is_empty() {
        let why = "projects with a repository will need it";
        return Some(Finding::note("git", what, why, "apt install git"));
    }
    let why = format!("no agent of the project {} can start", names.join(", "));
    Some(Finding::error("git", what, why, "apt install git"))
}

pub(super) fn confinement() -> Option<Finding> {
    let words = host::confinement();
    words.starts_with("none").then(|| {
        Finding::warning(
            "confinement",
            format!("agents are not kept in their workspaces: {words}"),
            "an agent can read whatever its user can",
            "boot a kernel with Landlock (5.13 or later, `lsm=landlock,…` on its command line)",
        )
    })
}

/// Places that systemd has for agents, if they are to run there.
pub(super) fn slots(settings: &Settings) -> Option<Finding> {
    const CHECK: &str = "slots";
    let directory = settings.fleet.slots.as_ref()?;
    let shown = directory.display();
    let sockets = match directory.read_dir() {
        Ok(entries) => entries
            .filter_map(|entry| Some(entry.ok()?.path()))
            .filter(|path| path.extension().is_some_and(|extension| extension == "sock"))
            .count(),
        Err(error) => {
            let what = format!("the directory of slots `{shown}` can't be read: {error}");
            let fix = "systemctl start fleet-agents.target";
            return Some(Finding::error(CHECK, what, "no agent can be created", fix));
        }
    };
    if sockets == 0 {
        let what = format!("there is no slot in `{shown}`");
        let fix = "systemctl start fleet-agents.target";
        return Some(Finding::error(CHECK, what, "no agent can be created", fix));
    }
    let most = settings.fleet.max_agents;
    (sockets < most).then(|| {
        Finding::note(
            CHECK,
            format!("there are {sockets} slots in `{shown}`"),
            format!("so many agents there can be, though fleet.max_agents is {most}"),
            format!(
                "systemctl enable --now fleet-agent@{:02}.socket, if you need more",
                sockets + 1
            ),
        )
    })
}
