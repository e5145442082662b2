//! `fleetctl reload`: all or nothing, and what needs a restart is named.

use std::fs;

use serde_json::{Value, json};

use crate::support::{TestDaemon, stderr, stdout};

fn write(daemon: &TestDaemon, toml: &str) {
    fs::write(daemon.home().join(".config/fleet-mcp/config.toml"), toml).unwrap();
}

fn reload(daemon: &TestDaemon) -> Value {
    let output = daemon.fleetctl(&["reload", "--json"]);
    assert!(output.status.success(), "{}", stderr(&output));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn projects(daemon: &TestDaemon) -> String {
    let token = daemon.token();
    daemon.get("/mcp/list_agent_projects").bearer(&token).send().body
}

#[test]
fn changed_settings_are_in_force_at_once() {
    let daemon = TestDaemon::builder().config("[projects.web]\n").start();
    assert!(projects(&daemon).contains("web"));

    write(&daemon, "http.public_url = \"https://new\"\n[projects.shop]\n");
    let output = daemon.fleetctl(&["reload"]);

    assert_eq!((output.status.code(), stdout(&output)), (Some(0), ""));
    assert_eq!(stderr(&output), "Configuration reloaded.\n");
    let now = projects(&daemon);
    assert!(now.contains("shop") && !now.contains("web"), "{now}");
    assert_eq!(daemon.status()["public_url"], "https://new");
    daemon.log_line("INFO - Configuration reloaded");
}

#[test]
fn broken_file_changes_nothing_and_every_problem_is_told() {
    let daemon = TestDaemon::builder().config("[projects.web]\n").start();

    write(&daemon, "[projects.shop]\nx = 1\n[http]\nmax_requests = 0\nbody_timeout = \"?\"\n");
    let output = daemon.fleetctl(&["reload"]);

    assert_eq!((output.status.code(), stdout(&output)), (Some(1), ""));
    let words = stderr(&output);
    assert!(words.starts_with("error: nothing was reloaded\n"), "{words}");
    let causes: Vec<_> = words.lines().filter(|line| line.starts_with("cause: ")).collect();
    assert_eq!(causes.len(), 3, "{words}");
    for place in [
        "config.toml:2: projects.shop.x: unknown key",
        "config.toml:4: http.max_requests: ",
        "config.toml:5: http.body_timeout: ",
    ] {
        assert!(causes.iter().any(|cause| cause.contains(place)), "no {place} in: {words}");
    }
    assert!(words.contains("\nhelp:  mend the configuration"), "{words}");
    assert!(projects(&daemon).contains("web") && !projects(&daemon).contains("shop"));
    let entry = daemon.log_line("ERROR - nothing was reloaded: ");
    assert!(entry.contains("projects.shop.x") && entry.contains("http.max_requests"), "{entry}");
    // Mended, it counts.
    write(&daemon, "[projects.shop]\n");
    reload(&daemon);
    assert!(projects(&daemon).contains("shop"));
}

#[test]
fn what_needs_a_restart_is_named_and_stays_as_it_was() {
    let daemon = TestDaemon::builder()
        .without_env("FLEET_MCP_LISTEN")
        .config("listen = \"127.0.0.1:0\"\n")
        .start();
    let token = daemon.token();
    let (address, file) = (daemon.address(), daemon.status()["auth"]["token_file"].clone());

    write(
        &daemon,
        "listen = \"127.0.0.1:1\"\nstate_dir = \"/nowhere\"\ncontrol_socket = \"/nowhere/s\"\n\
         [auth]\ntoken_file = \"/nowhere/t\"\n[http]\nmax_connections = 7\npublic_url = \"http://x\"\n\
         [log]\njournal_socket = \"/nowhere/j\"\n",
    );
    // It looks where the file says that the socket will be.
    let socket = daemon.control_socket();
    let fleetctl = |arguments: &[&str]| {
        daemon.fleetctl(&[&["--socket", socket.to_str().unwrap()], arguments].concat())
    };
    let reloaded: Value = serde_json::from_slice(&fleetctl(&["reload", "--json"]).stdout).unwrap();
    let again = fleetctl(&["reload"]);

    assert_eq!(
        reloaded["needs_restart"],
        json!(["listen", "state_dir", "control_socket", "auth.token_file", "log.journal_socket",])
    );
    assert!(stderr(&again).starts_with("warning: changed, but only after a restart: listen, "));
    let status: Value = serde_json::from_slice(&fleetctl(&["status", "--json"]).stdout).unwrap();
    assert_eq!(status["listeners"], json!([format!("http://{address}")]));
    assert_eq!((&status["auth"]["token_file"], &status["public_url"]), (&file, &json!("http://x")));
    assert_eq!(daemon.get("/mcp/list_agents").bearer(&token).send().status, 200);
    let new = fleetctl(&["rotate"]);
    assert_eq!(stdout(&new).trim_end(), daemon.token());
    assert_ne!(daemon.token(), token);
}

#[test]
fn log_filter_changes_live_and_security_events_ignore_it() {
    let builder = TestDaemon::builder().without_env("FLEET_MCP_LOG");
    let daemon = builder.config("log.filter = \"error\"\n").start();
    let token = daemon.token();

    daemon.get("/mcp/list_agents").send();
    daemon.log_line("401 missing_token from 127.0.0.1");
    assert!(!daemon.log().iter().any(|line| line.contains("Server started")));
    write(&daemon, "log.filter = \"info\"\n");
    reload(&daemon);

    daemon.log_line("INFO - Configuration reloaded");
    assert_eq!(daemon.get("/mcp/list_agents").bearer(&token).send().status, 200);
}

#[test]
fn access_log_is_written_in_common_log_format_and_reopened_by_a_reload() {
    let builder = TestDaemon::builder();
    let file = builder.home().join("access.log");
    let daemon = builder.env("FLEET_MCP_LOG_ACCESS_FILE", &file).start();
    let lines = |path: &std::path::Path| fs::read_to_string(path).unwrap_or_default();
    let line = |status: u16| format!("\"GET /mcp/list_agents HTTP/1.1\" {status} ");

    daemon.get("/mcp/list_agents").send();
    crate::support::eventually("the access log has the request", || {
        // What the specification's migration does: grep 401.
        lines(&file).lines().find(|text| text.contains(&line(401))).map(str::to_owned)
    });
    let moved = file.with_extension("1");
    fs::rename(&file, &moved).unwrap();
    reload(&daemon);
    daemon.get("/mcp/list_agents").bearer(&daemon.token()).send();

    crate::support::eventually("the new file has the new request", || {
        lines(&file).contains(&line(200)).then_some(())
    });
    assert!(!lines(&moved).contains(&line(200)));
    assert!(!lines(&file).contains(&daemon.token()));
}
