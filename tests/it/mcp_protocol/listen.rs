//! `subscriptions/listen`: who listens hears of what it may see, and costs little.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use super::{Client, LEGACY, MODERN, fault, message, meta};
use crate::support::{Control, Stream, TestDaemon, eventually};

const ROUNDS: usize = 10;
/// How soon a stream ends with its token.
const SOON: Duration = Duration::from_millis(50);
/// The shortest time between two notifications of the same thing.
const PAUSE: Duration = Duration::from_millis(500);

impl Client {
    /// A stream on which the server has said what it will tell.
    fn listen(&self, token: &str, wanted: &Value) -> Stream {
        let stream = self.try_listen(token, wanted);
        stream.until("notifications/subscriptions/acknowledged");
        stream
    }

    fn try_listen(&self, token: &str, wanted: &Value) -> Stream {
        let params = json!({"notifications": wanted, "_meta": meta(MODERN)});
        let request = self
            .daemon
            .post("/mcp", message("subscriptions/listen", params).to_string())
            .bearer(token)
            .header("Content-Type", "application/json")
            .header("Accept", "application/json, text/event-stream")
            .header("MCP-Protocol-Version", MODERN)
            .header("Mcp-Method", "subscriptions/listen");
        Stream::open(self.daemon.address(), &request)
    }

    fn delete(&self, name: &str) {
        self.fleetctl(&["agent", "delete", name]);
        let is_gone = || !self.daemon.fleetctl(&["agent", "show", name]).status.success();
        eventually("the agent is gone", || is_gone().then_some(()));
    }

    fn open_streams(&self) -> u64 {
        let text = String::from_utf8(self.daemon.fleetctl(&["metrics"]).stdout).unwrap();
        let line = text.lines().find(|line| line.starts_with("fleet_mcp_http_streams "));
        line.unwrap().rsplit(' ').next().unwrap().parse().unwrap()
    }
}

/// The addresses that were told of, `*` for the list of them.
fn told(events: &[Value]) -> Vec<&str> {
    let notifications = events.iter().filter(|event| event["method"].is_string());
    let after_the_first = notifications.skip(1);
    after_the_first
        .map(|event| {
            let meta = &event["params"]["_meta"];
            assert_eq!(meta["io.modelcontextprotocol/subscriptionId"], 7, "{event}");
            match event["method"].as_str().unwrap() {
                "notifications/resources/updated" => event["params"]["uri"].as_str().unwrap(),
                "notifications/resources/list_changed" => "*",
                other => panic!("{other}"),
            }
        })
        .collect()
}

fn until_told(stream: &Stream, of: &str) {
    eventually(of, || told(&stream.events()).contains(&of).then_some(()));
}

#[test]
fn who_listens_hears_what_is_different_and_of_what_comes_and_goes() {
    let client = Client::of(TestDaemon::builder());
    let fleet = json!({"resourceSubscriptions": ["fleet://agents"]});
    let all = json!({
        "toolsListChanged": true,
        "promptsListChanged": true,
        "resourcesListChanged": true,
        "resourceSubscriptions": [
            "fleet://agents/a", "fleet://agents/a/log", "fleet://agents/other",
            "file:///etc/passwd", "fleet://agents/no name",
        ],
    });
    let (fleet, all) = (client.listen(&client.token, &fleet), client.listen(&client.token, &all));

    client.create("a", "scratch", "say hello");
    until_told(&fleet, "fleet://agents");
    for of in ["*", "fleet://agents/a", "fleet://agents/a/log"] {
        until_told(&all, of);
    }
    client.until_idle("a");
    client.create("b", "scratch", "say hello");
    let before = told(&all.events()).len();
    client.delete("a");
    eventually("its end is told", || {
        let events = all.events();
        let told = &told(&events)[before..];
        ["*", "fleet://agents/a", "fleet://agents/a/log"]
            .iter()
            .all(|of| told.contains(of))
            .then_some(())
    });

    assert!(all.so_far().to_ascii_lowercase().contains("\r\nconnection: close\r\n"));
    let events = all.events();
    let accepted = json!({
        "resourcesListChanged": true,
        "resourceSubscriptions":
            ["fleet://agents/a", "fleet://agents/a/log", "fleet://agents/other"],
    });
    assert_eq!(events[0]["params"]["notifications"], accepted);
    assert!(!told(&events).contains(&"fleet://agents/other"));
    assert!(told(&fleet.events()).iter().all(|of| *of == "fleet://agents"));
}

#[test]
fn nothing_is_told_of_agents_outside_the_projects() {
    let client = Client::of(TestDaemon::builder().config("[projects.web]\n[projects.api]\n"));
    let web = client.daemon.create_token("web", &["--project", "web"]);
    let wanted = json!({
        "resourcesListChanged": true,
        "resourceSubscriptions": [
            "fleet://agents", "fleet://agents/theirs", "fleet://agents/theirs/log",
            "fleet://agents/mine",
        ],
    });
    let (stream, all) = (client.listen(&web, &wanted), client.listen(&client.token, &wanted));

    client.create("theirs", "api", "say hello");
    client.until_idle("theirs");
    client.delete("theirs");
    until_told(&all, "fleet://agents/theirs/log");
    client.create("mine", "web", "say hello");
    until_told(&stream, "fleet://agents/mine");

    let events = stream.events();
    let told = told(&events);
    assert_eq!(told[0], "*", "the first that is heard: {told:?}");
    assert!(!told.iter().any(|of| of.contains("theirs")), "{told:?}");
    assert_eq!(told.iter().filter(|of| **of == "*").count(), 1, "{told:?}");
}

#[test]
fn a_flood_of_lines_is_a_few_notifications_and_its_end_is_told() {
    let client = Client::of(TestDaemon::builder());
    let wanted = json!({"resourceSubscriptions": ["fleet://agents/a/log"]});
    let start = Instant::now();
    let stream = client.listen(&client.token, &wanted);

    client.create("a", "scratch", "stream 3000");
    client.until_idle("a");
    let last = told(&stream.events()).len();
    client.delete("a");
    eventually("the end is told", || (told(&stream.events()).len() > last).then_some(()));

    let most = 2 + start.elapsed().as_millis() / PAUSE.as_millis();
    let told = told(&stream.events()).len() as u128;
    eprintln!("{told} notifications of 3000 pieces in {:?}", start.elapsed());
    assert!((2..=most).contains(&told), "{told} in {:?}", start.elapsed());
}

#[test]
fn revocation_ends_a_stream_at_once_and_without_another_byte() {
    let client = Client::of(TestDaemon::builder());
    let control = Control::at(&client.daemon.control_socket());
    let mut delays = Vec::new();
    for round in 0..ROUNDS {
        let name = format!("t{round}");
        let token = client.daemon.create_token(&name, &[]);
        let stream = client.listen(&token, &json!({"resourcesListChanged": true}));
        let before = stream.so_far();

        let revoked = control.post(&format!("/v1/tokens/{name}/revoke"), &json!({})).unwrap();
        let answered = Instant::now();

        assert_eq!(revoked.status, 200, "{}", revoked.body);
        let (end, came) = stream.end();
        let rest = came.strip_prefix(&before).unwrap();
        assert!(rest.is_empty() || rest == "0\r\n\r\n", "after the revocation: {rest:?}");
        delays.push(end.saturating_duration_since(answered));
    }
    delays.sort_unstable();
    eprintln!("a stream ended after its revocation was answered: {delays:?}");
    // Not the worst: other tests share the machine.
    assert!(delays[ROUNDS / 2] < SOON, "{delays:?}");
    eventually("no place is held", || (client.open_streams() == 0).then_some(()));
}

#[test]
fn a_stream_ends_with_the_expiry_of_its_token() {
    let client = Client::of(TestDaemon::builder());
    let token = client.daemon.create_token("short", &["--expires", "2s"]);
    let stream = client.listen(&token, &json!({"resourcesListChanged": true}));

    let (_, came) = stream.end();

    assert!(!came.contains("resultType"), "{came}");
}

#[test]
fn a_stop_ends_streams_in_order_and_waits_for_none() {
    for supervised in [false, true] {
        let builder = TestDaemon::builder();
        let builder = if supervised { builder.supervised(0) } else { builder };
        let mut client = Client::of(builder);
        let stream = client.listen(&client.token, &json!({"resourcesListChanged": true}));

        let start = Instant::now();
        client.daemon.signal(Signal::SIGTERM);
        let (_, came) = stream.end();
        assert!(client.daemon.wait().success());
        let took = start.elapsed();

        eprintln!("the stop took {took:?}, supervised: {supervised}");
        let events = crate::support::events(&came);
        assert_eq!(events.last().unwrap()["result"]["resultType"], "complete", "{came}");
        assert!(took < Duration::from_secs(3), "{took:?}");
    }
}

#[test]
fn streams_have_places_of_their_own_and_nobody_has_all_of_them() {
    let client = Client::of(
        TestDaemon::builder().config("[http]\nmax_connections = 32\nmax_requests = 2\n"),
    );
    let other = client.daemon.create_token("other", &[]);
    let wanted = json!({"resourcesListChanged": true});
    let first = client.listen(&client.token, &wanted);
    let _second = client.listen(&client.token, &wanted);

    let (_, refused) = client.try_listen(&client.token, &wanted).end();
    let third = client.listen(&other, &wanted);

    assert!(refused.starts_with("HTTP/1.1 503 "), "{refused}");
    assert!(refused.contains("more than 2 streams of notifications at once"), "{refused}");
    assert_eq!(client.open_streams(), 3);
    let served = client.daemon.get("/mcp/list_agents").bearer(&client.token).send();
    assert_eq!(served.status, 200, "streams keep out no request");
    client.fleetctl(&["token", "revoke", "other"]);
    third.end();
    eventually("its place is free", || (client.open_streams() == 2).then_some(()));
    drop(first);
}

#[test]
fn who_may_not_read_or_asks_for_too_much_is_told_so() {
    let client = Client::of(TestDaemon::builder());
    let blind = client.daemon.create_token("blind", &["--scope", "metrics"]);
    let many: Vec<_> = (0..257).map(|number| format!("fleet://agents/a{number}")).collect();

    let (_, refused) = client.listen(&blind, &json!({"resourcesListChanged": true})).end();
    let (_, too_much) = client.listen(&client.token, &json!({"resourceSubscriptions": many})).end();

    assert!(refused.contains("token `blind` lacks the scope `read`"), "{refused}");
    assert!(too_much.contains("more than 256 resources on one stream"), "{too_much}");
}

#[test]
fn older_generations_are_told_that_there_is_no_such_method() {
    let client = Client::of(TestDaemon::builder());

    for version in LEGACY {
        let ask = |method: &str, params: Value| {
            fault(&client.legacy("/mcp", Some(version), method, params), 200)
        };
        assert_eq!(ask("resources/subscribe", json!({"uri": "fleet://agents"})), -32601);
        let wanted = json!({"notifications": {"resourcesListChanged": true}});
        assert_eq!(ask("subscriptions/listen", wanted), -32601);
    }
}
