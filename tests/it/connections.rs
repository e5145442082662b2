//! Connections that dawdle, rest, crowd or talk nonsense.

use crate::support::{TestDaemon, Wire, eventually};

const HEALTH: &str = "GET /health HTTP/1.1\r\nHost: a\r\n\r\n";
const KIB: usize = 1024;

/// A header of a request with a token; the length line and the body are yet to come.
fn post(token: &str) -> String {
    format!("POST /mcp/list_agents HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {token}\r\n")
}

/// The code of an error in the plain form.
fn code(response: &crate::support::Response) -> String {
    response.json()["error"]["code"].as_str().unwrap().to_owned()
}

#[test]
fn a_slow_header_ends_its_connection_and_a_resting_connection_lives_longer() {
    let daemon = TestDaemon::builder()
        .env("FLEET_MCP_HTTP_HEADER_TIMEOUT", "300ms")
        .env("FLEET_MCP_HTTP_IDLE_TIMEOUT", "4s")
        .start();
    let mut resting = Wire::connect(daemon.address());
    assert_eq!(resting.send(HEALTH).answer().status, 200);

    let silent = Wire::connect(daemon.address());
    let mut slow = Wire::connect(daemon.address());
    slow.send("GET /health HTTP/1.1\r\nHost:");
    let mut slow_again = Wire::connect(daemon.address());
    assert_eq!(slow_again.send(HEALTH).answer().status, 200);
    slow_again.send("GET /hea");

    silent.ends();
    slow.vanishes();
    slow_again.vanishes();
    assert_eq!(resting.send(HEALTH).answer().status, 200);
    resting.ends();
}

#[test]
fn bytes_now_and_then_do_not_prolong_a_header() {
    let daemon = TestDaemon::builder().env("FLEET_MCP_HTTP_HEADER_TIMEOUT", "300ms").start();
    let mut slow = Wire::connect(daemon.address());
    slow.send("GET /health HTTP/1.1\r\nX: ");

    eventually("the server ends the connection", || slow.try_send("x").err());
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let daemon = TestDaemon::start();
    let token = daemon.token();
    let mut wire = Wire::connect(daemon.address());
    let call = |arguments: &str| {
        format!("{}Content-Length: {}\r\n\r\n{arguments}", post(&token), arguments.len())
    };

    wire.send(
        [HEALTH, &call("{}"), &call("[]"), "GET /nope HTTP/1.1\r\nHost: a\r\n\r\n", HEALTH]
            .concat(),
    );

    let answers: Vec<_> = (0..5).map(|_| wire.answer()).collect();
    let statuses: Vec<_> = answers.iter().map(|answer| answer.status).collect();
    assert_eq!(statuses, [200, 200, 400, 401, 200]);
    assert_eq!(answers[0].body, answers[4].body);
    assert_eq!(answers[1].body, r#"{"agents":[],"total_count":0}"#);
}

#[test]
fn a_request_may_come_byte_by_byte() {
    let daemon = TestDaemon::start();
    let mut wire = Wire::connect(daemon.address());

    for byte in HEALTH.bytes() {
        wire.send([byte]);
    }

    assert_eq!(wire.answer().status, 200);
}

#[test]
fn an_oversize_header_is_answered_whole() {
    let daemon = TestDaemon::start();
    let many: String = (0..500).map(|n| format!("X-{n}: x\r\n")).collect();
    let long = format!("X: {}\r\n", "x".repeat(1024 * KIB));
    let target = format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(1024 * KIB));

    for request in [&many, &long].map(|header| format!("GET /health HTTP/1.1\r\n{header}\r\n")) {
        let mut wire = Wire::connect(daemon.address());
        assert_eq!(wire.send(request).answer().status, 431);
        wire.half_close();
        wire.ends();
    }
    let mut wire = Wire::connect(daemon.address());
    let status = wire.send(target).answer().status;
    assert!([414, 431].contains(&status), "{status}");
    assert_eq!(daemon.get("/health").send().status, 200);
}

#[test]
fn a_body_over_the_limit_is_answered_whole() {
    let daemon = TestDaemon::builder().env("FLEET_MCP_HTTP_MAX_BODY_BYTES", "100 KiB").start();
    let header = post(&daemon.token());
    let body = |length: usize| [b"{}".as_slice(), &vec![b' '; length - 2]].concat();
    let declared = |length: usize| {
        [format!("{header}Content-Length: {length}\r\n\r\n").as_bytes(), &body(length)].concat()
    };
    let chunked = |length: usize| {
        let head = format!("{header}Transfer-Encoding: chunked\r\n\r\n{length:x}\r\n");
        [head.as_bytes(), &body(length), b"\r\n0\r\n\r\n"].concat()
    };

    for request in [declared(100 * KIB), chunked(100 * KIB)] {
        let mut wire = Wire::connect(daemon.address());
        assert_eq!(wire.send(request).answer().status, 200);
        assert_eq!(wire.send(HEALTH).answer().status, 200);
    }
    for length in [100 * KIB + 1, 5 * 1024 * KIB] {
        for request in [declared(length), chunked(length)] {
            let mut wire = Wire::connect(daemon.address());
            let response = wire.send(request).answer();
            assert_eq!((response.status, code(&response).as_str()), (413, "INVALID_INPUT"));
            assert_eq!(response.header("connection"), Some("close"));
            wire.half_close();
            wire.ends();
        }
    }
}

#[test]
fn the_body_limit_holds_for_mcp_too() {
    let daemon = TestDaemon::builder().env("FLEET_MCP_HTTP_MAX_BODY_BYTES", "2 KiB").start();
    let request = daemon
        .post("/mcp", " ".repeat(2 * KIB + 1))
        .header("Content-Type", "application/json")
        .header("Accept", "application/json, text/event-stream");

    assert_eq!(request.bearer(&daemon.token()).send().status, 413);
}

#[test]
fn a_slow_body_is_told_so() {
    let daemon = TestDaemon::builder().env("FLEET_MCP_HTTP_BODY_TIMEOUT", "300ms").start();
    let token = daemon.token();
    let mut silent = Wire::connect(daemon.address());
    silent.send(post(&token)).send("Content-Length: 10\r\n\r\n{");
    let mut slow = Wire::connect(daemon.address());
    slow.send(post(&token)).send("Content-Length: 10000\r\n\r\n{");

    for response in [slow.dribble(" "), silent.answer()] {
        assert_eq!((response.status, code(&response).as_str()), (408, "INVALID_INPUT"));
        assert_eq!(response.header("connection"), Some("close"));
    }
}

#[test]
fn a_body_that_breaks_off_harms_nobody() {
    let daemon = TestDaemon::start();
    let token = daemon.token();
    let mut broken = Wire::connect(daemon.address());
    broken.send(post(&token)).send("Transfer-Encoding: chunked\r\n\r\nzz\r\n");
    assert_eq!(broken.answer().status, 400);

    for _ in 0..50 {
        let mut leaving = Wire::connect(daemon.address());
        leaving.send(post(&token)).send("Content-Length: 10\r\n\r\n{");
    }

    assert_eq!(daemon.get("/mcp/list_agents").bearer(&token).send().status, 200);
}

#[test]
fn a_full_house_makes_room_by_ending_the_longest_waiting_connection() {
    let daemon = TestDaemon::builder().env("FLEET_MCP_HTTP_MAX_CONNECTIONS", "2").start();
    let mut first = Wire::connect(daemon.address());
    assert_eq!(first.send(HEALTH).answer().status, 200);
    let mut second = Wire::connect(daemon.address());
    assert_eq!(second.send(HEALTH).answer().status, 200);
    // Both fit: nobody is ended before somebody needs the place.
    assert_eq!(first.send(HEALTH).answer().status, 200);
    // So often that the first has rested for milliseconds by the end.
    assert!((0..200).all(|_| second.send(HEALTH).answer().status == 200));

    let mut third = Wire::connect(daemon.address());
    assert_eq!(third.send(HEALTH).answer().status, 200);

    first.ends();
    assert_eq!(second.send(HEALTH).answer().status, 200);
    assert_eq!(third.send(HEALTH).answer().status, 200);
}

#[test]
fn a_house_of_one_place_serves_one_client_after_the_other() {
    let daemon = TestDaemon::builder().env("FLEET_MCP_HTTP_MAX_CONNECTIONS", "1").start();

    for _ in 0..50 {
        assert_eq!(Wire::connect(daemon.address()).send(HEALTH).answer().status, 200);
    }
}

#[test]
fn a_house_full_of_busy_clients_lets_new_ones_wait() {
    let daemon = TestDaemon::builder().env("FLEET_MCP_HTTP_MAX_CONNECTIONS", "1").start();
    let token = daemon.token();
    let mut busy = Wire::connect(daemon.address());
    busy.send(post(&token)).send("Expect: 100-continue\r\nContent-Length: 2\r\n\r\n");
    assert_eq!(busy.answer().status, 100);

    let mut waiting = Wire::connect(daemon.address());
    waiting.send(HEALTH);
    assert_eq!(busy.send("{}").answer().status, 200);

    assert_eq!(waiting.answer().status, 200);
}

#[test]
fn requests_that_are_still_on_their_way_keep_nobody_out() {
    let daemon = TestDaemon::builder().env("FLEET_MCP_HTTP_MAX_REQUESTS", "1").start();
    let token = daemon.token();
    let mut slow: Vec<_> = (0..3).map(|_| Wire::connect(daemon.address())).collect();
    for wire in &mut slow {
        wire.send(post(&token)).send("Expect: 100-continue\r\nContent-Length: 2\r\n\r\n");
        assert_eq!(wire.answer().status, 100);
    }

    assert_eq!(daemon.get("/mcp/list_agents").bearer(&token).send().status, 200);

    assert!(slow.iter_mut().all(|wire| wire.send("{}").answer().status == 200));
}

#[test]
fn a_client_that_has_said_all_gets_its_answer() {
    let daemon = TestDaemon::start();
    let token = daemon.token();
    let call = format!("{}Content-Length: 2\r\n\r\n{{}}", post(&token));
    let mcp = "Content-Type: application/json\r\nAccept: application/json, text/event-stream\r\n\
               Content-Length: 40\r\n\r\n{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\"}";
    let mcp = post(&token).replace("/mcp/list_agents", "/mcp") + mcp;

    for (request, status) in [
        (HEALTH, 200),
        ("GET /mcp HTTP/1.1\r\nHost: a\r\n\r\n", 401),
        ("GET /health HTTP/1.0\r\n\r\n", 200),
        (&call, 200),
        (&mcp, 200),
    ] {
        for _ in 0..10 {
            let mut wire = Wire::connect(daemon.address());
            wire.send(request).half_close();
            assert_eq!(wire.answer().status, status, "{request}");
            wire.ends();
        }
    }
}

#[test]
fn nonsense_is_a_bad_request() {
    let daemon = TestDaemon::start();
    let client_hello =
        [b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".as_slice(), &[0; 505]].concat();

    for nonsense in [
        b"\x00\x01\x02\r\n\r\n".as_slice(),
        b"hello\r\n\r\n",
        b"GET /health\r\n\r\n",
        b"GET  /health HTTP/1.1\r\n\r\n",
        b"GET /health HTTP/3.0\r\n\r\n",
        b"GET /health HTTP/1.1\r\nHost a\r\n\r\n",
        b"GET /health HTTP/1.1\r\n Host: a\r\n\r\n",
        b"GET /health HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"GET /health HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        b"GET /\x1b[2J HTTP/1.1\r\n\r\n",
        &client_hello,
    ] {
        let mut wire = Wire::connect(daemon.address());
        let status = wire.send(nonsense).answer().status;
        assert_eq!(status, 400, "{}", String::from_utf8_lossy(nonsense));
        wire.half_close();
        wire.ends();
    }
    assert_eq!(daemon.get("/health").send().status, 200);
}

#[test]
fn many_clients_at_once_are_all_served() {
    let daemon = TestDaemon::start();
    let mut wires: Vec<_> = (0..200).map(|_| Wire::connect(daemon.address())).collect();

    for wire in &mut wires {
        wire.send(HEALTH);
    }

    assert!(wires.iter_mut().all(|wire| wire.answer().status == 200));
}
