//! The variables that agent programs get: an allow-list, so that nothing of the daemon's leaks.

use std::{
    collections::BTreeMap,
    env,
    ffi::{OsStr, OsString},
    path::{Path, PathBuf},
};

use nix::unistd::access;

/// Handed on as they are. The locale's (`LC_…`) are, too.
const KEPT: [&str; 7] = ["PATH", "LANG", "TERM", "TZ", "USER", "LOGNAME", "SHELL"];
/// Where programs are looked for when nobody says.
pub(super) const DEFAULT_PATH: &str =
    "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// Marks each process of an agent, so that the next daemon finds what this one may leave.
///
/// Its value is `<hash of the state directory>:<agent>`.
pub const MARKER: &str = "FLEET_MCP_AGENT_HOST";

/// What a host inherits from the daemon: what it hands on, and the home to keep its agent out of.
pub(crate) fn inherited() -> impl Iterator<Item = (OsString, OsString)> {
    env::vars_os().filter(|(name, _)| name != MARKER && (is_kept(name) || name == "HOME"))
}

/// The variables for programs whose home is `home`, from those of this process.
pub(super) fn base(home: &Path) -> BTreeMap<OsString, OsString> {
    let mut variables: BTreeMap<_, _> = env::vars_os().filter(|(name, _)| is_kept(name)).collect();
    variables.entry("PATH".into()).or_insert_with(|| DEFAULT_PATH.into());
    variables.insert("HOME".into(), home.into());
    for (name, below) in BELOW_HOME {
        variables.insert(name.into(), home.join(below).into());
    }
    variables
}

const BELOW_HOME: [(&str, &str); 5] = [
    ("XDG_CONFIG_HOME", ".config"),
    ("XDG_CACHE_HOME", ".cache"),
    ("XDG_DATA_HOME", ".local/share"),
    ("XDG_STATE_HOME", ".local/state"),
    ("TMPDIR", ".tmp"),
];

/// The directories that the variables name, to be made.
pub(super) fn directories(home: &Path) -> impl Iterator<Item = PathBuf> {
    [".config", ".cache", ".local", ".local/share", ".local/state", ".tmp"]
        .into_iter()
        .map(|below| home.join(below))
}

fn is_kept(name: &OsStr) -> bool {
    name.to_str()
        .is_some_and(|name| KEPT.contains(&name) || name.starts_with("LC_") || name == MARKER)
}

/// Whether a role may set this variable. Those that steer our own processes may not be set.
pub(crate) fn may_set(name: &str) -> bool {
    !name.is_empty()
        && !name.contains(['=', '\0'])
        && !["FLEET_MCP_", "LISTEN_", "NOTIFY_"].iter().any(|prefix| name.starts_with(prefix))
}

/// The directories of a search path. Relative ones would be the agent's to fill.
pub(super) fn on_path(search: &str) -> impl Iterator<Item = PathBuf> {
    search.split(':').map(PathBuf::from).filter(|directory| directory.is_absolute())
}

/// Finds a program: a path as it is, a name on the search path.
pub(super) fn find(program: &Path, search: &str) -> Option<PathBuf> {
    let runs = |path: &Path| path.is_file() && access(path, nix::unistd::AccessFlags::X_OK).is_ok();
    if program.components().count() > 1 || program.is_absolute() {
        return (program.is_absolute() && runs(program)).then(|| program.to_owned());
    }
    on_path(search).map(|directory| directory.join(program)).find(|path| runs(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_list_is_handed_on() {
        for name in ["PATH", "LANG", "LC_ALL", "TZ", MARKER] {
            assert!(is_kept(name.as_ref()), "{name}");
        }
        for name in ["NOTIFY_SOCKET", "LISTEN_FDS", "FLEET_MCP_AUTH_TOKEN", "HOME", "LD_PRELOAD"] {
            assert!(!is_kept(name.as_ref()), "{name}");
        }
    }

    #[test]
    fn roles_set_what_they_like_but_not_what_steers_us() {
        assert!(may_set("ANTHROPIC_API_KEY") && may_set("PATH"));
        for name in ["", "A=B", "FLEET_MCP_AGENT_HOST", "LISTEN_FDS", "NOTIFY_SOCKET"] {
            assert!(!may_set(name), "{name}");
        }
    }

    #[test]
    fn programs_are_found_by_name_and_never_in_relative_directories() {
        assert!(find(Path::new("sh"), "nowhere:/bin").is_some());
        assert_eq!(find(Path::new("sh"), ".:bin"), None);
        assert_eq!(find(Path::new("bin/sh"), "/"), None);
        assert_eq!(find(Path::new("/etc/passwd"), "/bin"), None);
    }
}
