//! `/metrics` and `fleetctl metrics`: what happened is counted, and only by closed lists of labels.

use crate::support::{TestDaemon, eventually, stdout};

const CONFIG: &str = r#"
[agents.echo]
driver = "command"
command = "true"
[roles.echo]
agent = "echo"
"#;

/// The value of a sample, by its name with labels.
fn value(text: &str, sample: &str) -> Option<f64> {
    let line = text.lines().find_map(|line| line.strip_prefix(sample)?.strip_prefix(' '));
    line.map(|value| value.parse().unwrap())
}

fn metrics(daemon: &TestDaemon) -> String {
    let output = daemon.fleetctl(&["metrics"]);
    assert!(output.status.success());
    stdout(&output).to_owned()
}

#[test]
fn what_happened_is_counted() {
    let daemon = TestDaemon::builder().config(CONFIG).start();
    let token = daemon.token();
    for _ in 0..3 {
        assert_eq!(daemon.get("/mcp/list_agents").send().status, 401);
    }
    assert_eq!(daemon.get("/health").send().status, 200);
    assert_eq!(daemon.get("/no/such/path").bearer(&token).send().status, 404);
    let task = r#"{"name":"sony","project":"scratch","role":"echo","task":"x"}"#;
    assert_eq!(daemon.post("/mcp/create_agent", task).bearer(&token).send().status, 200);
    let unknown = daemon.get("/mcp/show_agent?agent_name=nobody").bearer(&token).send();
    assert_eq!(unknown.status, 404, "{}", unknown.body);

    let text = eventually("the task is counted as done", || {
        let text = metrics(&daemon);
        let done = value(&text, "fleet_mcp_tasks_ended_total{outcome=\"done\"}");
        (done == Some(1.0)).then_some(text)
    });

    for (sample, expected) in [
        ("fleet_mcp_http_requests_total{route=\"tool\",status=\"401\"}", 3.0),
        ("fleet_mcp_http_requests_total{route=\"tool\",status=\"200\"}", 1.0),
        ("fleet_mcp_http_requests_total{route=\"other\",status=\"404\"}", 1.0),
        ("fleet_mcp_tool_calls_total{tool=\"create_agent\",outcome=\"ok\"}", 1.0),
        ("fleet_mcp_tool_calls_total{tool=\"create_agent\",outcome=\"error\"}", 0.0),
        ("fleet_mcp_tool_calls_total{tool=\"show_agent\",outcome=\"error\"}", 1.0),
        ("fleet_mcp_http_request_duration_seconds_count{route=\"health\"}", 1.0),
        ("fleet_mcp_http_requests_in_flight", 0.0),
        ("fleet_mcp_http_streams", 0.0),
        ("fleet_mcp_auth_refusals_total{reason=\"missing_token\"}", 3.0),
        ("fleet_mcp_auth_enforced", 1.0),
        ("fleet_mcp_token_secrets", 1.0),
        ("fleet_mcp_agents{status=\"idle\"}", 1.0),
        ("fleet_mcp_tasks{status=\"running\"}", 0.0),
        ("fleet_mcp_tasks_started_total", 1.0),
        ("fleet_mcp_events_dropped_total", 0.0),
    ] {
        assert_eq!(value(&text, sample), Some(expected), "{sample}\n{text}");
    }
    let at_least_one =
        ["fleet_mcp_store_calls_total", "process_open_fds", "fleet_mcp_events_recorded_total"];
    for sample in at_least_one {
        assert!(value(&text, sample) >= Some(1.0), "{sample}\n{text}");
    }
}

#[test]
fn both_planes_give_the_same_in_the_format_that_is_asked_for() {
    let daemon = TestDaemon::start();
    let token = daemon.token();

    let plain = daemon.get("/metrics").bearer(&token).send();
    let accept = "application/openmetrics-text;version=1.0.0,text/plain;q=0.5";
    let open = daemon.get("/metrics").bearer(&token).header("Accept", accept).send();

    let types = |text: &str| text.lines().filter(|line| line.starts_with("# TYPE")).count();
    assert_eq!(plain.status, 200);
    let kind = plain.header("content-type").unwrap();
    assert!(kind.starts_with("text/plain; version=0.0.4"), "{kind}");
    assert_eq!(types(&plain.body), types(&metrics(&daemon)));
    let kind = open.header("content-type").unwrap();
    assert!(kind.starts_with("application/openmetrics-text"), "{kind}");
    assert!(open.body.ends_with("# EOF\n"));
}

#[test]
fn metrics_want_a_token_and_change_nothing() {
    let daemon = TestDaemon::start();

    assert_eq!(daemon.get("/metrics").send().status, 401);
    assert_eq!(daemon.post("/metrics", "{}").bearer(&daemon.token()).send().status, 405);
}

#[test]
fn nothing_from_outside_makes_the_answer_grow() {
    let daemon = TestDaemon::start();
    let token = daemon.token();
    let probe = |n: usize| {
        daemon.get(&format!("/probe-{n}")).header("User-Agent", format!("agent-{n}")).send();
        daemon.get(&format!("/mcp/tool-{n}")).bearer(&token).send();
    };
    probe(0);
    let before = metrics(&daemon).lines().count();

    (1..50).for_each(probe);

    let after = metrics(&daemon);
    assert_eq!(after.lines().count(), before);
    assert!(!after.contains("probe-") && !after.contains("tool-"), "{after}");
}

#[test]
fn a_body_that_is_too_large_is_a_limit_that_was_met() {
    let daemon = TestDaemon::builder().env("FLEET_MCP_HTTP_MAX_BODY_BYTES", "1KiB").start();
    let large = format!("{{\"name\":\"{}\"}}", "x".repeat(2000));

    let answer = daemon.post("/mcp/create_agent", large).bearer(&daemon.token()).send();

    assert_eq!(answer.status, 413);
    let met = value(&metrics(&daemon), "fleet_mcp_http_limits_met_total{limit=\"body_size\"}");
    assert_eq!(met, Some(1.0));
}
