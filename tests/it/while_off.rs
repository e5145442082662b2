//! Authentication off: everybody is served, and the operator sees who is not ready for it.

use std::fs;

use serde_json::Value;

use crate::support::{Builder, Kept, TestDaemon, stderr, stdout};

fn off() -> Builder {
    TestDaemon::builder().auth(false)
}

/// Authentication as the configuration file says, off at first.
fn by_file() -> Builder {
    TestDaemon::builder().without_env("FLEET_MCP_AUTH_ENABLED").config("auth.enabled = false\n")
}

/// The same, with `Forwarded` headers believed, so that a test can be several clients.
fn with_proxy(builder: Builder) -> TestDaemon {
    builder.env("FLEET_MCP_HTTP_TRUSTED_PROXIES", "127.0.0.1").start()
}

fn status_from(daemon: &TestDaemon, client: &str, authorization: Option<&str>) -> u16 {
    let request = daemon.get("/mcp/list_agents").header("X-Forwarded-For", client);
    let request = match authorization {
        Some(value) => request.header("Authorization", value),
        None => request,
    };
    request.send().status
}

fn not_ready(daemon: &TestDaemon) -> Vec<(String, u64, String)> {
    let status = daemon.status();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let row = |row: &Value| {
        (text(&row["source"]), row["requests"].as_u64().unwrap(), text(&row["reason"]))
    };
    status["not_ready"].as_array().unwrap().iter().map(row).collect()
}

#[test]
fn being_off_is_a_warning_at_the_start_and_stands_in_the_status() {
    for builder in [off(), TestDaemon::builder().without_env("FLEET_MCP_AUTH_ENABLED")] {
        let daemon = builder.start();

        let warning = daemon.log_line("Authentication is off: every request is served");
        assert!(warning.contains("WARNING") && warning.contains("FLEET_MCP_AUTH_ENABLED=true"));
        assert_eq!(daemon.status()["auth"]["enforced"], false);
        let shown = daemon.fleetctl(&["status"]);
        assert!(stdout(&shown).contains("Authentication  OFF, no token yet"), "{}", stdout(&shown));
        assert!(!daemon.token_file().exists(), "a token was made though nobody asked");
    }
}

#[test]
fn requests_pass_and_those_that_would_be_refused_are_counted_by_source() {
    let daemon = with_proxy(off());
    daemon.rotate();

    for _ in 0..3 {
        assert_eq!(status_from(&daemon, "203.0.113.7", None), 200);
    }
    assert_eq!(status_from(&daemon, "203.0.113.8", Some("Bearer INVALID_TOKEN")), 200);
    assert_eq!(status_from(&daemon, "203.0.113.8", Some("bearer x")), 200);
    assert_eq!(status_from(&daemon, "2001:db8::1", None), 200);

    let row = |source: &str, requests, reason: &str| (source.to_owned(), requests, reason.into());
    assert_eq!(
        not_ready(&daemon),
        [
            row("203.0.113.7", 3, "missing_token"),
            row("203.0.113.8", 2, "malformed_header"),
            row("2001:db8::/64", 1, "missing_token"),
        ]
    );
    let entry =
        daemon.log_line("would refuse missing_token from 203.0.113.7: GET /mcp/list_agents");
    assert!(entry.contains("event=would_refuse reason=missing_token client_ip=203.0.113.7"));
    daemon.log_line("would refuse invalid_token from 203.0.113.8");
    daemon.log_line("would refuse malformed_header from 203.0.113.8");
    let refused = &daemon.status()["refused"];
    assert!(refused.as_array().unwrap().iter().all(|count| count["count"] == 0), "{refused}");
    let shown = daemon.fleetctl(&["status"]);
    assert!(stdout(&shown).contains("Not ready       203.0.113.7    3 requests  missing_token"));
}

#[test]
fn client_with_a_valid_token_is_ready() {
    let daemon = off().start();
    let token = daemon.rotate();

    assert_eq!(daemon.get("/mcp/list_agents").bearer(&token).send().status, 200);

    assert_eq!(not_ready(&daemon), []);
    assert_eq!(daemon.status()["tokens"][0]["requests"], 1);
    daemon.log_line("token `default` used first from 127.0.0.1");
    assert!(!daemon.log().iter().any(|line| line.contains("would_refuse")));
}

#[test]
fn token_that_was_rotated_away_is_told_before_it_matters() {
    let daemon = off().start();
    let old = daemon.rotate();
    daemon.rotate();

    assert_eq!(daemon.get("/mcp/list_agents").bearer(&old).send().status, 200);

    assert_eq!(not_ready(&daemon)[0].2, "revoked");
}

#[test]
fn token_can_be_made_shown_and_rotated_before_anybody_needs_one() {
    let daemon = off().start();
    let none = daemon.fleetctl(&["token", "show"]);
    assert_eq!((none.status.code(), stdout(&none)), (Some(1), ""));
    assert!(stderr(&none).contains("there is no access token yet\nhelp:  make one with `fleetctl"));

    let made = daemon.fleetctl(&["rotate"]);
    let first = stdout(&made).trim_end().to_owned();
    daemon.watch_for(&first);
    let shown = stdout(&daemon.fleetctl(&["token", "show"])).to_owned();
    let second = daemon.rotate();

    let words = stderr(&made);
    assert!(words.contains("rotated: this is its first secret. The new one is saved"), "{words}");
    assert_eq!(shown.trim_end(), first);
    assert_ne!(first, second);
    assert_eq!(daemon.token(), second);
    let daemon = daemon.restart_with(|builder| builder.auth(true));
    daemon.watch_for(&first);
    assert_eq!(daemon.get("/mcp/list_agents").bearer(&second).send().status, 200);
    assert_eq!(daemon.get("/mcp/list_agents").bearer(&first).send().status, 401);
}

#[test]
fn broken_token_file_is_a_warning_until_it_is_mended() {
    let builder = by_file();
    fs::create_dir(builder.state_dir()).unwrap();
    fs::write(builder.token_file(), "[]").unwrap();
    let daemon = builder.start();
    let warning = "authentication can't be turned on: can't understand the token file";
    let warns = || daemon.status()["warnings"].to_string().contains(warning);

    daemon.log_line(warning);
    assert!(warns());
    assert_eq!(daemon.get("/mcp/list_agents").send().status, 200);
    let refused = daemon.fleetctl(&["rotate"]);
    assert_eq!((refused.status.code(), stdout(&refused)), (Some(1), ""));
    assert_eq!(fs::read(daemon.token_file()).unwrap(), b"[]");
    assert!(daemon.fleetctl(&["reload"]).status.success());
    assert!(warns(), "a reload forgot that the file is broken");
    fs::remove_file(daemon.token_file()).unwrap();
    assert!(!warns(), "the warning outlived its cause");
    daemon.rotate();
    assert!(!warns());
}

#[test]
fn reload_turns_authentication_on_at_once_and_makes_the_token() {
    let daemon = by_file().start();
    let mut kept = Kept::open(daemon.address());
    assert_eq!(kept.get("/mcp/list_agents", None).unwrap().status, 200);

    config(&daemon, "auth.enabled = true\n");
    let reloaded = daemon.fleetctl(&["reload"]);

    assert!(reloaded.status.success(), "{}", stderr(&reloaded));
    assert_eq!(kept.get("/mcp/list_agents", None).unwrap().status, 401);
    assert_eq!(kept.get("/mcp/list_agents", Some(&daemon.token())).unwrap().status, 200);
    assert_eq!(daemon.get("/mcp/list_agents").send().status, 401);
    assert_eq!(daemon.status()["auth"]["enforced"], true);
}

#[test]
fn reload_that_can_not_have_a_token_leaves_authentication_off_and_says_why() {
    let daemon = by_file().start();
    fs::write(daemon.token_file(), "{").unwrap();
    config(&daemon, "auth.enabled = true\n");

    let reloaded = daemon.fleetctl(&["reload"]);

    assert_eq!(reloaded.status.code(), Some(1));
    let words = stderr(&reloaded);
    assert!(words.starts_with("error: nothing was reloaded\ncause: can't understand"), "{words}");
    assert_eq!(daemon.get("/mcp/list_agents").send().status, 200);
    assert_eq!(daemon.status()["auth"]["enforced"], false);
}

#[test]
fn no_reload_turns_authentication_off() {
    let daemon = by_file().config("auth.enabled = true\n").start();
    let token = daemon.token();

    config(&daemon, "auth.enabled = false\n");
    let reloaded = daemon.fleetctl(&["reload", "--json"]);

    let reloaded: Value = serde_json::from_slice(&reloaded.stdout).unwrap();
    assert_eq!(reloaded["needs_restart"], serde_json::json!(["auth.enabled"]));
    assert_eq!(daemon.get("/mcp/list_agents").send().status, 401);
    assert_eq!(daemon.status()["auth"]["enforced"], true);
    daemon.log_line("changed, but only after a restart: auth.enabled");
    // Twice: the first reload must not have made "off" the present state.
    assert!(daemon.fleetctl(&["reload"]).status.success());
    assert_eq!(daemon.get("/mcp/list_agents").send().status, 401);
    let before = fs::read(daemon.token_file()).unwrap();
    let daemon = daemon.restart();
    assert_eq!(daemon.get("/mcp/list_agents").send().status, 200);
    assert_eq!(daemon.get("/mcp/list_agents").bearer(&token).send().status, 200);
    assert_eq!(fs::read(daemon.token_file()).unwrap(), before, "the file remains");
}

#[test]
fn variable_outweighs_the_file_at_the_start_and_at_a_reload() {
    let on = TestDaemon::builder().auth(true).config("auth.enabled = false\n").start();
    let off = off().config("auth.enabled = true\n").start();

    assert!(on.fleetctl(&["reload"]).status.success());
    assert!(off.fleetctl(&["reload"]).status.success());

    on.token();
    assert_eq!(on.get("/mcp/list_agents").send().status, 401);
    assert_eq!(off.get("/mcp/list_agents").send().status, 200);
}

#[test]
fn only_loopback_is_listened_on_until_authentication_is_on() {
    for (auth, address) in [(false, "127.0.0.1:8000"), (true, "0.0.0.0:8000")] {
        let builder = TestDaemon::builder().auth(auth).without_env("FLEET_MCP_LISTEN");
        let mut command = builder.command(env!("CARGO_BIN_EXE_fleet-mcp"));

        let checked = command.arg("check-config").output().unwrap();

        let line = format!("Listening:       {address}\n");
        assert!(stdout(&checked).contains(&line), "{}", stdout(&checked));
    }
}

fn config(daemon: &TestDaemon, toml: &str) {
    fs::write(daemon.home().join(".config/fleet-mcp/config.toml"), toml).unwrap();
}
