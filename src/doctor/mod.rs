//! Looks whether this machine is as the daemon needs it. Changes nothing.
//!
//! The daemon does it when it is asked, because it sees what it can use; `fleetctl` does it while no
//! daemon runs, and says what it can't see as another user.

mod agents;
mod exposure;
mod files;
mod machine;

use std::net::SocketAddr;

use jiff::Timestamp;
use nix::unistd::geteuid;

use crate::{
    app::{
        doctor::{Finding, Report},
        settings::Settings,
    },
    config::{self, Sources},
    stores,
};

/// Whose machine it is.
#[derive(Debug, Clone)]
pub struct Subject {
    /// What the daemon's settings are read from.
    pub sources: Sources,
    /// The user that the daemon runs as.
    pub owner: u32,
    /// Where it listens; `None` while it does not.
    pub listeners: Option<Vec<SocketAddr>>,
    /// Whether requests without a token are refused; `None` while there are none.
    pub enforced: Option<bool>,
    /// What time it is.
    pub now: Timestamp,
}

/// Checks everything that needs no daemon. Blocks on the disk.
pub fn examine(subject: &Subject) -> Report {
    let mut report = Report::default();
    let loaded = match config::load(&subject.sources) {
        Ok(loaded) => loaded,
        Err(errors) => {
            report.add(errors.problems.iter().map(|problem| wrong_setting(&problem.to_string())));
            report.add([Finding::skipped(
                "settings",
                "files, agents and limits were not checked",
                "without settings nobody knows where they are",
            )]);
            return report;
        }
    };
    report.add(loaded.warnings.iter().map(|warning| {
        let why = "it is passed over, or will fail later";
        Finding::warning("settings", warning, why, "fleet-mcp check-config")
    }));
    let settings = &loaded.settings;
    report.add(exposure::listening(subject, settings));
    report.add(exposure::proxies(settings));
    report.add(files::configuration(&loaded));
    report.add(files::state_dir(subject, settings));
    report.add(files::token_file(subject, settings));
    report.add(files::named_tokens(subject, settings));
    report.add(database(subject, settings));
    report.add(files::of_roles(subject, settings));
    report.add(agents::programs(subject, settings));
    report.add(agents::projects(subject, settings));
    report.add(agents::git(subject, settings));
    report.add(agents::confinement());
    report.add(agents::slots(settings));
    report.add(machine::space(settings));
    report.add(machine::persistence(settings));
    report.add(machine::year(subject.now));
    report.add(machine::descriptors(settings));
    report
}

impl Subject {
    /// Whether we are the daemon's user, so that what we can do it can do.
    fn is_us(&self) -> bool {
        geteuid().as_raw() == self.owner
    }

    /// The directories that programs are looked for in.
    fn search_path(&self) -> String {
        let path = self.sources.environment.iter().rfind(|(name, _)| name == "PATH");
        path.map(|(_, value)| value.to_string_lossy().into_owned()).unwrap_or_default()
    }
}

fn wrong_setting(problem: &str) -> Finding {
    let why = "the next start or reload stops at it";
    let fix = "mend it, and look again with `fleet-mcp check-config`";
    Finding::error("settings", problem, why, fix)
}

fn database(subject: &Subject, settings: &Settings) -> Option<Finding> {
    const CHECK: &str = "database";
    if !subject.is_us() {
        let what = "fleet.db was not checked";
        return Some(Finding::skipped(CHECK, what, "only the daemon's own user may open it"));
    }
    match stores::examine_fleet_db(&settings.state_dir, subject.listeners.is_some()) {
        Ok(stores::Examined::Sound | stores::Examined::Missing) => None,
        Ok(stores::Examined::NotLooked(why)) => {
            Some(Finding::skipped(CHECK, "fleet.db was not checked", why))
        }
        Err(error) => {
            let why = "agents, tasks and events are in it";
            Some(Finding::error(CHECK, error.to_string(), why, error.help))
        }
    }
}
