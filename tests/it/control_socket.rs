//! The control socket: for root and the daemon's own user, from its first moment to its last.

mod clients;
mod fleetctl;

use std::{
    fs,
    os::unix::{
        fs::{FileTypeExt as _, PermissionsExt as _},
        net::UnixListener,
        process::CommandExt as _,
    },
    path::Path,
    process::{Command, Output, Stdio},
    time::Instant,
};

use crate::support::{
    Builder, Control, NOBODY, PATIENCE, Running, TestDaemon, left_out_without_root, sh, stderr,
    stdout, unprivileged,
};

const FLEETCTL: &str = env!("CARGO_BIN_EXE_fleetctl");
/// A user who is neither root nor nobody.
const STRANGER: u32 = 54321;

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().permissions().mode() & 0o7777
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

fn as_user(uid: u32, builder: &Builder, arguments: &[&str]) -> Output {
    let mut command = builder.command(FLEETCTL);
    command.uid(uid).gid(uid).arg("--socket").arg(builder.control_socket());
    command.args(arguments).output().unwrap()
}

#[test]
fn modes_are_right_from_birth_whatever_the_umask() {
    for umask in ["000", "022"] {
        let builder = unprivileged().umask(umask);
        let (socket, state) = (builder.control_socket(), builder.state_dir());
        let mut command = builder.command(env!("CARGO_BIN_EXE_fleet-mcp"));
        let _daemon = Running::start(command.stdout(Stdio::null()).stderr(Stdio::null()));

        // No pause: the first sight of it counts.
        let start = Instant::now();
        let first = loop {
            let dirs = [&state, &state.join("run")].map(|dir| dir.exists().then(|| mode(dir)));
            assert!(dirs.iter().flatten().all(|&mode| mode == 0o700), "umask {umask}: {dirs:?}");
            if let Ok(found) = fs::symlink_metadata(&socket) {
                break found;
            }
            assert!(start.elapsed() < PATIENCE, "no control socket");
        };

        assert!(first.file_type().is_socket());
        assert_eq!(first.permissions().mode() & 0o7777, 0o600, "umask {umask}");
    }
}

#[test]
fn stranger_is_refused_by_the_modes() {
    if left_out_without_root("another user at the control socket") {
        return;
    }
    let daemon = unprivileged().start();
    set_mode(&daemon.state_dir(), 0o755);

    for open in [0o700, 0o755] {
        // First the directory keeps strangers out, then the socket's own mode.
        set_mode(&daemon.state_dir().join("run"), open);
        let output = as_user(STRANGER, daemon.how(), &["rotate"]);

        assert_eq!((output.status.code(), stdout(&output)), (Some(77), ""));
        let socket = daemon.control_socket();
        assert_eq!(
            stderr(&output),
            format!(
                "error: could not reach the daemon at {}\n\
                 cause: Permission denied (os error 13)\n\
                 help:  the socket is mode 0600; run fleetctl as the daemon's user, or with sudo\n",
                socket.display()
            )
        );
    }
}

#[test]
fn stranger_is_refused_by_uid_even_if_the_modes_were_opened() {
    if left_out_without_root("another user at the control socket") {
        return;
    }
    let daemon = unprivileged().start();
    let token = daemon.token();
    for path in [daemon.state_dir(), daemon.state_dir().join("run"), daemon.control_socket()] {
        set_mode(&path, 0o777);
    }

    for verb in [&["rotate"][..], &["token", "show"], &["status"], &["reload"]] {
        let output = as_user(STRANGER, daemon.how(), verb);

        assert_eq!((output.status.code(), stdout(&output)), (Some(77), ""), "{verb:?}");
        let words = "error: only root and the daemon's own user may use the control socket\n";
        assert_eq!(stderr(&output), words);
    }
    let entry = daemon.log_line("control socket refused uid 54321");
    assert!(entry.contains("WARNING") && entry.contains("event=control_denied"), "{entry}");
    assert_eq!(daemon.token(), token);
    // Root and the daemon's own user are let in.
    for uid in [0, NOBODY] {
        let output = as_user(uid, daemon.how(), &["status"]);
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    }
}

#[test]
fn requests_of_web_pages_are_refused() {
    let daemon = TestDaemon::start();
    let token = daemon.token();
    let control = Control::at(&daemon.control_socket());

    for header in [
        "Origin: http://evil.example",
        "Origin: null",
        "Origin: http://localhost",
        "Sec-Fetch-Site: same-origin",
        "Host: evil.example",
    ] {
        let headers = format!("{header}\r\nContent-Length: 0\r\n");
        let answer = control.ask("POST", "/v1/tokens/default/rotate", &headers).unwrap();

        assert_eq!(answer.status, 403, "{header}");
        assert_eq!(answer.json()["error"]["code"], "PERMISSION_DENIED");
    }
    assert_eq!(daemon.token(), token);
    daemon.log_line("event=control_denied reason=\"requests of browsers are refused\"");
    daemon.log_line("event=control_denied reason=\"the Host must be `fleet-mcp` or `localhost`\"");
}

#[test]
fn unknown_requests_are_answered_as_json() {
    let daemon = TestDaemon::start();
    let control = Control::at(&daemon.control_socket());

    for path in ["/", "/v1/", "/v2/status", "/v1/tokens/other/secret"] {
        let answer = control.ask("GET", path, "").unwrap();

        assert_eq!(answer.status, 404, "{path}");
        assert_eq!(answer.json()["error"]["code"], "NOT_FOUND", "{path}");
        assert_eq!(answer.header("cache-control"), Some("no-store"));
    }
}

#[test]
fn curl_can_ask_the_control_socket() {
    let daemon = TestDaemon::start();
    let curl =
        format!("curl -sf --unix-socket {} http://localhost", daemon.control_socket().display());

    let status = sh(&format!("{curl}/v1/status | jq -r .state"));
    let rotated = sh(&format!("{curl}/v1/tokens/default/rotate -X POST | jq -r .secret"));

    assert_eq!(stdout(&status), "ready\n");
    assert_eq!(stdout(&rotated).trim_end(), daemon.token());
}

#[test]
fn secrets_are_not_to_be_stored_by_anything_in_between() {
    let daemon = TestDaemon::start();
    daemon.token();

    let answer = Control::at(&daemon.control_socket());
    let answer = answer.ask("GET", "/v1/tokens/default/secret", "").unwrap();

    assert_eq!(answer.header("cache-control"), Some("no-store"));
}

#[test]
fn stale_socket_is_replaced_and_a_proper_end_leaves_none() {
    let mut daemon = TestDaemon::start();
    daemon.kill();
    assert!(daemon.control_socket().exists(), "nothing stale to replace");

    let mut daemon = daemon.restart();

    assert_eq!(daemon.status()["state"], "ready");
    daemon.signal(nix::sys::signal::Signal::SIGTERM);
    daemon.wait();
    assert!(!daemon.control_socket().exists());
}

#[test]
fn live_socket_of_another_daemon_is_left_alone() {
    let first = TestDaemon::start();
    let second = first.how().clone().env("FLEET_MCP_STATE_DIR", first.home().join("other"));
    let second = second.env("FLEET_MCP_CONTROL_SOCKET", first.control_socket());

    let failed = second.fails();

    assert_eq!(failed.code, Some(69), "{}", failed.stderr);
    let words = format!("another daemon already listens on `{}`", first.control_socket().display());
    assert!(failed.stderr.contains(&words), "{}", failed.stderr);
    assert_eq!(first.status()["pid"], first.pid());
}

#[test]
fn what_is_no_socket_is_left_alone() {
    let builder = TestDaemon::builder();
    let path = builder.home().join("mine/notes");
    fs::create_dir(builder.home().join("mine")).unwrap();
    fs::write(&path, "precious").unwrap();
    fs::write(path.with_file_name("note~"), "precious").unwrap();

    // Its own name, and the one that it has until its mode is right.
    for socket in ["notes", "notez"] {
        let builder = builder.clone().env("FLEET_MCP_CONTROL_SOCKET", path.with_file_name(socket));
        let failed = builder.fails();

        assert_eq!(failed.code, Some(78), "{socket}: {}", failed.stderr);
        assert!(failed.stderr.contains("is there and is no socket"), "{}", failed.stderr);
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 2);
        assert_eq!(fs::read(&path).unwrap(), b"precious");
    }
}

#[test]
fn directory_that_others_can_change_is_refused_and_left_as_it_is() {
    if left_out_without_root("a directory of another owner") {
        return;
    }
    let chmod = "help: `chmod go-w ";
    for (owner, mode_before, why, help) in [
        (STRANGER, 0o755, "belongs to `54321`, and fleet-mcp runs as", "help: `chown "),
        (NOBODY, 0o777, "others can write in the directory", chmod),
        (NOBODY, 0o770, "others can write in the directory", chmod),
        (NOBODY, 0o1777, "others can write in the directory", "help: choose another directory"),
    ] {
        let builder = unprivileged();
        let dir = builder.home().join("dir");
        fs::create_dir(&dir).unwrap();
        nix::unistd::chown(&dir, Some(owner.into()), None).unwrap();
        set_mode(&dir, mode_before);

        let failed = builder.clone().env("FLEET_MCP_CONTROL_SOCKET", dir.join("s")).fails();

        assert_eq!(failed.code, Some(78), "{}", failed.stderr);
        assert!(failed.stderr.contains(why), "{}", failed.stderr);
        assert!(failed.stderr.contains(help), "{}", failed.stderr);
        assert_eq!((mode(&dir), fs::read_dir(&dir).unwrap().count()), (mode_before, 0));
    }
}

#[test]
fn directory_below_one_that_others_can_change_is_refused() {
    let builder = TestDaemon::builder();
    let public = builder.home().join("public");
    fs::create_dir_all(public.join("mine")).unwrap();
    set_mode(&public, 0o777);

    let failed = builder.clone().env("FLEET_MCP_CONTROL_SOCKET", public.join("mine/s")).fails();

    assert_eq!(failed.code, Some(78), "{}", failed.stderr);
    assert!(failed.stderr.contains("anyone can replace"), "{}", failed.stderr);
    set_mode(&public, 0o1777);
    assert_eq!(
        builder.env("FLEET_MCP_CONTROL_SOCKET", public.join("mine/s")).start().status()["state"],
        "ready"
    );
}

#[test]
fn only_directories_of_its_own_are_tightened() {
    let builder = TestDaemon::builder();
    let (own, shared) = (builder.state_dir().join("run"), builder.home().join("shared"));
    for dir in [&own, &shared] {
        fs::create_dir_all(dir).unwrap();
        set_mode(dir, 0o755);
    }
    let link = builder.home().join("link");
    std::os::unix::fs::symlink(&shared, &link).unwrap();

    let daemon = builder.start();
    assert_eq!(mode(&own), 0o700);
    for dir in [&shared, &link] {
        let elsewhere = daemon.how().clone().env("FLEET_MCP_CONTROL_SOCKET", dir.join("s"));
        let state = daemon.home().join("other");
        drop(elsewhere.env("FLEET_MCP_STATE_DIR", &state).start());
        assert_eq!(mode(&shared), 0o755);
    }
}

#[test]
fn path_of_107_bytes_works_and_a_longer_one_is_refused_with_words() {
    let path_of = |builder: &Builder, length: usize| {
        let dir = builder.home().join("run").into_os_string().into_string().unwrap();
        format!("{dir}/{}", "s".repeat(length - dir.len() - 1))
    };
    let builder = TestDaemon::builder();
    let longest = path_of(&builder, 107);
    let too_long = path_of(&builder, 108);

    let failed = builder.clone().env("FLEET_MCP_CONTROL_SOCKET", &too_long).fails();
    let daemon = builder.env("FLEET_MCP_CONTROL_SOCKET", &longest).start();

    assert_eq!(failed.code, Some(78), "{}", failed.stderr);
    assert!(failed.stderr.starts_with("error: FLEET_MCP_CONTROL_SOCKET: "), "{}", failed.stderr);
    assert!(failed.stderr.contains("has 108 bytes, and a Unix socket's path at most 107"));
    assert_eq!(daemon.status()["state"], "ready");
}

#[test]
fn nobody_listening_is_exit_69_with_the_way_to_start_one() {
    let builder = TestDaemon::builder();
    let nowhere = builder.command(FLEETCTL).arg("status").output().unwrap();
    fs::create_dir_all(builder.state_dir().join("run")).unwrap();
    let listener = UnixListener::bind(builder.control_socket()).unwrap();
    drop(listener);
    let stale = builder.command(FLEETCTL).arg("status").output().unwrap();

    for output in [nowhere, stale] {
        assert_eq!((output.status.code(), stdout(&output)), (Some(69), ""));
        let words = stderr(&output);
        assert!(words.starts_with("error: could not reach the daemon at "), "{words}");
        assert!(
            words.contains("\nhelp:  start the daemon (`systemctl start fleet-mcp`"),
            "{words}"
        );
    }
}

#[test]
fn socket_is_found_where_the_users_own_daemon_has_it() {
    let builder = TestDaemon::builder();
    let runtime = builder.home().join("runtime");
    fs::create_dir(&runtime).unwrap();
    let daemon = builder.env("XDG_RUNTIME_DIR", &runtime).start();

    let found = daemon.fleetctl(&["status"]);

    assert!(found.status.success());
    assert!(runtime.join("fleet-mcp/control.sock").exists());
    let elsewhere = Command::new(FLEETCTL)
        .env_clear()
        .args(["status", "--socket", runtime.join("fleet-mcp/control.sock").to_str().unwrap()])
        .output()
        .unwrap();
    assert_eq!(elsewhere.status.code(), Some(0), "{}", stderr(&elsewhere));
}
