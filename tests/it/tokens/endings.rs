//! However a token ends, what is in flight with it ends too; what was started with it goes on.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpStream,
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use super::{listed, status_with};
use crate::support::{Builder, Control, PATIENCE, Request, TestDaemon, eventually};

/// How soon what is in flight ends with its token.
const SOON: Duration = Duration::from_millis(50);
const ROUNDS: usize = 10;

/// A plain wait for an agent that works on, on a connection of its own: when it ended, and with what.
struct Waiting(JoinHandle<(Instant, String)>);

impl Waiting {
    fn begin(daemon: &TestDaemon, token: Option<&str>) -> Self {
        let before = in_flight(daemon);
        let request = daemon.get("/mcp/wait_for_agent?agent_name=busy&timeout_seconds=600");
        let request = match token {
            Some(token) => request.bearer(token),
            None => request,
        };
        let mut stream = TcpStream::connect(daemon.address()).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(&request.bytes()).unwrap();
        let waiting = thread::spawn(move || {
            let mut answer = String::new();
            stream.read_to_string(&mut answer).unwrap();
            (Instant::now(), answer)
        });
        eventually("the wait is in flight", || (in_flight(daemon) > before).then_some(()));
        Self(waiting)
    }

    fn end(self) -> (Instant, String) {
        self.0.join().unwrap()
    }

    fn is_over(&self) -> bool {
        self.0.is_finished()
    }
}

fn in_flight(daemon: &TestDaemon) -> u64 {
    let text = daemon.fleetctl(&["metrics"]);
    let text = String::from_utf8(text.stdout).unwrap();
    let line = text.lines().find(|line| line.starts_with("fleet_mcp_http_requests_in_flight "));
    line.unwrap().rsplit(' ').next().unwrap().parse().unwrap()
}

fn with_busy_agent(builder: Builder) -> TestDaemon {
    let daemon = builder.env("FLEET_MCP_LOG", "info").start();
    let arguments = ["agent", "create", "busy", "slow", "--project", "scratch", "--role", "demo"];
    assert!(daemon.fleetctl(&arguments).status.success());
    eventually("the agent is busy", || is_busy(&daemon).then_some(()));
    daemon
}

fn is_busy(daemon: &TestDaemon) -> bool {
    let shown = daemon.fleetctl(&["agent", "show", "busy", "--json"]);
    let shown: Value = serde_json::from_slice(&shown.stdout).unwrap();
    shown["agent"]["status"] == "busy"
}

fn is_refused(answer: &str) -> bool {
    answer.starts_with("HTTP/1.1 401 ") && answer.contains("invalid_token")
}

#[test]
fn revocation_ends_a_wait_at_once_and_its_agent_works_on() {
    let daemon = with_busy_agent(TestDaemon::builder());
    let control = Control::at(&daemon.control_socket());
    let mut delays = Vec::new();
    for round in 0..ROUNDS {
        let name = format!("t{round}");
        let token = daemon.create_token(&name, &[]);
        let waiting = Waiting::begin(&daemon, Some(&token));

        let revoked = control.post(&format!("/v1/tokens/{name}/revoke"), &json!({})).unwrap();
        let answered = Instant::now();

        assert_eq!(revoked.status, 200, "{}", revoked.body);
        let (end, answer) = waiting.end();
        assert!(is_refused(&answer), "{answer}");
        delays.push(end.saturating_duration_since(answered));
        assert_eq!(status_with(&daemon, &token), 401);
    }
    delays.sort_unstable();
    eprintln!("a wait ended after its revocation was answered: {delays:?}");
    // Not the worst: other tests share the machine.
    assert!(delays[ROUNDS / 2] < SOON, "{delays:?}");
    assert!(is_busy(&daemon), "what was started with a token goes on");
    daemon.log_line("event=token_revoked");
    daemon.log_line(" reason=revoked ");
}

#[test]
fn expiry_and_the_end_of_an_overlap_end_a_wait_too() {
    let daemon = with_busy_agent(TestDaemon::builder());
    let short = daemon.create_token("short", &["--expires", "3s"]);
    let old = daemon.create_token("ci", &[]);
    let waits = [&short, &old].map(|token| Waiting::begin(&daemon, Some(token)));
    let new = daemon.secret_of(&["token", "rotate", "ci", "--grace", "2s"]);
    let lasting = Waiting::begin(&daemon, Some(&new));

    let answers = waits.map(|wait| wait.end().1);

    assert!(answers.iter().all(|answer| is_refused(answer)), "{answers:?}");
    assert_eq!([&short, &old, &new].map(|token| status_with(&daemon, token)), [401, 401, 200]);
    let states: Vec<_> =
        listed(&daemon).iter().map(|row| row["state"].as_str().unwrap().to_owned()).collect();
    assert_eq!(states, ["current", "replaced", "current", "expired"]);
    assert!(!lasting.is_over() && is_busy(&daemon));
    daemon.log_line("a secret of token `short` ended: it has expired");
    daemon.log_line("a secret of token `ci` ended: its overlap is over");
    daemon.log_line(" reason=expired ");
    daemon.secret_of(&["token", "rotate", "ci"]);
    assert!(is_refused(&lasting.end().1));
}

#[test]
fn turning_authentication_on_ends_what_came_in_without_a_right_to() {
    let daemon = TestDaemon::builder()
        .without_env("FLEET_MCP_AUTH_ENABLED")
        .config("auth.enabled = false\n");
    let daemon = with_busy_agent(daemon);
    let rotated_away = daemon.rotate();
    let good = daemon.create_token("good", &[]);
    let waits = [None, Some("x"), Some(&*rotated_away)].map(|token| Waiting::begin(&daemon, token));
    let lasting = Waiting::begin(&daemon, Some(&good));
    daemon.rotate();
    assert!(!waits.iter().any(Waiting::is_over), "authentication is off");

    fs::write(daemon.home().join(".config/fleet-mcp/config.toml"), "auth.enabled = true\n")
        .unwrap();
    assert!(daemon.fleetctl(&["reload"]).status.success());

    let answers = waits.map(|wait| wait.end().1);
    let is_401 = |answer: &String| answer.starts_with("HTTP/1.1 401 ");
    assert!(answers.iter().all(is_401), "{answers:?}");
    assert!(answers[0].contains("missing_token"), "{}", answers[0]);
    assert!(!lasting.is_over() && is_busy(&daemon));
    daemon.fleetctl(&["token", "revoke", "good"]);
    assert!(is_refused(&lasting.end().1));
}

#[test]
fn a_mcp_stream_ends_with_the_expiry_of_its_token() {
    let daemon = with_busy_agent(TestDaemon::builder());
    let token = daemon.create_token("short", &["--expires", "2s"]);
    let message = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {
        "name": "wait_for_agent",
        "arguments": {"agent_name": "busy", "timeout_seconds": 600},
        "_meta": {"progressToken": "steps"},
    }});
    let request = Request::new(daemon.address(), "POST", "/mcp").body(message.to_string());
    let request = request
        .bearer(&token)
        .header("Content-Type", "application/json")
        .header("Accept", "application/json, text/event-stream")
        .header("MCP-Protocol-Version", "2025-06-18");
    let mut stream = TcpStream::connect(daemon.address()).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(&request.bytes()).unwrap();

    let mut came = Vec::new();
    let _ = stream.read_to_end(&mut came);

    let came = String::from_utf8_lossy(&came);
    assert!(came.contains("agent `busy` is busy"), "it was a stream: {came}");
    assert!(!came.contains("structuredContent"), "{came}");
    assert_eq!(status_with(&daemon, &token), 401);
}
