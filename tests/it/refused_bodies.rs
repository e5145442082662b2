//! A refused client gets the whole 401, whatever body it sends and however it sends it.

use std::time::{Duration, Instant};

use crate::support::{Response, TestDaemon, Wire};

const KIB: usize = 1024;

/// A request without a token whose body has this length.
fn head(length: usize) -> String {
    format!("POST /mcp HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n")
}

const CHUNKED: &str = "POST /mcp HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";

fn chunk(length: usize) -> Vec<u8> {
    [format!("{length:x}\r\n").as_bytes(), &vec![b'x'; length], b"\r\n"].concat()
}

fn assert_401(response: &Response) {
    let body =
        r#"{"error":"missing_token","error_description":"The access token is invalid or missing"}"#;
    assert_eq!((response.status, response.body.as_str()), (401, body));
}

fn stays_open(response: &Response) -> bool {
    response.header("connection").is_none_or(|value| value != "close")
}

#[test]
fn a_connection_is_kept_after_a_body_of_up_to_64_kib() {
    let daemon = TestDaemon::start();
    let mut wire = Wire::connect(daemon.address());

    for length in [0, 1, KIB, 64 * KIB] {
        let response = wire.send(head(length)).send(vec![b'x'; length]).answer();
        assert_401(&response);
        assert!(stays_open(&response), "{length}");
    }
    for chunks in [0, 1, 3] {
        wire.send(CHUNKED);
        for _ in 0..chunks {
            wire.send(chunk(KIB));
        }
        let response = wire.send("0\r\n\r\n").answer();
        assert_401(&response);
        assert!(stays_open(&response), "{chunks} chunks");
    }

    wire.send("GET /health HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(wire.answer().status, 200);
}

#[test]
fn a_larger_body_ends_the_connection_after_the_whole_answer() {
    let daemon = TestDaemon::start();

    for length in [64 * KIB + 1, 1024 * KIB, 10 * 1024 * KIB] {
        let mut wire = Wire::connect(daemon.address());
        // Like most clients: the whole body first, then a look at the answer.
        let response = wire.send(head(length)).send(vec![b'x'; length]).answer();
        assert_401(&response);
        assert!(!stays_open(&response), "{length}");
        wire.half_close();
        wire.ends();
    }
}

#[test]
fn a_larger_body_in_chunks_ends_the_connection_after_the_whole_answer() {
    let daemon = TestDaemon::start();
    let mut wire = Wire::connect(daemon.address());

    wire.send(CHUNKED);
    for _ in 0..64 {
        wire.send(chunk(16 * KIB));
    }
    let response = wire.send("0\r\n\r\n").answer();

    assert_401(&response);
    assert!(!stays_open(&response));
    wire.half_close();
    wire.ends();
}

#[test]
fn a_broken_body_is_refused_like_any_other() {
    let daemon = TestDaemon::start();
    let mut wire = Wire::connect(daemon.address());

    let response = wire.send(CHUNKED).send("zz\r\n").answer();

    assert_401(&response);
    assert!(!stays_open(&response));
    wire.ends();
}

#[test]
fn a_client_that_asks_before_it_sends_is_answered_without_its_large_body() {
    let daemon = TestDaemon::start();
    let ask = |length: usize| head(length).replace("\r\n\r\n", "\r\nExpect: 100-continue\r\n\r\n");

    let mut large = Wire::connect(daemon.address());
    assert_401(&large.send(ask(10 * 1024 * KIB)).answer());
    large.ends();

    let mut small = Wire::connect(daemon.address());
    assert_eq!(small.send(ask(KIB)).answer().status, 100);
    assert_401(&small.send(vec![b'x'; KIB]).answer());
    assert_401(&small.send(head(0)).answer());
}

#[test]
fn a_client_that_never_sends_its_body_is_answered_soon() {
    let daemon = TestDaemon::start();
    let start = Instant::now();
    let mut silent = Wire::connect(daemon.address());
    silent.send(head(KIB)).send("x");
    let mut silent_in_chunks = Wire::connect(daemon.address());
    silent_in_chunks.send(CHUNKED).send(chunk(1));
    let mut slow = Wire::connect(daemon.address());
    slow.send(head(KIB));

    let response = slow.dribble("x");

    assert_401(&response);
    assert!(!stays_open(&response));
    slow.ends();
    for mut wire in [silent, silent_in_chunks] {
        let response = wire.answer();
        assert_401(&response);
        assert!(!stays_open(&response));
        wire.ends();
    }
    // It is 2 s; a busy machine may take longer.
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
}
