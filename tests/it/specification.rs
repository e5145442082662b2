//! The Quick Start is the specification: what its commands print, and what its answers promise.

use std::{
    fs,
    io::Write as _,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::{Command, Stdio},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::support::{Builder, TestDaemon, eventually, whole_log};

/// The specification's test script, as it stands there.
const TEST_AUTH: &str = include_str!("fixtures/test_auth.sh");

/// Runs a command line as an operator would, and returns what it prints. The standard input is given.
fn shell(directory: &Path, line: &str, input: &str) -> String {
    for program in ["bash", "curl", "jq"] {
        let found = Command::new("which").arg(program).output().unwrap().status.success();
        assert!(found, "this test needs `{program}`; install it");
    }
    let mut child = Command::new("bash")
        .args(["-euo", "pipefail", "-c", line])
        .current_dir(directory)
        .env("HOME", directory)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && stderr.is_empty(), "{line}: {} {stderr}", output.status);
    String::from_utf8(output.stdout).unwrap()
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

fn json(path: &Path) -> serde_json::Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

#[test]
fn the_test_script_runs_verbatim_and_prints_what_its_comments_expect() {
    let daemon = TestDaemon::start();
    let ours = |line: &str| match line.split_once('=') {
        Some(("TOKEN", _)) => format!("TOKEN=\"{}\"\n", daemon.token()),
        Some(("BASE_URL", _)) => format!("BASE_URL=\"http://{}\"\n", daemon.address()),
        _ => format!("{line}\n"),
    };
    let script: String = TEST_AUTH.lines().map(ours).collect();

    let run = "cat > test_auth.sh; chmod +x test_auth.sh; ./test_auth.sh";
    let printed = shell(&daemon.home(), run, &script);

    assert_eq!(
        printed,
        format!(
            r#"Test 1: Health check
{{
  "status": "healthy",
  "service": "fleet-mcp",
  "version": "{}"
}}
Test 2: List agents without auth
{{
  "error": "missing_token",
  "error_description": "The access token is invalid or missing"
}}
Test 3: List agents with auth
{{
  "agents": [],
  "total_count": 0
}}
Test 4: Invalid token
{{
  "error": "invalid_token",
  "error_description": "The access token is invalid or missing"
}}
"#,
            env!("CARGO_PKG_VERSION")
        )
    );
}

#[test]
fn the_fixture_is_the_specifications_script() {
    let lines: Vec<_> = TEST_AUTH.lines().collect();

    assert_eq!(lines.len(), 25);
    assert_eq!(lines[0], "#!/bin/bash");
    assert_eq!(lines[3], r#"TOKEN="rQ3vK9pL2mN4oP6qR8sT0uV1wX3yZ5aB7cD9eF1gH3iJ5kL7""#);
    assert_eq!(lines[4], r#"BASE_URL="https://fleet-mcp.example.com""#);
}

#[test]
fn jq_retrieves_the_token_from_its_file() {
    let daemon = TestDaemon::start();

    let printed = shell(&daemon.home(), "cat ~/.fleet-mcp/auth_token | jq -r '.value'", "");

    let token = printed.trim_end();
    assert_eq!(token, daemon.token());
    assert_eq!(daemon.get("/mcp/list_agents").bearer(token).send().status, 200);
}

#[test]
fn the_token_file_has_the_specified_format_and_modes_before_the_first_request() {
    let daemon = TestDaemon::start();

    let file = json(&daemon.token_file());

    let keys: Vec<_> = file.as_object().unwrap().keys().collect();
    assert_eq!(keys, ["value", "created_at"]);
    let token = daemon.token();
    assert_eq!(token.len(), 43);
    assert!(token.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_'));
    let created_at = file["created_at"].as_str().unwrap();
    assert!(created_at.parse::<jiff::Timestamp>().is_ok(), "{created_at}");
    assert_eq!((created_at.len(), created_at.ends_with('Z')), ("2025-11-11T10:30:00Z".len(), true));
    assert_eq!(mode(&daemon.token_file()), 0o600);
    assert_eq!(mode(&daemon.state_dir()), 0o700);
}

#[test]
fn the_specifications_own_sample_file_is_a_token() {
    let sample = "rQ3vK9pL2mN4oP6qR8sT0uV1wX3yZ5aB7cD9eF1gH3iJ5kL7";
    let builder = TestDaemon::builder();
    fs::create_dir(builder.state_dir()).unwrap();
    let text =
        format!("{{\n  \"value\": \"{sample}\",\n  \"created_at\": \"2025-11-11T10:30:00Z\"\n}}\n");
    fs::write(builder.token_file(), &text).unwrap();

    let daemon = builder.start();

    assert_eq!(daemon.token(), sample);
    assert_eq!(daemon.get("/mcp/list_agents").bearer(sample).send().status, 200);
    assert_eq!(fs::read_to_string(daemon.token_file()).unwrap(), text);
}

#[test]
fn the_start_tells_what_the_specification_shows_but_for_the_token() {
    let mut daemon = TestDaemon::start();
    daemon.token();
    let file = format!("Token saved to: {}", daemon.token_file().display());
    let address = format!("Server started on http://{}", daemon.address());

    let log = whole_log(&mut daemon);

    let told = ["Authentication enabled", "Generated new access token", &file, &address];
    let place = |text: &&str| {
        let sentence = format!(" - fleet-mcp - INFO - {text}");
        let at = log.iter().position(|line| line.contains(&sentence));
        at.unwrap_or_else(|| panic!("`{sentence}` is missing"))
    };
    let places: Vec<_> = told.iter().map(place).collect();
    assert!(places.is_sorted(), "{places:?}");
    let (time, _) = log[places[0]].split_once(" - ").unwrap();
    assert!(time.parse::<jiff::civil::DateTime>().is_ok(), "{time}");
    assert!(!log.iter().any(|line| line.contains("Token: ")));
}

#[test]
fn the_token_is_printed_on_standard_output_when_it_is_asked_for() {
    let builder = TestDaemon::builder().arg("--print-token");

    let daemon = builder.start();

    // Not asked for with `token()`: that forbids the token in anything printed.
    let token = json(&daemon.token_file())["value"].as_str().unwrap().to_owned();
    assert_eq!(daemon.log_line("Token: "), format!("Token: {token}"));
    let shown: Vec<_> = daemon.log().into_iter().filter(|line| line.contains(&token)).collect();
    assert_eq!(shown.len(), 1, "{shown:?}");
}

#[test]
fn a_new_token_is_printed_on_a_terminal_once_and_never_to_standard_error() {
    let builder = TestDaemon::builder();

    let first = on_a_terminal(&builder);
    let token = json(&builder.token_file())["value"].as_str().unwrap().to_owned();
    let second = on_a_terminal(&builder);

    assert_eq!(first.stdout.trim_end(), format!("Token: {token}"));
    assert_eq!(second.stdout, "");
    for stderr in [first.stderr, second.stderr] {
        assert!(stderr.contains("Server started on"), "{stderr}");
        assert!(!stderr.contains(&token));
    }
}

struct Printed {
    stdout: String,
    stderr: String,
}

/// A whole life of a daemon whose standard output is a terminal.
fn on_a_terminal(builder: &Builder) -> Printed {
    let (stderr, pid) = (builder.home().join("stderr"), builder.home().join("pid"));
    // Those of a life before.
    let _ = (fs::remove_file(&stderr), fs::remove_file(&pid));
    let line =
        format!("echo $$ > pid; exec {} 2> stderr < /dev/null", env!("CARGO_BIN_EXE_fleet-mcp"));
    let mut script = builder
        .command("script")
        .args(["--quiet", "--return", "--command", &line, "/dev/null"])
        .env("SHELL", "/bin/sh")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("this test needs `script` of util-linux");
    let daemon = eventually("the daemon has a process", || {
        fs::read_to_string(&pid).ok()?.trim().parse().ok().map(Pid::from_raw).map(Ended)
    });
    eventually("the daemon listens", || {
        fs::read_to_string(&stderr).ok().filter(|log| log.contains("Server started on"))
    });
    drop(daemon);
    let status = eventually("the daemon ends", || script.try_wait().unwrap());
    assert!(status.success(), "{status}");
    let stdout = std::io::read_to_string(script.stdout.take().unwrap()).unwrap();
    let stderr = fs::read_to_string(&stderr).unwrap();
    Printed { stdout, stderr }
}

/// A process that is told to end when this is dropped, whatever becomes of the test.
struct Ended(Pid);

impl Drop for Ended {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = kill(self.0, Signal::SIGTERM);
    }
}

#[test]
fn authentication_is_off_by_default_and_makes_no_token() {
    let daemon = TestDaemon::builder().without_env("FLEET_MCP_AUTH_ENABLED").start();

    assert_eq!(daemon.get("/mcp/list_agents").send().status, 200);
    assert!(!daemon.token_file().exists());
    assert!(daemon.log_line("Authentication is off").contains(" - WARNING - "));
}

#[test]
fn a_custom_token_file_is_used_and_its_directory_is_made_for_the_owner_alone() {
    for (setting, place) in
        [("~/custom/path/token.json", "custom/path"), ("deep/er/token.json", "deep/er")]
    {
        let daemon = TestDaemon::builder().env("FLEET_MCP_AUTH_TOKEN_FILE", setting).start();

        let directory = daemon.home().join(place);
        let token = json(&directory.join("token.json"))["value"].as_str().unwrap().to_owned();
        daemon.watch_for(&token);
        assert_eq!(daemon.get("/mcp/list_agents").bearer(&token).send().status, 200);
        assert_eq!(mode(&directory.join("token.json")), 0o600);
        assert_eq!(mode(&directory), 0o700);
        assert_eq!(mode(directory.parent().unwrap()), 0o700);
        assert!(!daemon.token_file().exists());
    }
}

#[test]
fn the_token_does_not_regenerate_on_restart() {
    let daemon = TestDaemon::start();
    let token = daemon.token();
    let file = fs::read(daemon.token_file()).unwrap();

    let daemon = daemon.restart();

    assert_eq!(daemon.token(), token);
    assert_eq!(fs::read(daemon.token_file()).unwrap(), file);
    assert_eq!(daemon.get("/mcp/list_agents").bearer(&token).send().status, 200);
    daemon.log_line("Token loaded from: ");
    assert!(!daemon.log().iter().any(|line| line.contains("Generated new access token")));
}

#[test]
fn deleting_the_token_file_while_stopped_rotates_the_token() {
    let mut daemon = TestDaemon::start();
    let old = daemon.token();
    whole_log(&mut daemon);

    shell(&daemon.home(), "rm ~/.fleet-mcp/auth_token", "");
    let daemon = daemon.restart();

    let new = daemon.token();
    daemon.watch_for(&old);
    assert_ne!(new, old);
    assert_eq!(daemon.get("/mcp/list_agents").bearer(&old).send().status, 401);
    assert_eq!(daemon.get("/mcp/list_agents").bearer(&new).send().status, 200);
}

#[test]
fn deleting_the_token_file_while_running_changes_nothing_until_the_restart() {
    let daemon = TestDaemon::start();
    let old = daemon.token();

    fs::remove_file(daemon.token_file()).unwrap();

    assert_eq!(daemon.get("/mcp/list_agents").bearer(&old).send().status, 200);
    let warnings = daemon.status()["warnings"].to_string();
    assert!(warnings.contains("the token file was deleted"), "{warnings}");
    let daemon = daemon.restart();
    assert_ne!(daemon.token(), old);
    assert_eq!(daemon.get("/mcp/list_agents").bearer(&old).send().status, 401);
}

#[test]
fn authentication_can_be_turned_off_again_and_the_file_stays() {
    let daemon = TestDaemon::start();
    let token = daemon.token();
    let file = fs::read(daemon.token_file()).unwrap();

    let daemon = daemon.restart_with(|builder| builder.auth(false));

    daemon.watch_for(&token);
    assert_eq!(fs::read(daemon.token_file()).unwrap(), file);
    assert_eq!(daemon.get("/mcp/list_agents").send().status, 200);
    assert_eq!(daemon.get("/mcp/list_agents").bearer("INVALID_TOKEN").send().status, 200);
    let daemon = daemon.restart_with(|builder| builder.auth(true));
    assert_eq!(daemon.get("/mcp/list_agents").send().status, 401);
    assert_eq!(daemon.get("/mcp/list_agents").bearer(&token).send().status, 200);
}

#[test]
fn rotation_is_live() {
    let daemon = TestDaemon::start();
    let old = daemon.token();
    assert_eq!(daemon.get("/mcp/list_agents").bearer(&old).send().status, 200);

    let new = daemon.rotate();

    let refused = daemon.get("/mcp/list_agents").bearer(&old).send();
    assert_eq!((refused.status, refused.json()["error"].as_str()), (401, Some("invalid_token")));
    assert_eq!(daemon.get("/mcp/list_agents").bearer(&new).send().status, 200);
    assert_eq!(daemon.token(), new);
}
