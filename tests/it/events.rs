//! What has happened is found later: over restarts, after a kill, in both trails.

use std::{
    io::{BufRead as _, BufReader},
    process::Stdio,
    sync::{Arc, Mutex},
};

use serde_json::Value;

use crate::support::{
    Control, Running, SmallDisk, TestDaemon, eventually, left_out_without_root, stderr, stdout,
};

const CONFIG: &str = r#"
[agents.echo]
driver = "command"
command = "true"
[roles.echo]
agent = "echo"
"#;

const TASK: &str = r#"{"name":"sony","project":"scratch","role":"echo","task":"x"}"#;

/// `fleetctl events --json …`
fn events(daemon: &TestDaemon, arguments: &[&str]) -> Vec<Value> {
    let output = daemon.fleetctl(&[&["events", "--json"], arguments].concat());
    assert!(output.status.success(), "{}", stderr(&output));
    stdout(&output).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn words(events: &[Value]) -> Vec<&str> {
    events.iter().map(|event| event["event"].as_str().unwrap()).collect()
}

/// The first event that fits; waits for it.
fn event(daemon: &TestDaemon, arguments: &[&str], word: &str) -> Value {
    eventually(word, || events(daemon, arguments).into_iter().find(|event| event["event"] == word))
}

/// A fleet whose agent has done its task.
fn with_an_agent() -> TestDaemon {
    let daemon = TestDaemon::builder().config(CONFIG).start();
    let created = daemon.post("/mcp/create_agent", TASK).bearer(&daemon.token()).send();
    assert_eq!(created.status, 200, "{}", created.body);
    eventually("the task is done", || {
        let done = |event: &Value| event["fields"]["task_state"] == "done";
        events(&daemon, &[]).iter().any(done).then_some(())
    });
    daemon
}

#[test]
fn a_call_that_changes_something_is_found_by_token_agent_and_time_after_a_restart() {
    let daemon = with_an_agent().restart();

    let found = events(&daemon, &["--audit", "--since", "2h", "--token", "default"]);

    let call = found.iter().find(|event| event["event"] == "tool_called").unwrap();
    assert_eq!((&call["agent"], &call["token"]), (&"sony".into(), &"default".into()));
    let fields = &call["fields"];
    for (name, value) in
        [("tool", "create_agent"), ("by", "default"), ("outcome", "ok"), ("client_ip", "127.0.0.1")]
    {
        assert_eq!(fields[name], value, "{call}");
    }
    assert!(fields["duration_ms"].is_string() && fields["request_id"].is_string(), "{call}");
    assert_eq!(words(&found)[..2], ["token_created", "token_first_used"]);
    assert_eq!(events(&daemon, &["--audit", "--agent", "sony"]), std::slice::from_ref(call));
    assert!(events(&daemon, &["--audit", "--agent", "other"]).is_empty());
    let changes = events(&daemon, &["--agent", "sony"]);
    assert!(changes.iter().all(|event| event["event"] == "agent_changed") && changes.len() >= 2);
    assert!(events(&daemon, &["--since", "2999-01-01"]).is_empty());
}

#[test]
fn starts_stops_and_reloads_are_events_and_a_kill_leaves_none() {
    let mut daemon = TestDaemon::builder().auth(false).config("").start();
    daemon.fleetctl(&["reload"]);
    let config = daemon.home().join(".config/fleet-mcp/config.toml");
    std::fs::write(&config, "http.max_requests = 0").unwrap();
    daemon.fleetctl(&["reload"]);
    event(&daemon, &["--audit"], "reload_refused");
    std::fs::write(&config, "").unwrap();
    daemon.kill();

    let daemon = daemon.restart().restart();

    let all = events(&daemon, &["--audit"]);
    assert_eq!(
        words(&all),
        [
            "daemon_started",
            "configuration_reloaded",
            "reload_refused",
            "daemon_started",
            "daemon_stopped",
            "daemon_started"
        ]
    );
    let ids: Vec<_> = all.iter().map(|event| event["id"].as_i64().unwrap()).collect();
    assert!(ids.is_sorted() && ids[0] > 0, "{ids:?}");
    assert!(all[2]["message"].as_str().unwrap().contains("max_requests"), "{}", all[2]);
}

#[test]
fn authentication_turned_on_by_a_reload_is_an_event() {
    let off = "[auth]\nenabled = false\n";
    let builder = TestDaemon::builder().without_env("FLEET_MCP_AUTH_ENABLED").config(off);
    let daemon = builder.start();
    let config = daemon.home().join(".config/fleet-mcp/config.toml");
    std::fs::write(config, off.replace("false", "true")).unwrap();

    daemon.fleetctl(&["reload"]);

    event(&daemon, &["--audit"], "authentication_enabled");
}

#[test]
fn a_flood_of_refused_requests_is_sampled_and_its_counts_add_up() {
    const REQUESTS: i64 = 137;
    let daemon = TestDaemon::start();
    for _ in 0..REQUESTS {
        daemon.get("/mcp/list_agents").send();
    }

    let daemon = daemon.restart();

    let all = events(&daemon, &["--audit"]);
    let refused: Vec<_> = all.iter().filter(|event| event["trail"] == "refusals").collect();
    let counts = refused.iter().map(|event| match event["event"].as_str().unwrap() {
        "refusals_summed_up" => event["fields"]["count"].as_str().unwrap().parse().unwrap(),
        "auth_failure" => 1,
        other => panic!("{other}"),
    });
    assert_eq!(counts.sum::<i64>(), REQUESTS);
    assert!(refused.len() <= 30, "{} events", refused.len());
}

#[test]
fn who_follows_goes_on_after_a_restart_without_gap_or_repetition() {
    let daemon = with_an_agent();
    let before = events(&daemon, &[]);
    let (_follower, lines) = follow(&daemon);
    eventually("it has caught up", || (lines.lock().unwrap().len() == before.len()).then_some(()));

    let daemon = daemon.restart();
    let deleted = daemon.post("/mcp/delete_agent", r#"{"agent_name":"sony"}"#);
    assert_eq!(deleted.bearer(&daemon.token()).send().status, 200);

    let seen = eventually("the agent is seen to be gone", || {
        let seen = lines.lock().unwrap().clone();
        let gone = |event: &Value| event["fields"]["agent_status"] == "gone";
        seen.iter().any(gone).then_some(seen)
    });
    assert_eq!(seen, events(&daemon, &[]));
}

/// `fleetctl events -f --json`, and what it has printed.
fn follow(daemon: &TestDaemon) -> (Running, Arc<Mutex<Vec<Value>>>) {
    let mut command = daemon.how().command(env!("CARGO_BIN_EXE_fleetctl"));
    command.args(["events", "-f", "--json"]).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut follower = Running::start(&mut command);
    let lines = Arc::<Mutex<Vec<Value>>>::default();
    let seen = Arc::clone(&lines);
    let stdout = BufReader::new(follower.0.stdout.take().unwrap());
    std::thread::spawn(move || {
        for line in stdout.lines().map_while(Result::ok) {
            seen.lock().unwrap().push(serde_json::from_str(&line).unwrap());
        }
    });
    (follower, lines)
}

#[test]
fn a_wrong_time_or_limit_is_refused_with_what_is_right() {
    let daemon = TestDaemon::start();

    let output = daemon.fleetctl(&["events", "--since", "soon"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("how long ago"), "{}", stderr(&output));
    let output = daemon.fleetctl(&["events", "--token", "default"]);
    assert_eq!(output.status.code(), Some(2));
    let control = Control::at(&daemon.control_socket());
    for (query, right) in [("limit=0", "1 to 1000"), ("wait=31", "30"), ("since=x", "since")] {
        let answer = control.ask("GET", &format!("/v1/events?{query}"), "").unwrap();
        assert_eq!(answer.status, 400, "{query}: {}", answer.body);
        assert!(answer.body.contains(right), "{query}: {}", answer.body);
    }
}

#[test]
fn events_wait_for_a_full_disk_while_requests_do_not() {
    if left_out_without_root("a full disk (mounts a small tmpfs)") {
        return;
    }
    let disk = SmallDisk::mount();
    let daemon = TestDaemon::builder().env("FLEET_MCP_STATE_DIR", disk.path()).start();
    let filler = disk.fill();
    for _ in 0..3 {
        assert_eq!(daemon.get("/mcp/list_agents").send().status, 401);
    }
    daemon.log_line("events wait");

    std::fs::remove_file(filler).unwrap();

    let refused = |event: &&Value| event["event"] == "auth_failure";
    eventually("all three are recorded", || {
        let all = events(&daemon, &["--audit"]);
        (all.iter().filter(refused).count() == 3).then_some(())
    });
}
