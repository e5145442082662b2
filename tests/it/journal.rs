//! Under the journal: exactly the fields of the design, one entry for each refused request, nothing
//! from outside that could pass for a field of ours, and never a request that waits for the log.

use std::time::Instant;

use nix::sys::signal::Signal;

use crate::support::{Fields, Journal, Kept, TestDaemon, eventually, journal_field};

fn value<'a>(fields: &'a Fields, name: &str) -> &'a str {
    journal_field(fields, name).unwrap_or_else(|| panic!("no {name} in {fields:?}"))
}

fn names(fields: &Fields) -> Vec<&str> {
    fields.iter().map(|(name, _)| &**name).collect()
}

/// One entry was told so far, and it is whole.
fn the_only_failure(journal: &Journal, daemon: &TestDaemon) -> Fields {
    let (_, fields) = journal.event("auth_failure");
    // Whatever else the request leads to is in the journal before this.
    daemon.fleetctl(&["reload"]);
    eventually("the reload is told", || {
        let told = |fields: &Fields| value(fields, "MESSAGE") == "Configuration reloaded";
        journal.entries().iter().any(told).then_some(())
    });
    assert_eq!(journal.events("auth_failure").len(), 1);
    let mentions = |fields: &Fields| value(fields, "MESSAGE").starts_with("401 ");
    assert_eq!(journal.entries().iter().filter(|fields| mentions(fields)).count(), 1);
    fields
}

#[test]
fn refused_request_is_one_entry_with_exactly_the_fields_of_the_design() {
    let (journal, builder) = Journal::of(TestDaemon::builder());
    let daemon = builder.start();
    let wrong = "w".repeat(43);

    let request = daemon.post("/mcp", "{}").bearer(&wrong).header("User-Agent", "probe/1.0");
    let answer = request.send();
    let answered = Instant::now();
    let (arrived, _) = journal.event("auth_failure");

    eprintln!("in the journal {:?} after the answer", arrived.saturating_duration_since(answered));
    let fields = the_only_failure(&journal, &daemon);
    assert_eq!(
        names(&fields),
        [
            "MESSAGE",
            "PRIORITY",
            "SYSLOG_IDENTIFIER",
            "MESSAGE_ID",
            "FLEET_EVENT",
            "FLEET_REASON",
            "FLEET_STATUS",
            "FLEET_CLIENT_IP",
            "FLEET_CLIENT_PORT",
            "FLEET_METHOD",
            "FLEET_PATH",
            "FLEET_USER_AGENT",
            "FLEET_TOKEN_FINGERPRINT",
            "FLEET_REQUEST_ID",
        ]
    );
    for (name, expected) in [
        ("MESSAGE", "401 invalid_token from 127.0.0.1: POST /mcp"),
        ("PRIORITY", "4"),
        ("SYSLOG_IDENTIFIER", "fleet-mcp"),
        ("MESSAGE_ID", "d2f6ea4b7e0c4b4f9a2f3c1f5b8e6a01"),
        ("FLEET_EVENT", "auth_failure"),
        ("FLEET_REASON", "invalid_token"),
        ("FLEET_STATUS", "401"),
        ("FLEET_CLIENT_IP", "127.0.0.1"),
        ("FLEET_METHOD", "POST"),
        ("FLEET_PATH", "/mcp"),
        ("FLEET_USER_AGENT", "probe/1.0"),
        // printf %043d 0 | tr 0 w | sha256sum | head -c 8
        ("FLEET_TOKEN_FINGERPRINT", "93147f94"),
        ("FLEET_REQUEST_ID", answer.header("x-request-id").unwrap()),
    ] {
        assert_eq!(value(&fields, name), expected, "{name}");
    }
    assert!(value(&fields, "FLEET_CLIENT_PORT").parse::<u16>().is_ok());
    journal.has_no(&wrong);
    journal.has_no(&daemon.token());
    assert_eq!(journal.stderr(), "", "the journal has it; nothing goes to standard error");
}

#[test]
fn nothing_presented_means_no_fingerprint_and_no_agent_means_no_agent() {
    let (journal, builder) = Journal::of(TestDaemon::builder());
    let daemon = builder.start();

    daemon.get("/mcp/list_agents?secret=1").send();

    let fields = the_only_failure(&journal, &daemon);
    assert_eq!(value(&fields, "FLEET_REASON"), "missing_token");
    assert_eq!(value(&fields, "FLEET_PATH"), "/mcp/list_agents", "the query is nobody's business");
    assert_eq!(journal_field(&fields, "FLEET_TOKEN_FINGERPRINT"), None);
    assert_eq!(journal_field(&fields, "FLEET_USER_AGENT"), None);
}

#[test]
fn nothing_from_outside_forges_a_field_or_steers_a_terminal() {
    let long = format!("/{}", "p".repeat(9000));
    let table: [(&str, &[u8]); 7] = [
        ("/a%0APRIORITY=0%0AMESSAGE=forged", b"x"),
        ("/x", b"agent\\nPRIORITY=0 FLEET_CLIENT_IP=6.6.6.6"),
        ("/from%20203.0.113.66:", b"401 invalid_token from 203.0.113.66: GET /"),
        ("/x", b"\xe2\x80\xaeesrever\xff\xfe"),
        ("/x", b"tab\there"),
        ("/\"quoted\"=x", b"\"; FLEET_STATUS=200"),
        (&long, b"long"),
    ];
    for (path, agent) in table {
        let (journal, builder) = Journal::of(TestDaemon::builder());
        let daemon = builder.start();

        let answer = daemon.get(path).header("User-Agent", agent).send();

        assert_eq!(answer.status, 401, "{path}");
        let fields = the_only_failure(&journal, &daemon);
        assert_eq!(value(&fields, "PRIORITY"), "4");
        assert_eq!(value(&fields, "FLEET_CLIENT_IP"), "127.0.0.1");
        assert_eq!(value(&fields, "FLEET_STATUS"), "401");
        let message = value(&fields, "MESSAGE");
        assert!(message.starts_with("401 missing_token from 127.0.0.1: GET /"), "{message}");
        assert!(message.len() < 256, "{message}");
        for (name, value) in &fields {
            assert!(value.len() <= 2048, "{name} has {} bytes", value.len());
            let harmful = |c: char| c.is_control() || ('\u{202a}'..='\u{202e}').contains(&c);
            assert!(!value.contains(harmful), "{name}: {value:?}");
        }
    }
}

#[test]
fn bytes_that_are_no_header_never_reach_the_journal() {
    let (journal, builder) = Journal::of(TestDaemon::builder());
    let daemon = builder.start();

    for agent in ["a\r PRIORITY=0", "a\u{1b}[2Jb", "a\0b"] {
        let mut raw = Kept::open(daemon.address());
        raw.write(&format!("GET /mcp HTTP/1.1\r\nHost: x\r\nUser-Agent: {agent}\r\n\r\n")).unwrap();
        let answer = raw.rest();

        assert!(answer.starts_with(b"HTTP/1.1 400 "), "{:?}", String::from_utf8_lossy(&answer));
    }
    daemon.get("/mcp").send();
    the_only_failure(&journal, &daemon);
    let forged = |fields: &Fields| value(fields, "PRIORITY") == "0";
    assert!(!journal.entries().iter().any(forged));
}

#[test]
fn a_hundred_refused_requests_are_ten_entries_and_one_sum() {
    let (journal, builder) = Journal::of(TestDaemon::builder());
    let mut daemon = builder.start();
    let mut client = Kept::open(daemon.address());

    for _ in 0..100 {
        assert_eq!(client.get("/mcp/list_agents", None).unwrap().status, 401);
    }
    let counted = daemon.status()["refused"][0].clone();
    daemon.signal(Signal::SIGTERM);
    daemon.wait();

    eventually("the end is told", || {
        let told = |fields: &Fields| value(fields, "MESSAGE") == "Server stopped";
        journal.entries().iter().any(told).then_some(())
    });
    assert_eq!(journal.events("auth_failure").len(), 10);
    let sums = journal.events("refusals_summed_up");
    assert_eq!(sums.len(), 1);
    assert_eq!(value(&sums[0], "FLEET_COUNT"), "90");
    assert_eq!(value(&sums[0], "FLEET_SOURCE"), "127.0.0.1");
    assert_eq!(value(&sums[0], "FLEET_REASON"), "missing_token");
    assert_eq!(value(&sums[0], "PRIORITY"), "4");
    assert!(
        value(&sums[0], "MESSAGE").starts_with("90 more requests refused from 127.0.0.1 since")
    );
    assert_eq!(counted, serde_json::json!({"name": "missing_token", "count": 100}));
}

#[test]
fn what_happens_to_tokens_are_events_without_the_token() {
    let (journal, builder) = Journal::of(TestDaemon::builder());
    let daemon = builder.start();
    let old = daemon.token();

    daemon.get("/mcp/list_agents").bearer(&old).send();
    let new = daemon.rotate();
    daemon.fleetctl(&["token", "show"]);

    for (event, id) in [
        ("token_created", "d2f6ea4b7e0c4b4f9a2f3c1f5b8e6a05"),
        ("token_first_used", "d2f6ea4b7e0c4b4f9a2f3c1f5b8e6a07"),
        ("token_rotated", "d2f6ea4b7e0c4b4f9a2f3c1f5b8e6a06"),
        ("token_shown", "d2f6ea4b7e0c4b4f9a2f3c1f5b8e6a08"),
    ] {
        let (_, fields) = journal.event(event);
        assert_eq!(value(&fields, "MESSAGE_ID"), id);
        assert_eq!(value(&fields, "PRIORITY"), "6");
        assert_eq!(value(&fields, "FLEET_TOKEN"), "default");
        assert_eq!(journal_field(&fields, "FLEET_TARGET"), None);
    }
    let by = value(&journal.event("token_rotated").1, "FLEET_BY").to_owned();
    assert!(by.contains(&nix::unistd::geteuid().to_string()), "{by}");
    journal.has_no(&old);
    journal.has_no(&new);
}

#[test]
fn ordinary_entries_carry_their_target_and_priority() {
    let (journal, builder) = Journal::of(TestDaemon::builder());
    let _daemon = builder.start();

    let started = eventually("the start is told", || {
        let told = |fields: &Fields| value(fields, "MESSAGE").starts_with("Server started on http");
        journal.entries().into_iter().find(told)
    });

    assert_eq!(value(&started, "PRIORITY"), "6");
    assert_eq!(value(&started, "SYSLOG_IDENTIFIER"), "fleet-mcp");
    assert!(value(&started, "FLEET_TARGET").starts_with("fleet_mcp::"));
}

#[test]
fn no_filter_holds_security_events_back() {
    for filter in ["error", "off"] {
        let (journal, builder) = Journal::of(TestDaemon::builder().env("FLEET_MCP_LOG", filter));
        let daemon = builder.start();

        daemon.get("/mcp/list_agents").send();
        daemon.rotate();

        for event in ["token_created", "auth_failure", "token_rotated"] {
            journal.event(event);
        }
        let ordinary = |fields: &Fields| journal_field(fields, "FLEET_EVENT").is_none();
        assert!(!journal.entries().iter().any(ordinary), "{filter}");
    }
}

#[test]
fn journal_that_hangs_never_holds_up_a_request_or_the_end() {
    let (journal, builder) = Journal::that_hangs(TestDaemon::builder());
    let mut daemon = builder.env("FLEET_MCP_LOG", "info").start();
    let mut client = Kept::open(daemon.address());

    let start = Instant::now();
    for token in [None, Some("wrong")].iter().cycle().take(500) {
        assert_eq!(client.get("/mcp/list_agents", *token).unwrap().status, 401);
    }
    for _ in 0..30 {
        daemon.rotate();
    }
    eprintln!("500 refusals and 30 rotations: {:?}", start.elapsed());

    let refused = daemon.status()["refused"].to_string();
    assert!(refused.contains(r#"{"name":"missing_token","count":250}"#), "{refused}");
    daemon.signal(Signal::SIGTERM);
    assert!(daemon.wait().success());
    assert!(journal.socket().exists());
}

#[test]
fn without_a_journal_that_is_ours_lines_go_to_standard_error() {
    let stream = "1:1";
    let daemon = TestDaemon::builder().env("JOURNAL_STREAM", stream).start();

    daemon.get("/mcp/list_agents").send();

    daemon.log_line("WARNING - 401 missing_token from 127.0.0.1: GET /mcp/list_agents");
}

#[test]
fn journal_that_is_gone_is_replaced_by_standard_error() {
    let (journal, builder) = Journal::of(TestDaemon::builder());
    let daemon = builder.start();
    std::fs::remove_file(journal.socket()).unwrap();

    daemon.get("/mcp/list_agents").send();

    let line = eventually("the line is on standard error", || {
        journal.stderr().lines().find(|line| line.contains("401 ")).map(str::to_owned)
    });
    assert!(line.contains("WARNING - 401 missing_token from 127.0.0.1"), "{line}");
}
