//! What agents need: programs, repositories, git, walls.

use std::{
    io,
    os::unix::fs::MetadataExt as _,
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
        if is_hidden(settings, &program.command) {
            findings.push(hidden(CHECK, &program.command));
            continue;
        }
        let why = format!("no agent of the role {} can start", roles.join(", "));
        if !program.command.is_file() {
            let fix = "install it, or correct `command` in [agents]";
            findings.push(Finding::error(CHECK, format!("`{shown}` is not there"), why, fix));
        } else if let Some(place) = closed_to_slots(settings, &program.command) {
            findings.push(closed(CHECK, &program.command, &place, why));
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
        if is_hidden(settings, &path) {
            findings.push(hidden(CHECK, &path));
            continue;
        }
        let why = format!("no agent of the project `{name}` can start");
        match look_at_repository(&path) {
            Ok(true) => {
                let place = closed_to_slots(settings, &path);
                findings.extend(place.map(|place| closed(CHECK, &path, &place, why)));
            }
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

/// Whether a slot's host may see what the daemon can't: the unit keeps homes and media from it.
fn is_hidden(settings: &Settings, path: &Path) -> bool {
    const HIDDEN: [&str; 5] = ["/home", "/root", "/run/user", "/media", "/mnt"];
    settings.fleet.slots.is_some()
        && HIDDEN.iter().any(|place| path.starts_with(place))
        && !path.exists()
}

/// What on the way to a path, or the path itself, is not open to all, and so not to agents' users.
fn closed_to_slots(settings: &Settings, path: &Path) -> Option<PathBuf> {
    settings.fleet.slots.as_ref()?;
    let path = path.canonicalize().ok()?;
    let is_closed = |place: &&Path| {
        let wanted = if *place == path { 0o005 } else { 0o001 };
        place.metadata().is_ok_and(|meta| meta.mode() & wanted != wanted)
    };
    path.ancestors().find(is_closed).map(Path::to_owned)
}

fn closed(check: &'static str, path: &Path, place: &Path, why: String) -> Finding {
    let what =
        format!("agents' users can't reach `{}`: `{}` is closed", path.display(), place.display());
    Finding::error(check, what, why, format!("chmod o+rX {}", place.display()))
}

fn hidden(check: &'static str, path: &Path) -> Finding {
    let what = format!("`{}` was not checked", path.display());
    let why = "the daemon does not see it; agents' users do, if it is there and open to all";
    Finding::skipped(check, what, why)
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

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt as _};

    use nix::unistd::geteuid;
    use tempfile::TempDir;

    use super::*;
    use crate::{
        app::doctor::Severity,
        config::{Flags, Sources, load},
    };

    fn chmod(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    /// A role whose program, and a project whose repository, are in a directory of this mode; with
    /// one slot, or without slots.
    fn found(mode: u32, with_slots: bool) -> Vec<(&'static str, Severity)> {
        let home = TempDir::new().unwrap();
        let (inner, slots) = (home.path().join("inner"), home.path().join("slots"));
        for directory in [&inner, &slots, &inner.join("repository")] {
            fs::create_dir(directory).unwrap();
        }
        fs::write(inner.join("repository/HEAD"), "").unwrap();
        fs::write(inner.join("program"), "").unwrap();
        fs::write(slots.join("01.sock"), "").unwrap();
        let shown = inner.display();
        let config = home.path().join("config.toml");
        let text = format!(
            "[projects.p]\nrepository = \"{shown}/repository\"\n[agents.a]\ncommand = \
             \"{shown}/program\"\n[roles.r]\nagent = \"a\"\n"
        );
        fs::write(&config, text).unwrap();
        chmod(home.path(), 0o755);
        chmod(&inner.join("program"), 0o755);
        chmod(&inner.join("repository"), 0o755);
        chmod(&inner, mode);
        let mut values = vec![("fleet.max_agents", "1".to_owned())];
        values.extend(with_slots.then(|| ("fleet.slots", slots.display().to_string())));
        let owner = geteuid().as_raw();
        let sources = Sources {
            environment: vec![("HOME".into(), home.path().into())],
            working_dir: home.path().into(),
            euid: owner,
            program: "fleet-mcp".into(),
            flags: Flags { config: Some(config), values },
        };
        let settings = load(&sources).unwrap().settings;
        let now = jiff::Timestamp::UNIX_EPOCH;
        let subject = Subject { sources, owner, listeners: None, enforced: None, now };
        let all = programs(&subject, &settings)
            .into_iter()
            .chain(projects(&subject, &settings))
            .chain(super::slots(&settings));
        all.map(|finding| (finding.check, finding.severity)).collect()
    }

    #[test]
    fn what_is_closed_to_agents_users_is_found_where_they_have_some() {
        let both = [("agent_programs", Severity::Error), ("projects", Severity::Error)];

        assert_eq!(found(0o700, true), both);
        assert_eq!(found(0o711, true), []);
        assert_eq!(found(0o700, false), []);
    }
}
