//! Modes and owners of what is the daemon's.

use std::{
    fs, io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use nix::unistd::{AccessFlags, access};

use super::Subject;
use crate::{
    app::{
        doctor::Finding,
        ports::{FileState, TokenStore as _},
        settings::{PrimarySource, Settings},
    },
    auth::Digest,
    config::Loaded,
    stores::TokenFile,
};

pub(super) fn configuration(loaded: &Loaded) -> Vec<Finding> {
    let settings = &loaded.settings;
    let has_variables = settings.roles.iter().any(|role| !role.environment.is_empty())
        || settings.programs.iter().any(|program| !program.environment.is_empty());
    if !has_variables {
        return Vec::new();
    }
    let readable = |path: &&PathBuf| fs::metadata(path).is_ok_and(|meta| meta.mode() & 0o004 != 0);
    let finding = |path: &PathBuf| {
        let shown = path.display();
        Finding::note(
            "configuration_files",
            format!("everybody can read `{shown}`, which has variables for agents"),
            "keys of model providers are often among those",
            format!("chmod o-r {shown}; or keep them in a file that `environment_file` names"),
        )
    };
    loaded.files.iter().filter(readable).map(finding).collect()
}

pub(super) fn state_dir(subject: &Subject, settings: &Settings) -> Vec<Finding> {
    const CHECK: &str = "state_dir";
    let path = &settings.state_dir;
    let shown = path.display();
    let meta = match fs::metadata(path) {
        Ok(meta) => meta,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return vec![Finding::note(
                CHECK,
                format!("there is no state directory `{shown}` yet"),
                "the first start makes it, and a new token in it",
                "nothing, unless the daemon has run before: then HOME or FLEET_MCP_STATE_DIR was \
                 another one",
            )];
        }
        Err(error) => return vec![out_of_sight(CHECK, path, &error)],
    };
    let mut findings = ownership(CHECK, subject, path, &meta);
    if meta.mode() & 0o077 != 0 {
        findings.push(Finding::warning(
            CHECK,
            format!("others may look into `{shown}` (mode {:04o})", meta.mode() & 0o7777),
            "tokens and conversations are in it; the next start tightens it",
            format!("chmod 700 {shown}"),
        ));
    }
    if subject.is_us() && access(path, AccessFlags::W_OK | AccessFlags::X_OK).is_err() {
        findings.push(Finding::error(
            CHECK,
            format!("the daemon can't write in `{shown}`"),
            "it keeps tokens, agents and events there, and can't start or rotate without",
            format!("chmod u+rwx {shown}; if the file system is read-only, `mount` says so"),
        ));
    }
    findings
}

/// Named tokens: digests only, and yet nobody else's to see or to change.
pub(super) fn named_tokens(subject: &Subject, settings: &Settings) -> Vec<Finding> {
    const CHECK: &str = "named_tokens";
    let path = settings.state_dir.join("tokens.json");
    let Ok(meta) = fs::symlink_metadata(&path) else { return Vec::new() };
    let mut findings = ownership(CHECK, subject, &path, &meta);
    if meta.is_file() && meta.mode() & 0o077 != 0 {
        let (shown, mode) = (path.display(), meta.mode() & 0o7777);
        findings.push(Finding::warning(
            CHECK,
            format!("others may use `{shown}` (mode {mode:04o})"),
            "it says who may do what, and whoever writes it decides that",
            format!("chmod 600 {shown}"),
        ));
    }
    findings
}

pub(super) fn token_file(subject: &Subject, settings: &Settings) -> Vec<Finding> {
    const CHECK: &str = "token_file";
    if settings.auth.primary != PrimarySource::File {
        // It is not used; what is used in its place was read with the settings.
        return Vec::new();
    }
    let path = &settings.auth.token_file;
    let shown = path.display();
    let meta = match fs::symlink_metadata(path) {
        Ok(meta) => meta,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return missing_token(subject, settings).into_iter().collect();
        }
        Err(error) => return vec![out_of_sight(CHECK, path, &error)],
    };
    let mut findings = ownership(CHECK, subject, path, &meta);
    if meta.is_file() && meta.mode() & 0o077 != 0 {
        findings.push(Finding::error(
            CHECK,
            format!("others may use the token file `{shown}` (mode {:04o})", meta.mode() & 0o7777),
            "whoever reads it can use the server",
            format!("chmod 600 {shown}; then `fleetctl rotate`, if somebody may have read it"),
        ));
    }
    if !subject.is_us() {
        let what = format!("what is in `{shown}` was not checked");
        findings.push(Finding::skipped(CHECK, what, "only the daemon's own user may use it"));
        return findings;
    }
    let file = TokenFile::new(path.clone(), &settings.state_dir);
    // Whatever token it has differs from none; only whether it can be used counts.
    if let FileState::Unusable(why) = file.state(&Digest::NONE)
        && findings.is_empty()
    {
        let (what, fix) = why.rsplit_once("; ").unwrap_or((&why, "see there"));
        findings.push(Finding::error(CHECK, what, "the next start stops at it", fix));
    }
    findings
}

fn missing_token(subject: &Subject, settings: &Settings) -> Option<Finding> {
    let shown = settings.auth.token_file.display();
    let what = format!("there is no token file `{shown}`");
    if subject.enforced == Some(true) {
        let why = "the token in memory stays valid until the restart, which makes a new one";
        return Some(Finding::warning("token_file", what, why, "fleetctl rotate"));
    }
    settings.auth.enabled.then(|| {
        let why = "the next start makes it, with a new token: no client has that yet";
        Finding::note("token_file", what, why, "start the daemon, then `fleetctl token show`")
    })
}

/// What roles have copied or read when an agent starts.
pub(super) fn of_roles(subject: &Subject, settings: &Settings) -> Vec<Finding> {
    let variables = settings.roles.iter().filter_map(|role| {
        let path = role.environment_file.as_ref()?;
        private(subject, "environment_files", path, &role.name)
    });
    let credentials = settings.roles.iter().flat_map(|role| {
        let sources = role.credentials.iter().map(|(_, source)| source);
        sources.filter_map(|path| private(subject, "credentials", path, &role.name))
    });
    variables.chain(credentials).collect()
}

/// A file with secrets: there, readable for the daemon, and for nobody else.
fn private(subject: &Subject, check: &'static str, path: &Path, role: &str) -> Option<Finding> {
    let shown = path.display();
    let why = format!("no agent of the role `{role}` can start");
    let meta = match fs::metadata(path) {
        Ok(meta) => meta,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let fix = format!("make it, or change the role `{role}`");
            return Some(Finding::error(check, format!("`{shown}` is not there"), why, fix));
        }
        Err(error) => return Some(out_of_sight(check, path, &error)),
    };
    if meta.mode() & 0o077 != 0 {
        let what = format!("others may use `{shown}` (mode {:04o})", meta.mode() & 0o7777);
        let why = "it has keys or passwords, and an agent whose variables it has does not start";
        return Some(Finding::error(check, what, why, format!("chmod 600 {shown}")));
    }
    if meta.uid() != subject.owner && meta.uid() != 0 {
        return ownership(check, subject, path, &meta).pop();
    }
    if subject.is_us() && access(path, AccessFlags::R_OK).is_err() {
        let fix = format!("chown {} {shown}", subject.owner);
        return Some(Finding::error(check, format!("the daemon can't read `{shown}`"), why, fix));
    }
    None
}

fn ownership(
    check: &'static str,
    subject: &Subject,
    path: &Path,
    meta: &fs::Metadata,
) -> Vec<Finding> {
    if meta.uid() == subject.owner {
        return Vec::new();
    }
    let shown = path.display();
    vec![Finding::error(
        check,
        format!("`{shown}` belongs to uid {}, not to the daemon's, {}", meta.uid(), subject.owner),
        "the daemon does not use what others own",
        format!("chown {} {shown}; or run the daemon as that user", subject.owner),
    )]
}

fn out_of_sight(check: &'static str, path: &Path, error: &io::Error) -> Finding {
    let what = format!("`{}` was not checked", path.display());
    match error.kind() {
        io::ErrorKind::PermissionDenied => {
            let why = "this user may not look there; run `fleetctl doctor` as root or as the \
                       daemon's user";
            Finding::skipped(check, what, why)
        }
        _ => Finding::skipped(check, what, error.to_string()),
    }
}
