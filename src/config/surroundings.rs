//! What the process was started with besides settings: its directories from systemd and XDG, its
//! home, and PATH. They decide where files are looked for, what the defaults of paths are, and which
//! agent programs there are.

use std::{
    ffi::{OsStr, OsString},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use nix::unistd::{Uid, User};

use super::{Problem, Sources};

/// Where the packaged service has its configuration.
const SYSTEM_CONFIG_DIR: &str = "/etc/fleet-mcp";

pub(super) struct Surroundings {
    pub(super) working_dir: PathBuf,
    pub(super) home: Option<PathBuf>,
    /// The program that is running.
    pub(super) program: PathBuf,
    /// The directories of PATH.
    path: Vec<PathBuf>,
    configuration: Option<PathBuf>,
    state: Option<PathBuf>,
    runtime: Option<PathBuf>,
    /// Where systemd puts credentials.
    pub(super) credentials: Option<PathBuf>,
}

impl Surroundings {
    pub(super) fn of(sources: &Sources, problems: &mut Vec<Problem>) -> Self {
        let mut systemd = |name: &str| match first(variable(sources, name)?) {
            Some(path) if path.is_absolute() => Some(path),
            _ => {
                problems.push(Problem::new(name, "the value is not an absolute path"));
                None
            }
        };
        let state = systemd("STATE_DIRECTORY");
        let configuration = systemd("CONFIGURATION_DIRECTORY");
        let runtime = systemd("RUNTIME_DIRECTORY");
        let credentials = systemd("CREDENTIALS_DIRECTORY");
        // The XDG specification has relative paths ignored.
        let absolute =
            |name| variable(sources, name).map(PathBuf::from).filter(|path| path.is_absolute());
        let home = absolute("HOME").or_else(|| {
            User::from_uid(Uid::from_raw(sources.euid)).ok().flatten().map(|user| user.dir)
        });
        let configuration = match (configuration, &state) {
            (Some(given), _) => Some(given),
            (None, Some(_)) => Some(SYSTEM_CONFIG_DIR.into()),
            (None, None) => absolute("XDG_CONFIG_HOME")
                .or_else(|| Some(home.as_ref()?.join(".config")))
                .map(|path| path.join("fleet-mcp")),
        };
        let runtime =
            runtime.or_else(|| absolute("XDG_RUNTIME_DIR").map(|path| path.join("fleet-mcp")));
        // A relative one would be another directory for each agent.
        let path = std::env::split_paths(variable(sources, "PATH").unwrap_or_default())
            .filter(|directory| directory.is_absolute())
            .collect();
        let (working_dir, program) = (sources.working_dir.clone(), sources.program.clone());
        Self { working_dir, home, program, path, configuration, state, runtime, credentials }
    }

    /// The program that PATH has for a name.
    pub(super) fn find(&self, command: &Path) -> Option<PathBuf> {
        let runs = |path: &PathBuf| {
            path.metadata().is_ok_and(|meta| meta.is_file() && meta.mode() & 0o111 != 0)
        };
        self.path.iter().map(|directory| directory.join(command)).find(runs)
    }

    /// Where `config.toml` and `conf.d` are; `None` without a home directory.
    pub(super) fn configuration_dir(&self) -> Option<&Path> {
        self.configuration.as_deref()
    }

    pub(super) fn state_dir(&self) -> Result<PathBuf, String> {
        let home = || self.home.as_ref().map(|home| home.join(".fleet-mcp"));
        self.state
            .clone()
            .or_else(home)
            .ok_or_else(|| "there is no home directory to put it in; set it, or HOME".to_owned())
    }

    pub(super) fn runtime_dir(&self) -> Option<&Path> {
        self.runtime.as_deref()
    }
}

impl Sources {
    /// The directory that systemd has made for the control socket, if it has.
    pub fn runtime_directory(&self) -> Option<PathBuf> {
        first(variable(self, "RUNTIME_DIRECTORY")?)
    }
}

/// Whether systemd started us, going by the directories that our unit asks for.
pub(super) fn is_service(sources: &Sources) -> bool {
    ["STATE_DIRECTORY", "CONFIGURATION_DIRECTORY"]
        .iter()
        .any(|name| variable(sources, name).is_some())
}

/// A variable that has a value; an empty one counts as unset, as XDG and systemd have it.
fn variable<'a>(sources: &'a Sources, name: &str) -> Option<&'a OsStr> {
    let found = sources.environment.iter().rfind(|(known, _)| known == name);
    found
        .map(|(_, value): &(OsString, OsString)| value.as_os_str())
        .filter(|value| !value.is_empty())
}

/// systemd separates several directories with colons; the first is the main one.
fn first(value: &OsStr) -> Option<PathBuf> {
    std::env::split_paths(value).next()
}
