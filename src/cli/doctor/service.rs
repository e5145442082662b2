//! The daemon as a process and a unit, and the way to it.

use std::{
    ffi::OsString,
    fs,
    io::ErrorKind,
    os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    process::Command,
};

use crate::{
    app::doctor::Finding,
    cli::socket,
    control::{client::ClientError, socket::private_name},
};

const UNIT: &str = "fleet-mcp.service";

/// Whether this socket is the system service's, and this machine has that.
pub(super) fn is_meant_by(socket: &Path) -> bool {
    let traces = ["/run/fleet-mcp", "/var/lib/fleet-mcp", "/etc/fleet-mcp"];
    socket == Path::new(socket::SYSTEM) && traces.iter().any(|path| Path::new(path).exists())
}

/// What systemd gives the service, as far as its settings go.
pub(super) fn environment() -> Vec<(OsString, OsString)> {
    let fixed = [
        ("STATE_DIRECTORY", "/var/lib/fleet-mcp"),
        ("RUNTIME_DIRECTORY", "/run/fleet-mcp"),
        ("CONFIGURATION_DIRECTORY", "/etc/fleet-mcp"),
        ("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin"),
    ];
    let own = systemctl(&["show", UNIT, "--property=Environment", "--value"]).unwrap_or_default();
    let ours = own.split_whitespace().filter(|pair| pair.starts_with("FLEET_MCP_"));
    let pairs = fixed.into_iter().chain(ours.filter_map(|pair| pair.split_once('=')));
    pairs.map(|(name, value)| (name.into(), value.into())).collect()
}

/// Why the daemon was not reached.
pub(super) fn unreachable(socket: &Path, is_service: bool, error: &ClientError) -> Finding {
    const CHECK: &str = "daemon";
    let start = if is_service { "systemctl start fleet-mcp" } else { "fleet-mcp" };
    let shown = socket.display();
    let ClientError::Unreachable { source, .. } = error else {
        return Finding::error(
            CHECK,
            format!("the daemon at {shown} gives no proper answer: {error}"),
            "it may hang, or be of another version than this fleetctl",
            "journalctl -u fleet-mcp -e, or its standard error; then restart it",
        );
    };
    let why = "clients get no connection, and agents do not work";
    match source.kind() {
        ErrorKind::PermissionDenied => Finding::skipped(
            CHECK,
            format!("the daemon at {shown} was not asked"),
            "the socket is for root and the daemon's own user; run `sudo fleetctl doctor`",
        ),
        ErrorKind::ConnectionRefused if !is_socket(socket) => Finding::error(
            CHECK,
            format!("{shown} is no socket"),
            why,
            "name the control socket with --socket, or in FLEET_MCP_CONTROL_SOCKET",
        ),
        ErrorKind::ConnectionRefused => Finding::error(
            CHECK,
            format!("nobody listens at {shown}: a daemon that was killed has left it"),
            why,
            format!("{start} (it replaces the socket)"),
        ),
        _ => match other_sockets(socket).first() {
            Some(other) => Finding::error(
                CHECK,
                format!("there is no daemon at {shown}, but one at {}", other.display()),
                "fleetctl looks elsewhere than the daemon listens",
                format!("fleetctl --socket {} doctor", other.display()),
            ),
            None => no_daemon(socket, why, start),
        },
    }
}

fn no_daemon(socket: &Path, why: &str, start: &str) -> Finding {
    const CHECK: &str = "daemon";
    let shown = socket.display();
    let running: Vec<_> = daemons().iter().map(ToString::to_string).collect();
    if running.is_empty() {
        let what = format!("the daemon does not run: there is no socket {shown}");
        return Finding::error(CHECK, what, why, start);
    }
    let running = running.join(", ");
    Finding::error(
        CHECK,
        format!("there is no socket {shown}, though fleet-mcp runs (process {running})"),
        "it has another socket, or is not for us",
        format!("name its socket with --socket, or start another daemon: {start}"),
    )
}

/// Who owns what can be seen of the way to a socket: the daemon's user.
pub(super) fn owner(socket: &Path) -> Option<u32> {
    let mut seen = socket.ancestors().filter_map(|path| fs::symlink_metadata(path).ok());
    seen.next().map(|meta| meta.uid())
}

/// Control sockets that somebody listens on. The kernel's list has them all, under the name that
/// they were bound to.
fn other_sockets(ours: &Path) -> Vec<PathBuf> {
    const LISTENING: &str = "00010000";
    const NAME: &str = "control.sock";
    let bound_to = private_name(Path::new(NAME));
    let list = fs::read_to_string("/proc/net/unix").unwrap_or_default();
    let path = |line: &str| {
        let mut words = line.split_whitespace();
        let listens = words.nth(3)? == LISTENING;
        let bound = Path::new(words.nth(3)?);
        let path = bound.with_file_name(NAME);
        let is_one = listens && bound.ends_with(&bound_to) && path != ours;
        (is_one && is_socket(&path)).then_some(path)
    };
    list.lines().filter_map(path).collect()
}

fn is_socket(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|meta| meta.file_type().is_socket())
}

/// The processes that are daemons, and not agents' hosts.
fn daemons() -> Vec<u32> {
    let pids = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = pids.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let is_daemon = |pid: &u32| {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let mut arguments = line.split(|byte| *byte == 0).map(String::from_utf8_lossy);
        let program = arguments.next().unwrap_or_default().into_owned();
        let verb = arguments.next().unwrap_or_default();
        Path::new(&program).file_name().is_some_and(|name| name == "fleet-mcp")
            && (verb.is_empty() || verb.starts_with('-'))
    };
    pids.filter(is_daemon).collect()
}

pub(super) fn socket_modes(socket: &Path) -> Vec<Finding> {
    const CHECK: &str = "control_socket";
    let Some(meta) = fs::symlink_metadata(socket).ok().filter(|_| is_socket(socket)) else {
        return Vec::new();
    };
    let mut findings = Vec::new();
    let mode = meta.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        findings.push(Finding::error(
            CHECK,
            format!("others may connect to {} (mode {mode:04o})", socket.display()),
            "they are refused by their uid, but the mode should not rely on it",
            format!("chmod 600 {}", socket.display()),
        ));
    }
    let directory = socket.parent().unwrap_or(socket);
    if fs::metadata(directory).is_ok_and(|meta| meta.mode() & 0o022 != 0) {
        let shown = directory.display();
        findings.push(Finding::error(
            CHECK,
            format!("others can write in {shown}, where the control socket is"),
            "they can put a socket of their own in its place",
            format!("chmod go-w {shown}"),
        ));
    }
    findings
}

/// How systemd sees the service.
pub(super) fn unit() -> Vec<Finding> {
    const CHECK: &str = "unit";
    if !Path::new("/run/systemd/system").exists() {
        let what = "the unit was not checked";
        return vec![Finding::skipped(CHECK, what, "this machine was not started by systemd")];
    }
    const PROPERTIES: &str = "--property=LoadState,ActiveState,SubState,Result,UnitFileState";
    let Some(shown) = systemctl(&["show", UNIT, PROPERTIES]) else {
        return vec![Finding::skipped(CHECK, "the unit was not checked", "systemctl failed")];
    };
    let value = |name: &str| {
        let found = shown.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
        found.unwrap_or_default()
    };
    if value("LoadState") != "loaded" {
        let what = format!("systemd has no {UNIT} ({})", value("LoadState"));
        let why = "it can neither start nor restart it";
        return vec![Finding::warning(CHECK, what, why, "install the package, or the unit")];
    }
    let mut findings = Vec::new();
    let (active, result) = (value("ActiveState"), value("Result"));
    if active == "failed" {
        findings.push(Finding::error(
            CHECK,
            format!("{UNIT} has failed ({result})"),
            "its last words are in the journal: what, why, and what to do",
            "journalctl -u fleet-mcp -e; then systemctl restart fleet-mcp",
        ));
    } else if active != "active" {
        let what = format!("{UNIT} is {active} ({})", value("SubState"));
        let why = "the daemon is not running";
        findings.push(Finding::error(CHECK, what, why, "systemctl start fleet-mcp"));
    }
    if value("UnitFileState") == "disabled" {
        findings.push(Finding::note(
            CHECK,
            format!("{UNIT} is disabled"),
            "it does not start with the machine",
            "systemctl enable fleet-mcp",
        ));
    }
    findings
}

fn systemctl(arguments: &[&str]) -> Option<String> {
    let output = Command::new("systemctl").args(arguments).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}
