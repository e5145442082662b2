//! What comes over a plain socket, byte by byte: what no client of good faith sends, and what each gets.

use crate::support::{TestDaemon, Wire, whole_log};

const KIB: usize = 1024;
const BODY_LIMIT: usize = 100 * KIB;

/// Bytes of a client, and the statuses of the answers before the server closes the connection.
struct Row {
    name: &'static str,
    sent: Vec<u8>,
    answers: &'static [u16],
    /// Whether the client closes its half at once; if not, the server must end it.
    says_all: bool,
}

fn row(name: &'static str, sent: impl AsRef<[u8]>, answers: &'static [u16]) -> Row {
    Row { name, sent: sent.as_ref().to_vec(), answers, says_all: true }
}

/// Nothing follows, but the client keeps its half open.
fn silent(name: &'static str, sent: impl AsRef<[u8]>, answers: &'static [u16]) -> Row {
    Row { says_all: false, ..row(name, sent, answers) }
}

/// A good request without its last line break, to which headers can be added.
fn get(token: &str) -> String {
    format!("GET /mcp/list_agents HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {token}\r\n")
}

fn post(token: &str) -> String {
    get(token).replacen("GET", "POST", 1)
}

fn statuses(mut bytes: &[u8]) -> Vec<u16> {
    let mut statuses = Vec::new();
    while !bytes.is_empty() {
        let end = bytes.windows(4).position(|window| window == b"\r\n\r\n").unwrap() + 4;
        let head = std::str::from_utf8(&bytes[..end]).unwrap().to_ascii_lowercase();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        let length: usize = length.map_or(0, |length| length.parse().unwrap());
        statuses.push(status);
        bytes = &bytes[end + length..];
    }
    statuses
}

fn assert_answers(daemon: &TestDaemon, rows: &[Row], good: &str) {
    let mut wrong = Vec::new();
    for row in rows {
        let mut wire = Wire::connect(daemon.address());
        // Who has heard enough may not take the rest.
        let _ = wire.try_send(&row.sent);
        if row.says_all {
            wire.half_close();
        }
        let heard = statuses(&wire.rest());
        if heard != row.answers {
            wrong.push(format!("{}: {heard:?}, not {:?}", row.name, row.answers));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    let mut wire = Wire::connect(daemon.address());
    assert_eq!(wire.send(good).answer().status, 200);
}

/// The daemon has not panicked, and its log, in which everything is said aloud, holds no token.
fn assert_quiet(mut daemon: TestDaemon, token: &str) {
    for line in whole_log(&mut daemon) {
        assert!(
            !line.contains("panicked") && (token.is_empty() || !line.contains(token)),
            "{line}"
        );
    }
}

fn framing(token: &str) -> Vec<Row> {
    let (get, post) = (get(token), post(token));
    let good = format!("{get}\r\n");
    let bodied =
        |length: usize, body: &str| format!("{post}Content-Length: {length}\r\n\r\n{body}");
    let chunked = |body: &str| format!("{post}Transfer-Encoding: chunked\r\n\r\n{body}");
    let smuggled = "GET /mcp/list_agents HTTP/1.1\r\nHost: smuggled\r\n\r\n";
    let big = "x".repeat(BODY_LIMIT + 1);
    vec![
        row("a good request", &good, &[200]),
        row("a body", bodied(2, "{}"), &[200]),
        row("a body in chunks", chunked("1\r\n{\r\n1\r\n}\r\n0\r\n\r\n"), &[200]),
        row(
            "chunks with extensions and a trailer",
            chunked("2;a=b\r\n{}\r\n0\r\nX: y\r\n\r\n"),
            &[200],
        ),
        // The length of a body.
        row("a body that is shorter than it says", bodied(100, "{}"), &[400]),
        silent("a body that never comes to its end", bodied(100, "{}"), &[408]),
        row("a body that is longer than it says", bodied(2, "{}{}"), &[200, 400]),
        row("a body over the limit", bodied(big.len(), &big), &[413]),
        row("a body said to be over the limit", bodied(10 * KIB * KIB, ""), &[413]),
        row(
            "chunks over the limit",
            chunked(&format!("{:x}\r\n{big}\r\n0\r\n\r\n", big.len())),
            &[413],
        ),
        row("a negative length", post.clone() + "Content-Length: -1\r\n\r\n", &[400]),
        row("a length with a sign", post.clone() + "Content-Length: +2\r\n\r\n{}", &[400]),
        row("a length in hexadecimal", post.clone() + "Content-Length: 0x2\r\n\r\n{}", &[400]),
        row(
            "a length beyond 64 bits",
            post.clone() + "Content-Length: 99999999999999999999\r\n\r\n",
            &[400],
        ),
        row("no length", post.clone() + "Content-Length: \r\n\r\n", &[400]),
        row(
            "two lengths",
            post.clone() + "Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
            &[400],
        ),
        // Two ways to say where a request ends let somebody hide a second one in it: chunks count, the
        // connection ends with the answer, and what comes then is never read.
        row(
            "a length and chunks",
            format!(
                "{post}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{smuggled}"
            ),
            &[200],
        ),
        row(
            "chunks and a length",
            format!(
                "{post}Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n{smuggled}"
            ),
            &[200],
        ),
        row(
            "chunks that are not the last coding",
            post.clone() + "Transfer-Encoding: chunked, gzip\r\n\r\n",
            &[400],
        ),
        row(
            "a coding that nobody knows",
            post.clone() + "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
            &[400],
        ),
        row("chunks in HTTP/1.0", chunked("0\r\n\r\n").replacen("/1.1", "/1.0", 1), &[400]),
        row("a chunk of no size", chunked("zz\r\n{}\r\n0\r\n\r\n"), &[400]),
        row("a chunk of negative size", chunked("-1\r\n{}\r\n0\r\n\r\n"), &[400]),
        row(
            "a chunk of more than 64 bits",
            chunked("10000000000000002\r\n{}\r\n0\r\n\r\n"),
            &[400],
        ),
        row("a chunk that is longer than it says", chunked("1\r\n{}\r\n0\r\n\r\n"), &[400]),
        row("a chunk whose line ends with LF", chunked("2\n{}\r\n0\r\n\r\n"), &[400]),
        row("chunks without an end", chunked("2\r\n{}\r\n"), &[400]),
        // Headers.
        silent("a header that never ends", get.clone(), &[]),
        silent("a header that has hardly begun", "GE", &[]),
        row("a header that breaks off", get.clone(), &[]),
        row("a folded header", get.clone() + "X: a\r\n b\r\n\r\n", &[400]),
        row("a blank before the colon", get.clone() + "Content-Length : 0\r\n\r\n", &[400]),
        row("a header without a colon", get.clone() + "X\r\n\r\n", &[400]),
        row("a NUL in a header", get.clone() + "X: a\0b\r\n\r\n", &[400]),
        row("a CR alone in a header", get.clone() + "X: a\rY: b\r\n\r\n", &[400]),
        row("a NUL in the target", good.replacen("/mcp", "/\0mcp", 1), &[400]),
        row("lines that end with LF", good.replace("\r\n", "\n"), &[200]),
        row(
            "a header that is too long",
            format!("{get}X: {}\r\n\r\n", "x".repeat(KIB * KIB)),
            &[431],
        ),
        row("headers that are too many", format!("{get}{}\r\n", "X: x\r\n".repeat(500)), &[431]),
        // Hosts.
        row("no Host", good.replacen("Host: a\r\n", "", 1), &[400]),
        row("two Hosts", get.clone() + "Host: b\r\n\r\n", &[400]),
        row("the same Host twice", get.clone() + "Host: a\r\n\r\n", &[400]),
        row("an absolute target", good.replacen("/mcp", "http://a/mcp", 1), &[200]),
        row(
            "an authority as the target",
            good.replacen("GET /mcp/list_agents", "CONNECT a:1", 1),
            &[404],
        ),
        row(
            "an asterisk as the target",
            good.replacen("GET /mcp/list_agents", "OPTIONS *", 1),
            &[404],
        ),
        // Other protocols.
        row("HTTP/1.0", good.replacen("/1.1", "/1.0", 1), &[200]),
        row("HTTP/1.0 without a Host", good.replacen("/1.1\r\nHost: a", "/1.0", 1), &[200]),
        row("HTTP/0.9", "GET /health\r\n", &[400]),
        row("HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0", &[]),
        row(
            "TLS",
            [b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".as_slice(), &[7; 505]].concat(),
            &[400],
        ),
        row("SSH", "SSH-2.0-OpenSSH_9.2\r\n", &[400]),
        row("NUL bytes", [0; 100], &[400]),
        row("bytes of all kinds", (0..=255).rev().collect::<Vec<u8>>(), &[400]),
        row("nothing", "", &[]),
        silent("nothing, for ever", "", &[]),
        // One after the other.
        row("requests in a row", good.repeat(5), &[200; 5]),
        row(
            "requests in a row, of which one has no token and one a wrong one",
            [
                &good,
                &good.replacen("Authorization", "X", 1),
                &good.replacen(token, "WRONG", 1),
                &good,
            ]
            .map(|row| &**row)
            .concat(),
            &[200, 401, 401, 200],
        ),
        row(
            "a good request and one that is none",
            format!("{good}nonsense\r\n\r\n{good}"),
            &[200, 400],
        ),
        row("empty lines before a request", format!("\r\n\r\n{good}"), &[200]),
    ]
}

#[test]
fn each_kind_of_bytes_gets_the_answer_that_it_should_and_harms_nobody() {
    let daemon = TestDaemon::builder()
        .env("FLEET_MCP_HTTP_MAX_BODY_BYTES", "100 KiB")
        .env("FLEET_MCP_HTTP_HEADER_TIMEOUT", "1s")
        .env("FLEET_MCP_HTTP_BODY_TIMEOUT", "4s")
        .start();
    let token = daemon.token();

    assert_answers(&daemon, &framing(&token), &format!("{}\r\n", get(&token)));

    assert_quiet(daemon, &token);
}

#[test]
fn no_web_page_gets_an_answer_whatever_host_and_origin_it_makes_a_browser_send() {
    let daemon = TestDaemon::builder().auth(false).start();
    let own = daemon.address();
    let sent = |target: &str, headers: &str| format!("GET {target} HTTP/1.1\r\n{headers}\r\n");
    let path = "/mcp/list_agents";
    let host = |host: &str| sent(path, &format!("Host: {host}\r\n"));
    let origin = |origin: &str| sent(path, &format!("Host: {own}\r\nOrigin: {origin}\r\n"));
    let rebound = "Host: evil.example:8000\r\nOrigin: http://evil.example:8000\r\n";

    let rows = [
        row("a foreign Host", host("evil.example"), &[403]),
        row("a Host that resolves to this machine", host("127.0.0.1.nip.io"), &[403]),
        row("a Host with user information", host("localhost@evil.example"), &[403]),
        row("a Host with a path", host("localhost/../evil"), &[403]),
        row("the address of everybody", host("0.0.0.0"), &[403]),
        row("an empty Host", host(""), &[403]),
        row("no Host", sent(path, ""), &[403]),
        row(
            "a foreign Host after an own one",
            sent(path, "Host: localhost\r\nHost: evil.example\r\n"),
            &[403],
        ),
        row("an own Host twice", sent(path, "Host: localhost\r\nHost: localhost\r\n"), &[400]),
        row("a rebound name as Host and Origin", sent(path, rebound), &[403]),
        row(
            "a foreign target",
            sent(&format!("http://evil.example{path}"), "Host: localhost\r\n"),
            &[403],
        ),
        row(
            "an own target and a foreign Host",
            sent(&format!("http://localhost{path}"), "Host: evil.example\r\n"),
            &[403],
        ),
        row(
            "an own target",
            sent(&format!("http://localhost{path}"), "Host: localhost\r\n"),
            &[200],
        ),
        row("a foreign Origin", origin("https://evil.example"), &[403]),
        row("a null Origin", origin("null"), &[403]),
        row(
            "an Origin that is no text",
            sent(path, "Host: localhost\r\nOrigin: \u{e9}\r\n"),
            &[403],
        ),
        row("an Origin without a scheme", origin("evil.example"), &[403]),
        row("an Origin with user information", origin("http://localhost@evil.example"), &[403]),
        row(
            "an Origin with an own name after user information",
            origin("http://evil.example@localhost"),
            &[403],
        ),
        row("an own Origin with a path", origin("http://localhost/x"), &[403]),
        row("an own name without a scheme as Origin", origin("localhost"), &[403]),
        row("a list of Origins", origin("http://localhost http://evil.example"), &[403]),
        row(
            "a foreign Origin after an own one",
            origin(&format!("http://{own}\r\nOrigin: http://evil.example")),
            &[403],
        ),
        row("an own Origin", origin(&format!("http://{own}")), &[200]),
    ];

    assert_answers(&daemon, &rows, &host("localhost"));
    assert_quiet(daemon, "");
}
