//! The state directory: gone while the daemon runs, or wanted by two.

use std::fs;

use crate::{
    fleet::{Fleet, builder},
    support::{Builder, TestDaemon, stderr, stdout},
};

/// Its control socket is elsewhere, as that of the service is.
fn apart(builder: Builder) -> Builder {
    let socket = builder.home().join("run/control.sock");
    builder.env("FLEET_MCP_CONTROL_SOCKET", socket)
}

#[test]
fn while_the_state_directory_is_gone_changes_are_refused_and_the_rest_goes_on() {
    let fleet = Fleet::start(apart(builder("")));
    fleet.create("before", "demo", "hello");
    assert_eq!(fleet.outcome("before"), ["idle", "done", ""]);
    let (state, elsewhere) = (fleet.daemon.state_dir(), fleet.daemon.home().join("elsewhere"));
    let create = |name: &str| {
        let new = format!(r#"{{"name":"{name}","project":"scratch","role":"demo","task":"x"}}"#);
        let request = fleet.daemon.post("/mcp/create_agent", new);
        request.bearer(&fleet.token).send()
    };

    fs::rename(&state, &elsewhere).unwrap();
    let rotated = fleet.daemon.fleetctl(&["rotate"]);
    let made = fleet.daemon.fleetctl(&["token", "create", "ci"]);
    let created = create("meanwhile");

    for refused in [&rotated, &made] {
        assert_eq!((refused.status.code(), stdout(refused)), (Some(1), ""));
        assert!(stderr(refused).contains("is gone"), "{}", stderr(refused));
    }
    assert_eq!(created.status, 503, "{}", created.body);
    assert!(created.body.contains("is gone"), "{}", created.body);
    assert!(!state.exists(), "a second state directory was made");
    assert_eq!(fleet.daemon.get("/health").send().status, 200);
    assert_eq!(fleet.show("before")["status"], "idle");
    assert!(fleet.messages("before").contains("hello"));
    assert_eq!(fleet.daemon.status()["state"], "ready");

    fs::rename(&elsewhere, &state).unwrap();
    let token = fleet.daemon.rotate();
    let fleet = Fleet { token, ..fleet };
    fleet.create("after", "demo", "hello");
    assert_eq!(fleet.outcome("after"), ["idle", "done", ""]);
    let fleet = fleet.restart();
    assert_eq!(fleet.show("before")["status"], "idle");
    assert_eq!(
        fleet.call("show_agent", &serde_json::json!({"agent_name": "meanwhile"})).status,
        404
    );
    fleet.ends_clean(&["before", "after"]);
}

#[test]
fn a_second_daemon_on_the_same_state_directory_is_refused_and_the_first_goes_on() {
    let first = TestDaemon::start();
    let second = first.how().clone();
    let second = second.env("FLEET_MCP_CONTROL_SOCKET", first.home().join("other/control.sock"));

    let failed = second.fails();

    assert_eq!((failed.code, &*failed.stdout), (Some(69), ""), "{}", failed.stderr);
    let words = format!(
        "another fleet-mcp (process {}) runs on the state directory `{}`",
        first.pid(),
        first.state_dir().display()
    );
    assert!(failed.stderr.contains(&words), "{}", failed.stderr);
    assert!(failed.stderr.contains("FLEET_MCP_STATE_DIR"), "{}", failed.stderr);
    assert_eq!(first.get("/mcp/list_agents").bearer(&first.token()).send().status, 200);
    let new = first.rotate();
    assert_eq!(first.token(), new);
}

#[test]
fn a_second_daemon_on_the_same_port_is_refused_and_the_first_goes_on() {
    let first = TestDaemon::start();
    let second = TestDaemon::builder();
    let second = second.env("FLEET_MCP_LISTEN", first.address().to_string());

    let failed = second.fails();

    assert_eq!(failed.code, Some(1), "{}", failed.stderr);
    let words = format!("can't listen on {}", first.address());
    assert!(failed.stderr.contains(&words), "{}", failed.stderr);
    assert_eq!(first.get("/mcp/list_agents").bearer(&first.token()).send().status, 200);
    first.rotate();
}
