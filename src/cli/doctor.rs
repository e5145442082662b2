//! `fleetctl doctor`: whether everything is as it should be, and what mends what is not.
//!
//! A running daemon looks itself; the way to it, and what clients get from it, is looked at from
//! here. While none runs, everything that can be is looked at from here.

mod history;
mod probe;
mod reach;
mod service;
mod tokens;

use std::{io::ErrorKind, path::Path};

use nix::unistd::User;

use super::{
    failure::Failure,
    output::{Output, safe},
};
use crate::{
    app::{
        clock::{Clock as _, SystemClock},
        doctor::{Finding, Severity},
    },
    config::{Flags, Sources},
    control::{
        api::{self, Examination, Status},
        client::{Client, ClientError},
    },
    doctor::{self, Subject},
    exit::Exit,
};

/// The system service's user.
const SERVICE_USER: &str = "fleet-mcp";

/// What was found so far.
type Findings = Examination;

impl Findings {
    fn add(&mut self, found: impl IntoIterator<Item = Finding>) {
        self.merge(found.into_iter().map(api::Finding::from).collect());
    }

    fn merge(&mut self, found: Vec<api::Finding>) {
        self.good += u64::from(found.is_empty());
        self.findings.extend(found);
    }

    fn count(&self, severity: Severity) -> usize {
        self.of(severity).count()
    }

    fn of(&self, severity: Severity) -> impl Iterator<Item = &api::Finding> {
        self.findings.iter().filter(move |finding| finding.severity == severity.as_str())
    }
}

/// Fails without a further word if an error was found.
pub(super) async fn run(client: &Client, socket: &Path, output: &Output) -> Result<Exit, Failure> {
    let mut findings = Findings { good: 0, findings: Vec::new() };
    let is_service = service::is_meant_by(socket);
    match client.get::<Status>(api::STATUS).await {
        Ok(status) => running(client, &status, &mut findings).await,
        Err(error) => {
            findings.add([service::unreachable(socket, is_service, &error)]);
            alone(socket, is_service, &error, &mut findings);
        }
    }
    findings.add(service::socket_modes(socket));
    if is_service {
        findings.add(service::unit());
    }
    if output.is_json() {
        findings.findings.sort_by_key(|finding| rank(&finding.severity));
        output.json(&findings)?;
    } else {
        output.line(&render(&findings))?;
    }
    let failed = findings.count(Severity::Error) > 0;
    Ok(if failed { Exit::Failed } else { Exit::Ok })
}

async fn running(client: &Client, status: &Status, findings: &mut Findings) {
    match client.get::<Examination>(api::DOCTOR).await {
        Ok(examination) => {
            findings.good += examination.good;
            findings.findings.extend(examination.findings);
        }
        Err(error) => findings.add([not_told("settings and files", &error)]),
    }
    reach::listeners(status, findings).await;
    reach::round_trip(client, status, findings).await;
    if let Err(error) = history::refusals(client, status, findings).await {
        findings.add([not_told("refused requests", &error)]);
    }
    if let Err(error) = history::made_anew(client, findings).await {
        findings.add([not_told("events about the primary token", &error)]);
    }
    findings.add(tokens::look(&status.tokens, SystemClock.now()));
}

/// A daemon of another version knows other requests.
fn not_told(what: &str, error: &ClientError) -> Finding {
    let why = format!("the daemon does not tell: {error}; is fleetctl of another version?");
    Finding::skipped("daemon", format!("{what} were not checked"), why)
}

/// What can be seen without a daemon.
fn alone(socket: &Path, is_service: bool, error: &ClientError, findings: &mut Findings) {
    let denied = matches!(error, ClientError::Unreachable { source, .. }
        if source.kind() == ErrorKind::PermissionDenied);
    let why = if denied {
        "this user may not use the control socket"
    } else {
        "the daemon does not answer"
    };
    let what = "listeners, tokens and refused requests were not checked";
    findings.add([Finding::skipped("daemon", what, why)]);
    match subject(is_service) {
        Ok(mut subject) => {
            if denied && let Some(owner) = service::owner(socket) {
                subject.owner = owner;
            }
            let report = doctor::examine(&subject);
            findings.good += report.good;
            findings.findings.extend(report.findings.into_iter().map(Into::into));
        }
        Err(why) => {
            let what = "settings and files were not checked";
            findings.add([Finding::skipped("settings", what, why)]);
        }
    }
}

/// The daemon that is not running: the system's, or the one that this user would start.
fn subject(is_service: bool) -> Result<Subject, String> {
    let mut sources = Sources::of_process(Flags::default())
        .map_err(|error| format!("the working directory can't be used: {error}"))?;
    if is_service {
        let user = User::from_name(SERVICE_USER).ok().flatten();
        let user = user.ok_or("there is no user `fleet-mcp`; is the package installed?")?;
        sources.euid = user.uid.as_raw();
        sources.environment = service::environment();
    }
    let owner = sources.euid;
    let now = SystemClock.now();
    Ok(Subject { sources, owner, listeners: None, enforced: None, now })
}

fn rank(severity: &str) -> usize {
    Severity::ALL.iter().position(|known| known.as_str() == severity).unwrap_or(usize::MAX)
}

fn render(findings: &Findings) -> String {
    let mut lines = Vec::new();
    for severity in Severity::ALL {
        for finding in findings.of(severity) {
            let word = severity.as_str().to_uppercase();
            lines.push(format!("{word:<9}{}", safe(&finding.what)));
            lines.push(format!("  why:   {}", safe(&finding.why)));
            lines.extend(finding.fix.as_ref().map(|fix| format!("  fix:   {}", safe(fix))));
        }
    }
    let count = |severity, word: &str| match findings.count(severity) {
        1 => format!("1 {word}"),
        count => format!("{count} {word}s"),
    };
    let skipped = match findings.count(Severity::Skipped) {
        0 => String::new(),
        count => format!(", {count} not checked"),
    };
    let (errors, warnings) = (count(Severity::Error, "error"), count(Severity::Warning, "warning"));
    let notes = count(Severity::Note, "note");
    lines.push(format!(
        "{errors}, {warnings}, {notes}{skipped}; {} checks were good",
        findings.good
    ));
    lines.join("\n")
}
