//! The access log: common log format in a file of its own.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use crate::support::{Builder, Request, TestDaemon, Wire, eventually};

/// Will write `access.log` in the home directory.
fn builder() -> (Builder, PathBuf) {
    let builder = TestDaemon::builder();
    let file = builder.home().join("access.log");
    (builder.env("FLEET_MCP_LOG_ACCESS_FILE", &file), file)
}

/// The lines of the file, once there are so many.
fn lines(file: &Path, count: usize) -> Vec<String> {
    eventually("the access log's lines", || {
        let text = fs::read_to_string(file).ok()?;
        let lines: Vec<_> = text.split_terminator('\n').map(str::to_owned).collect();
        assert!(lines.len() <= count, "{text}");
        (lines.len() == count && text.ends_with('\n')).then_some(lines)
    })
}

/// Takes a line apart; the time is checked and left out.
fn parse(line: &str) -> (String, String, String, String) {
    let (client, rest) = line.split_once(" - - [").unwrap();
    let (time, rest) = rest.split_once("] \"").unwrap();
    let (request, rest) = rest.rsplit_once("\" ").unwrap();
    let (status, bytes) = rest.split_once(' ').unwrap();
    let time = jiff::fmt::strtime::parse("%d/%b/%Y:%H:%M:%S %z", time);
    assert!(time.is_ok_and(|time| time.to_timestamp().is_ok()), "{line}");
    (client.to_owned(), request.to_owned(), status.to_owned(), bytes.to_owned())
}

fn requests(lines: &[String]) -> Vec<(String, String)> {
    lines.iter().map(|line| parse(line)).map(|(_, request, status, _)| (request, status)).collect()
}

#[test]
fn each_answer_is_one_line_of_common_log_format_in_order() {
    let (builder, file) = builder();
    let daemon = builder.start();
    let token = daemon.token();

    daemon.get("/health").send();
    let refused = daemon.get("/mcp/list_agents").send();
    daemon.get("/mcp/list_agents").bearer(&token).send();
    daemon.post("/nope", "").bearer(&token).send();
    daemon.get("/.well-known/x").send();
    daemon.get("/mcp").header("Origin", "https://evil.example.com").send();

    let lines = lines(&file, 6);
    let expected = [
        ("GET /health HTTP/1.1", "200"),
        ("GET /mcp/list_agents HTTP/1.1", "401"),
        ("GET /mcp/list_agents HTTP/1.1", "200"),
        ("POST /nope HTTP/1.1", "404"),
        ("GET /.well-known/x HTTP/1.1", "404"),
        ("GET /mcp HTTP/1.1", "403"),
    ];
    assert_eq!(requests(&lines), expected.map(|(a, b)| (a.to_owned(), b.to_owned())));
    let (client, _, _, bytes) = parse(&lines[1]);
    assert_eq!((client.as_str(), bytes), ("127.0.0.1", refused.body.len().to_string()));
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o137, 0);
}

#[test]
fn there_is_none_unless_it_is_asked_for() {
    let daemon = TestDaemon::start();
    daemon.get("/mcp").send();
    daemon.log_line(" event=auth_failure ");

    let files = fs::read_dir(daemon.home()).unwrap().map(|entry| entry.unwrap().file_name());

    assert_eq!(files.collect::<Vec<_>>(), [".fleet-mcp"]);
    let request_line = |line: &String| line.contains("\"GET /mcp HTTP/1.1\"");
    assert!(!daemon.log().iter().any(request_line));
}

#[test]
fn the_specifications_tail_shows_who_is_refused() {
    let (builder, file) = builder();
    let daemon = builder.start();
    // `--line-buffered`, because this is no terminal.
    let mut tail =
        Command::new("tail").arg("-f").arg(&file).stdout(Stdio::piped()).spawn().unwrap();
    let mut grep = Command::new("grep")
        .args(["--line-buffered", "401"])
        .stdin(tail.stdout.take().unwrap())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut shown = BufReader::new(grep.stdout.take().unwrap()).lines();

    daemon.get("/health").send();
    daemon.get("/mcp").send();
    daemon.get("/mcp/list_agents").bearer("WRONG").send();

    let refused: Vec<_> = (0..2).map(|_| parse(&shown.next().unwrap().unwrap())).collect();
    // Everything is in the file, and `tail` has passed on what came before the last line.
    lines(&file, 3);
    tail.kill().unwrap();
    assert!(tail.wait().is_ok() && grep.wait().unwrap().success());
    let paths: Vec<_> = refused.iter().map(|(_, request, ..)| request.as_str()).collect();
    assert_eq!(paths, ["GET /mcp HTTP/1.1", "GET /mcp/list_agents HTTP/1.1"]);
    assert_eq!(shown.count(), 0);
}

#[test]
fn a_reload_reopens_the_file_after_it_was_renamed() {
    let (builder, file) = builder();
    let daemon = builder.start();
    let renamed = daemon.home().join("access.log.1");
    daemon.get("/before").send();
    lines(&file, 1);

    fs::rename(&file, &renamed).unwrap();
    daemon.get("/between").send();
    lines(&renamed, 2);
    assert!(daemon.fleetctl(&["reload"]).status.success());
    daemon.get("/after").send();

    let refused = |path: &str| (format!("GET /{path} HTTP/1.1"), "401".to_owned());
    assert_eq!(requests(&lines(&file, 1)), [refused("after")]);
    assert_eq!(requests(&lines(&renamed, 2)), [refused("before"), refused("between")]);
}

#[test]
fn a_restart_appends() {
    let (builder, file) = builder();
    let daemon = builder.start();
    daemon.get("/before").send();

    let daemon = daemon.restart();
    daemon.get("/after").send();

    assert_eq!(lines(&file, 2).len(), 2);
}

#[test]
fn neither_queries_nor_headers_are_in_it() {
    let (builder, file) = builder();
    let daemon = builder.start();
    let (token, guess) = (daemon.token(), "guessguessguessguessguessguessguessguessgue");

    daemon.get(&format!("/mcp/list_agents?token={token}")).bearer(&token).send();
    daemon.get("/mcp/list_agents?x=y").bearer(guess).header("User-Agent", "agent").send();
    daemon.get(&format!("/?{token}")).header("Referer", &token).header("Cookie", &token).send();
    daemon.get(&format!("http://user:{token}@x/mcp")).send();

    let text = lines(&file, 4).join("\n");
    for secret in [token.as_str(), guess, "agent\"", "x=y", "?"] {
        assert!(!text.contains(secret), "{text}");
    }
}

#[test]
fn a_request_can_forge_neither_a_line_nor_a_field() {
    let (builder, file) = builder();
    let daemon = builder.env("FLEET_MCP_HTTP_TRUSTED_PROXIES", "127.0.0.1").start();
    let attempts: [(&str, &str, &[u8]); 6] = [
        ("GET", "/%22%20200%201%0a127.0.0.1%20-%20-%20", b"203.0.113.7"),
        ("GET", "/x%20HTTP/1.1%22%20200", b"203.0.113.7\" 200 1"),
        ("GET", "/\u{2028}\u{202e}\u{9b}2J", b"203.0.113.7, x - - [y]"),
        ("GET", "/\\", b"\xff"),
        ("GET\u{7c}200", "/x", b"::1 - - ["),
        ("GET", "/", b"203.0.113.7"),
    ];

    for (method, path, client) in attempts {
        let request = Request::new(daemon.address(), method, path);
        let status = request.header("X-Forwarded-For", client).send().status;
        assert_eq!(status, 401, "{method} {path}");
    }

    let lines = lines(&file, attempts.len());
    for line in &lines {
        let (client, request, status, _) = parse(line);
        assert!(["127.0.0.1", "203.0.113.7"].contains(&client.as_str()), "{line}");
        assert_eq!((status.as_str(), request.matches(' ').count()), ("401", 2), "{line}");
        assert!(!request.contains('"'), "{line}");
        assert!(line.is_ascii() && !line.contains(|c: char| c.is_control()), "{line}");
    }
    assert_eq!(parse(&lines[0]).0, "203.0.113.7");
    assert_eq!(parse(&lines[3]).1, "GET /\\\\ HTTP/1.1");
}

#[test]
fn every_request_on_a_kept_connection_has_its_line() {
    let (builder, file) = builder();
    let daemon = builder.start();
    let mut wire = Wire::connect(daemon.address());

    for _ in 0..300 {
        wire.send("GET /health HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(wire.answer().status, 200);
    }

    assert_eq!(lines(&file, 300).len(), 300);
}
