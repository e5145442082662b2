//! How many files and connections this process may have open at once.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::config::Loaded;

/// Descriptors for everything but connections and agents: listeners, logs, the database, requests
/// to the control socket.
const RESERVE: usize = 64;
/// The limit that programs expect: those that use `select` can't have descriptors beyond.
const USUAL: u64 = 1024;

/// Raises our limit as far as the system allows. How much that is, [`fit`] looks at.
pub(super) fn raise() {
    if let Ok((_, hard)) = getrlimit(Resource::RLIMIT_NOFILE) {
        let _ = setrlimit(Resource::RLIMIT_NOFILE, hard, hard);
    }
}

/// Gives a program that we become the usual limit, in place of ours.
pub(super) fn lower() {
    if let Ok((_, hard)) = getrlimit(Resource::RLIMIT_NOFILE) {
        let _ = setrlimit(Resource::RLIMIT_NOFILE, hard.min(USUAL), hard);
    }
}

/// Caps the number of connections at what the limit allows, with a warning.
pub(super) fn fit(loaded: &mut Loaded) {
    let Ok((limit, _)) = getrlimit(Resource::RLIMIT_NOFILE) else { return };
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let settings = &mut loaded.settings;
    let most = limit.saturating_sub(RESERVE + settings.fleet.max_agents).max(1);
    if settings.http.max_connections > most {
        loaded.warnings.push(format!(
            "http.max_connections is {}, but with a limit of {limit} open files there can be {most}; \
             raise the hard limit, under systemd with `LimitNOFILE=`",
            settings.http.max_connections
        ));
        settings.http.max_connections = most;
    }
}
