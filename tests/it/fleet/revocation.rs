//! A wait ends with its token; the agent's work goes on.

use std::time::{Duration, Instant};

use serde_json::json;

use super::{Fleet, builder};
use crate::support::{Control, Stream, events, eventually};

const ROUNDS: usize = 10;
/// How soon a stream ends with its token.
const SOON: Duration = Duration::from_millis(50);

/// `wait_for_agent` over MCP, with progress.
fn wait_over_mcp(fleet: &Fleet) -> Stream {
    let message = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {
        "name": "wait_for_agent",
        "arguments": {"agent_name": "a", "timeout_seconds": 600},
        "_meta": {"progressToken": "steps"},
    }});
    let request = fleet.daemon.post("/mcp", message.to_string()).bearer(&fleet.token);
    let request = request
        .header("Content-Type", "application/json")
        .header("Accept", "application/json, text/event-stream")
        .header("MCP-Protocol-Version", "2025-06-18");
    Stream::open(fleet.daemon.address(), &request)
}

#[test]
fn a_wait_tells_each_step_and_then_the_result() {
    let fleet = Fleet::start(builder(""));
    fleet.create("a", "demo", "slow");
    fleet.until_it_says("a", "0… ");
    let stream = wait_over_mcp(&fleet);
    stream.until("agent `a` is busy");
    fleet.cancel("a");

    let (_, came) = stream.end();
    let events = events(&came);
    let (result, steps) = events.split_last().unwrap();
    assert!(!steps.is_empty());
    for step in steps {
        assert_eq!(step["method"], "notifications/progress");
        assert_eq!(step["params"]["progressToken"], "steps");
    }
    assert_eq!(result["result"]["structuredContent"]["state"], "canceled", "{came}");
    fleet.ends_clean(&["a"]);
}

#[test]
fn rotation_ends_a_wait_at_once_and_without_another_byte() {
    let mut fleet = Fleet::start(builder(""));
    let control = Control::at(&fleet.daemon.control_socket());
    fleet.create("a", "demo", "slow");
    fleet.until_it_says("a", "0… ");
    let mut delays = Vec::new();
    for round in 0..ROUNDS {
        let stream = wait_over_mcp(&fleet);
        stream.until("agent `a` is busy");
        let before = stream.so_far();

        // The command first, then what it does, without the time that a process takes to end.
        fleet.token = if round == 0 { fleet.daemon.rotate() } else { control.rotate().unwrap() };
        let answered = Instant::now();

        let (end, came) = stream.end();
        let rest = came.strip_prefix(&before).unwrap();
        assert!(rest.is_empty() || rest == "0\r\n\r\n", "after the rotation: {rest:?}");
        delays.push(end.saturating_duration_since(answered));
    }
    delays.sort_unstable();
    eprintln!("a wait ended after its rotation was answered: {delays:?}");
    // Not the worst: other tests share the machine.
    assert!(delays[ROUNDS / 2] < SOON, "{delays:?}");

    let agent = fleet.show("a");
    assert_eq!([&agent["status"], &agent["task"]["state"]], ["busy", "running"]);
    let said = fleet.messages("a").len();
    eventually("the agent goes on", || (fleet.messages("a").len() > said).then_some(()));
    fleet.ends_clean(&["a"]);
}

#[test]
fn rotation_ends_a_plain_wait_without_its_result() {
    let mut fleet = Fleet::start(builder(""));
    fleet.create("a", "demo", "slow");
    fleet.until_it_says("a", "0… ");
    let path = "/mcp/wait_for_agent?agent_name=a&timeout_seconds=600";
    let stream = Stream::open(fleet.daemon.address(), &fleet.daemon.get(path).bearer(&fleet.token));
    // Its request is at work: this one came later, and is answered.
    let in_flight = || fleet.call("list_agents", &json!({})).status == 200;
    eventually("another request is answered", || in_flight().then_some(()));

    let old = std::mem::take(&mut fleet.token);
    fleet.token = fleet.daemon.rotate();

    let (_, came) = stream.end();
    assert!(came.is_empty() || came.starts_with("HTTP/1.1 401 "), "{came}");
    assert!(!came.contains("running"), "{came}");
    assert_eq!(fleet.daemon.get(path).bearer(&old).send().status, 401);
    assert_eq!(fleet.show("a")["status"], "busy");
    fleet.cancel("a");
    assert_eq!(fleet.outcome("a"), ["idle", "canceled", "canceled on request"]);
    fleet.ends_clean(&["a"]);
}
