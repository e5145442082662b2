//! The primary token's file: what is accepted, what is mended, and what stops the start.

mod at_once;
mod refused;

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path};

use serde_json::{Value, json};

use crate::support::{Builder, TestDaemon, sh, stdout, unprivileged};

/// The specification's own sample, 48 characters.
const SAMPLE: &str = "rQ3vK9pL2mN4oP6qR8sT0uV1wX3yZ5aB7cD9eF1gH3iJ5kL7";

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// Puts a token file in place, 0600 in a 0700 directory, the daemon's own.
fn put(builder: &Builder, content: impl AsRef<[u8]>) {
    let (dir, file) = (builder.state_dir(), builder.token_file());
    fs::create_dir_all(&dir).unwrap();
    fs::write(&file, content).unwrap();
    set_mode(&dir, 0o700);
    set_mode(&file, 0o600);
    builder.give(&dir);
    builder.give(&file);
}

fn sample() -> String {
    format!("{{\n  \"value\": \"{SAMPLE}\",\n  \"created_at\": \"2025-11-11T10:30:00Z\"\n}}\n")
}

fn json(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

fn status_of(daemon: &TestDaemon, token: &str) -> u16 {
    daemon.get("/mcp/list_agents").bearer(token).send().status
}

#[test]
fn first_start_makes_a_file_as_the_specification_has_it() {
    let daemon = TestDaemon::start();
    let token = daemon.token();

    let jq = format!("jq -r .value {}", daemon.token_file().display());
    let retrieved = sh(&jq);
    let file = json(&daemon.token_file());

    assert_eq!(stdout(&retrieved).trim_end(), token);
    assert_eq!(token.len(), 43);
    let created_at = file["created_at"].as_str().unwrap();
    assert!(created_at.len() == 20 && created_at.ends_with('Z'), "{created_at}");
    assert_eq!(file.as_object().unwrap().len(), 2);
    assert_eq!(status_of(&daemon, &token), 200);
    daemon.log_line("INFO - Generated new access token");
    daemon.log_line(&format!("Token saved to: {}", daemon.token_file().display()));
}

#[test]
fn token_survives_a_restart() {
    let daemon = TestDaemon::start();
    let token = daemon.token();

    let daemon = daemon.restart();

    assert_eq!(daemon.token(), token);
    assert_eq!(status_of(&daemon, &token), 200);
    daemon.log_line("Token loaded from: ");
}

#[test]
fn deleting_the_file_and_restarting_rotates_as_the_specification_says() {
    let daemon = TestDaemon::start();
    let old = daemon.token();

    fs::remove_file(daemon.token_file()).unwrap();
    let daemon = daemon.restart();

    let new = daemon.token();
    assert_ne!(new, old);
    assert_eq!((status_of(&daemon, &old), status_of(&daemon, &new)), (401, 200));
}

#[test]
fn token_is_printed_only_when_asked_for() {
    let silent = TestDaemon::start();
    silent.token();

    let asked = TestDaemon::builder().arg("--print-token").start();

    // Not `token()`, which forbids it in the log.
    let token = json(&asked.token_file())["value"].as_str().unwrap().to_owned();
    let lines: Vec<_> = asked.log().into_iter().filter(|line| line.contains(&token)).collect();
    assert_eq!(lines, [format!("Token: {token}")]);
}

#[test]
fn loose_modes_of_file_and_state_directory_are_tightened_with_a_warning() {
    for (file_mode, dir_mode) in [(0o644, 0o755), (0o666, 0o777), (0o640, 0o750)] {
        let builder = unprivileged();
        put(&builder, sample());
        set_mode(&builder.token_file(), file_mode);
        set_mode(&builder.state_dir(), dir_mode);

        let daemon = builder.start();

        let modes = (mode(&daemon.token_file()), mode(&daemon.state_dir()));
        assert_eq!(modes, (0o600, 0o700), "from {file_mode:o} {dir_mode:o}");
        let warning = daemon.log_line(&format!(
            "`{}` was open to others (mode {file_mode:04o}), now it is 0600",
            daemon.token_file().display()
        ));
        assert!(warning.contains("WARNING") && warning.contains("rotate that token"), "{warning}");
        daemon.log_line(&format!("was open to others (mode {dir_mode:04o}), now it is 0700"));
        assert_eq!(daemon.token(), SAMPLE);
        assert_eq!(status_of(&daemon, SAMPLE), 200);
    }
}

#[test]
fn directory_of_others_use_is_checked_but_not_changed() {
    let builder = unprivileged();
    let dir = builder.home().join("shared");
    fs::create_dir(&dir).unwrap();
    builder.give(&dir);
    set_mode(&dir, 0o755);

    let daemon = builder.env("FLEET_MCP_AUTH_TOKEN_FILE", dir.join("fleet.json")).start();

    assert_eq!((mode(&dir), mode(&daemon.token_file())), (0o755, 0o600));
    assert_eq!(status_of(&daemon, &daemon.token()), 200);
}

#[test]
fn directories_are_made_0700_and_files_0600_whatever_the_umask() {
    for umask in ["000", "022", "077"] {
        let builder = unprivileged().umask(umask);
        let file = builder.home().join("a/b/token.json");

        let daemon = builder.env("FLEET_MCP_AUTH_TOKEN_FILE", &file).start();

        daemon.token();
        let (home, state) = (daemon.home(), daemon.state_dir());
        for dir in [home.join("a"), home.join("a/b"), state.clone(), state.join("run")] {
            assert_eq!(mode(&dir), 0o700, "umask {umask}: {}", dir.display());
        }
        for file in [file, state.join("lock"), daemon.control_socket()] {
            assert_eq!(mode(&file), 0o600, "umask {umask}: {}", file.display());
        }
    }
}

#[test]
fn files_of_the_specification_and_of_the_original_are_accepted() {
    for file in [
        sample(),
        format!(r#"{{"value": "{SAMPLE}", "created_at": "2026-11-23T03:23:58.032414"}}"#),
        format!(r#"{{"created_at": "2026-11-23T03:23:58+01:00", "value": "{SAMPLE}"}}"#),
        format!("\n\t{{\"value\":\"{SAMPLE}\",\"created_at\":\"2025-11-11T10:30:00Z\"}}"),
    ] {
        let builder = TestDaemon::builder();
        put(&builder, &file);

        let daemon = builder.start();

        assert_eq!(daemon.token(), SAMPLE);
        assert_eq!(status_of(&daemon, SAMPLE), 200, "{file}");
        assert_eq!(daemon.get("/mcp/list_agents").send().status, 401);
        let kept = fs::read_to_string(daemon.token_file()).unwrap();
        assert_eq!(kept, file, "a start rewrote the file");
    }
}

#[test]
fn rotation_keeps_members_that_are_not_ours() {
    let builder = TestDaemon::builder();
    let file = json!({
        "value": SAMPLE,
        "created_at": "2025-11-11T10:30:00Z",
        "note": "ask Anna",
        "nested": {"list": [1, null]},
    });
    put(&builder, file.to_string());
    let daemon = builder.start();
    daemon.watch_for(SAMPLE);

    let new = daemon.rotate();

    let file = json(&daemon.token_file());
    assert_eq!((&file["note"], &file["nested"]), (&json!("ask Anna"), &json!({"list": [1, null]})));
    assert_eq!(file["value"], *new);
    assert_ne!(file["created_at"], "2025-11-11T10:30:00Z");
}

#[test]
fn deleted_file_is_told_and_the_token_in_memory_goes_on_until_the_restart() {
    let daemon = TestDaemon::start();
    let old = daemon.token();

    fs::remove_file(daemon.token_file()).unwrap();

    assert_eq!(status_of(&daemon, &old), 200);
    let status = daemon.status();
    assert_eq!(status["auth"]["token_file_state"], "missing");
    let warnings = status["warnings"].to_string();
    assert!(warnings.contains("the token file was deleted"), "{warnings}");
    let shown = daemon.fleetctl(&["token", "show"]);
    assert_eq!((shown.status.code(), stdout(&shown)), (Some(1), ""));
    let daemon = daemon.restart();
    let new = daemon.token();
    assert_eq!((status_of(&daemon, &old), status_of(&daemon, &new)), (401, 200));
    assert_eq!(daemon.status()["auth"]["token_file_state"], "current");
}

#[test]
fn rotating_after_the_file_was_deleted_writes_it_anew() {
    let daemon = TestDaemon::start();
    let old = daemon.token();
    fs::remove_file(daemon.token_file()).unwrap();

    let new = daemon.rotate();

    assert_eq!(daemon.token(), new);
    assert_eq!(mode(&daemon.token_file()), 0o600);
    assert_eq!((status_of(&daemon, &old), status_of(&daemon, &new)), (401, 200));
}

#[test]
fn file_that_was_exchanged_is_told_and_counts_from_the_restart_on() {
    let daemon = TestDaemon::start();
    let old = daemon.token();

    put(daemon.how(), sample());

    let status = daemon.status();
    assert_eq!(status["auth"]["token_file_state"], "differs");
    assert_eq!((status_of(&daemon, &old), status_of(&daemon, SAMPLE)), (200, 401));
    let daemon = daemon.restart();
    daemon.watch_for(SAMPLE);
    assert_eq!((status_of(&daemon, &old), status_of(&daemon, SAMPLE)), (401, 200));
}

#[test]
fn file_that_was_broken_while_running_is_told_before_the_next_start_stops_at_it() {
    let daemon = TestDaemon::start();
    let token = daemon.token();

    fs::write(daemon.token_file(), "{").unwrap();

    let status = daemon.status();
    assert_eq!(status["auth"]["token_file_state"], "unusable");
    let warnings = status["warnings"].to_string();
    assert!(warnings.contains("the next start will stop: can't understand"), "{warnings}");
    let refused = daemon.fleetctl(&["rotate"]);
    assert_eq!((refused.status.code(), stdout(&refused)), (Some(1), ""));
    assert_eq!(fs::read(daemon.token_file()).unwrap(), b"{");
    assert_eq!(status_of(&daemon, &token), 200);
}
