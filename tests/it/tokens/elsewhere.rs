//! A primary token that comes from the environment or from systemd.

use std::{fs, os::unix::fs::PermissionsExt as _, path::PathBuf};

use super::status_with;
use crate::support::{Builder, TestDaemon, eventually, stderr, stdout};

const GIVEN: &str = "rQ3vK9pL2mN4oP6qR8sT0uV1wX3yZ5aB7cD9eF1gH3iJ5kL7";
const OTHER: &str = "zz3vK9pL2mN4oP6qR8sT0uV1wX3yZ5aB7cD9eF1gH3iJ5kL7";

fn by_variable() -> Builder {
    TestDaemon::builder().env("FLEET_MCP_AUTH_TOKEN", GIVEN)
}

fn by_credential(content: &str) -> (Builder, PathBuf) {
    let builder = TestDaemon::builder();
    let directory = builder.home().join("credentials");
    fs::create_dir(&directory).unwrap();
    let path = directory.join("auth_token");
    fs::write(&path, content).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o400)).unwrap();
    (builder.env("CREDENTIALS_DIRECTORY", directory), path)
}

#[test]
fn the_variables_token_counts_and_rotating_says_where_to_change_it() {
    let daemon = by_variable().start();
    daemon.watch_for(GIVEN);

    assert_eq!(status_with(&daemon, GIVEN), 200);
    assert!(!daemon.token_file().exists(), "it is kept nowhere else");
    let shown = daemon.fleetctl(&["status"]);
    let line = "\nAuthentication  on, token from FLEET_MCP_AUTH_TOKEN (environment)\n";
    assert!(stdout(&shown).contains(line), "{}", stdout(&shown));
    for command in [&["rotate"][..], &["rotate", "--grace", "1m"]] {
        let rotated = daemon.fleetctl(command);
        assert_eq!((rotated.status.code(), stdout(&rotated)), (Some(1), ""));
        let words = stderr(&rotated);
        assert!(words.contains("the primary token comes from FLEET_MCP_AUTH_TOKEN (environment)"));
        assert!(words.contains("change the variable where it is set, and restart"), "{words}");
    }
    assert_eq!(stdout(&daemon.fleetctl(&["token", "show"])), format!("{GIVEN}\n"));
    let named = daemon.create_token("ci", &[]);
    let daemon = daemon.restart();
    assert_eq!([GIVEN, &named].map(|token| status_with(&daemon, token)), [200, 200]);
}

#[test]
fn the_variable_in_dotenv_counts_and_a_changed_one_needs_a_restart() {
    let builder = TestDaemon::builder();
    let dotenv = builder.home().join(".env");
    let set = |token: &str| fs::write(&dotenv, format!("FLEET_MCP_AUTH_TOKEN={token}\n")).unwrap();
    set(GIVEN);
    let daemon = builder.start();
    daemon.watch_for(GIVEN);
    daemon.watch_for(OTHER);
    assert_eq!(status_with(&daemon, GIVEN), 200);
    set(OTHER);

    let reloaded = daemon.fleetctl(&["reload"]);

    assert!(stderr(&reloaded).contains("only after a restart: FLEET_MCP_AUTH_TOKEN"));
    assert_eq!([GIVEN, OTHER].map(|token| status_with(&daemon, token)), [200, 401]);
    let daemon = daemon.restart();
    assert_eq!([GIVEN, OTHER].map(|token| status_with(&daemon, token)), [401, 200]);
}

#[test]
fn a_credential_wins_over_the_variable_and_both_over_the_file() {
    let file = TestDaemon::start();
    let filed = file.token();
    let home = file.how().clone();
    drop(file);
    let daemon = home.env("FLEET_MCP_AUTH_TOKEN", OTHER).start();
    assert_eq!([&*filed, OTHER].map(|token| status_with(&daemon, token)), [401, 200]);
    drop(daemon);

    let (builder, path) = by_credential(&format!("{GIVEN}\n"));
    let daemon = builder.env("FLEET_MCP_AUTH_TOKEN", OTHER).start();

    daemon.watch_for(GIVEN);
    assert_eq!([GIVEN, OTHER].map(|token| status_with(&daemon, token)), [200, 401]);
    let from = format!("the systemd credential auth_token ({})", path.display());
    assert_eq!(daemon.status()["auth"]["primary_from"], from);
    let warned = daemon.status()["warnings"].to_string();
    assert!(warned.contains("FLEET_MCP_AUTH_TOKEN: is passed over for the credential"), "{warned}");
    let rotated = daemon.fleetctl(&["rotate"]);
    assert!(stderr(&rotated).contains("LoadCredential= or LoadCredentialEncrypted="));
    let checked =
        daemon.how().command(env!("CARGO_BIN_EXE_fleet-mcp")).arg("check-config").output();
    let checked = checked.unwrap();
    assert!(stdout(&checked).contains(&format!("Authentication:  on, token from {from}\n")));
    assert!(!stdout(&checked).contains(GIVEN) && !stderr(&checked).contains(OTHER));
}

#[test]
fn a_value_that_is_no_token_stops_the_start_and_is_not_shown() {
    for (value, words) in [
        ("hunter2", "FLEET_MCP_AUTH_TOKEN: a token has 43 to 128 characters, this one has 7"),
        ("", "FLEET_MCP_AUTH_TOKEN: is empty; set it to the token, or unset it"),
        (&*format!("{} ", "x".repeat(43)), "only the characters A-Z"),
        (&*format!("fmcp_{}", "x".repeat(49)), "but its checksum is wrong"),
    ] {
        let failed = TestDaemon::builder().env("FLEET_MCP_AUTH_TOKEN", value).fails();

        assert_eq!(failed.code, Some(78), "{value}");
        assert!(failed.stderr.contains(words), "{}", failed.stderr);
        assert!(value.is_empty() || !failed.stderr.contains(value), "{}", failed.stderr);
    }
    let (builder, _) = by_credential("hunter2");
    let failed = builder.fails();
    assert_eq!(failed.code, Some(78));
    assert!(failed.stderr.contains("can't understand the credential"), "{}", failed.stderr);
    assert!(!failed.stderr.contains("hunter2"), "{}", failed.stderr);
}

#[test]
fn no_agent_inherits_the_variable() {
    let config = "[agents.env]\ndriver = \"command\"\ncommand = \"/usr/bin/env\"\n\
                  [roles.env]\nagent = \"env\"\n";
    let daemon = by_variable().config(config).start();
    daemon.watch_for(GIVEN);
    let create = ["agent", "create", "a", "x", "--project", "scratch", "--role", "env"];
    assert!(daemon.fleetctl(&create).status.success());

    let log = eventually("it has printed its variables", || {
        let log = daemon.fleetctl(&["agent", "logs", "a"]);
        let text = stdout(&log).to_owned();
        text.contains("HOME=").then_some(text)
    });

    assert!(!log.contains("FLEET_MCP_AUTH_TOKEN") && !log.contains(GIVEN), "{log}");
}
