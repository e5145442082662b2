//! What a hostile or careless neighbour may try, and what it must not achieve.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    os::unix::net::{UnixDatagram, UnixStream},
    process::Stdio,
    time::{Duration, Instant},
};

use crate::support::{PATIENCE, Running, TestDaemon, eventually};

const HEALTH: &[u8] = b"GET /health HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";

/// A connection on which this was sent.
fn sent(daemon: &TestDaemon, bytes: impl AsRef<[u8]>) -> TcpStream {
    let mut stream = TcpStream::connect(daemon.address()).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(bytes.as_ref()).unwrap();
    stream
}

/// Whatever comes until the server closes the connection.
fn rest(mut stream: TcpStream) -> String {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap();
    String::from_utf8(bytes).unwrap()
}

#[test]
fn a_body_that_is_refused_and_never_comes_keeps_nobody_waiting() {
    let daemon = TestDaemon::builder().env("FLEET_MCP_HTTP_MAX_CONNECTIONS", "1").start();
    let start = Instant::now();

    let refused = sent(&daemon, "POST /mcp HTTP/1.1\r\nHost: a\r\nContent-Length: 60000\r\n\r\n");
    assert!(rest(sent(&daemon, HEALTH)).starts_with("HTTP/1.1 200 "));

    drop(refused);
    assert!(start.elapsed() < Duration::from_millis(1_500), "{:?}", start.elapsed());
}

/// A daemon whose list of projects has many megabytes: more than the kernel takes for a client that
/// doesn't read.
fn talkative() -> TestDaemon {
    let builder = TestDaemon::builder().env("FLEET_MCP_HTTP_IDLE_TIMEOUT", "100ms");
    let directory = builder.home().join(".config/fleet-mcp/conf.d");
    std::fs::create_dir_all(&directory).unwrap();
    let description = "x".repeat(1_000_000);
    for file in 0..14 {
        let text = format!("[projects.p{file}]\ndescription = \"{description}\"\n");
        std::fs::write(directory.join(format!("{file:02}.toml")), text).unwrap();
    }
    builder.start()
}

#[test]
#[expect(clippy::disallowed_methods, reason = "the client rests")]
fn a_client_that_reads_slowly_gets_the_whole_answer() {
    let daemon = talkative();
    let request = format!(
        "GET /mcp/list_agent_projects HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {}\r\n\r\n",
        daemon.token()
    );
    let resting = sent(&daemon, &request);
    let told_to_stop = sent(&daemon, &request);

    // Far longer than the idle timeout and its sweep, and than a stopping daemon waits for requests.
    std::thread::sleep(Duration::from_millis(1_500));
    assert!(rest(resting).ends_with('}'));
    daemon.signal(nix::sys::signal::Signal::SIGTERM);
    std::thread::sleep(Duration::from_millis(1_500));

    assert!(rest(told_to_stop).ends_with('}'));
}

#[test]
fn a_body_may_be_as_large_as_the_settings_say_in_the_plain_form_too() {
    let daemon = TestDaemon::start();
    let body = format!(r#"{{"x":"{}"}}"#, "x".repeat(3_000_000));

    let response = daemon.post("/mcp/list_agents", body).bearer(&daemon.token()).send();

    // It was read: what is wrong with it is its argument.
    assert_eq!(response.status, 400, "{}", response.body);
    assert!(response.body.contains("INVALID_INPUT"), "{}", response.body);
}

#[test]
fn a_body_of_too_many_values_is_refused_before_it_is_taken_apart() {
    let daemon = TestDaemon::start();
    let token = daemon.token();

    for value in ["0", "[]", "{}", "[0]", r#"{"":0}"#] {
        let values = vec![value; 4_000_000 / (value.len() + 1)].join(",");
        let body = format!(
            r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"list_agents","arguments":{{"a":[{values}]}}}}}}"#
        );
        let request = daemon
            .post("/mcp", body)
            .header("Content-Type", "application/json")
            .header("Accept", "application/json, text/event-stream");
        let response = request.bearer(&token).send();
        assert_eq!(response.status, 400, "{value}");
        assert!(response.body.contains("more than 2000 values"), "{}", response.body);
    }

    let status = std::fs::read_to_string(format!("/proc/{}/status", daemon.pid())).unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let kib: usize = peak.trim().trim_end_matches(" kB").parse().unwrap();
    assert!(kib < 64 * 1024, "{kib} KiB at most");
}

#[test]
fn a_reload_that_nobody_waits_for_is_carried_through() {
    let builder = TestDaemon::builder();
    let path = builder.home().join("notify");
    let manager = UnixDatagram::bind(&path).unwrap();
    manager.set_nonblocking(true).unwrap();
    let daemon = builder.env("NOTIFY_SOCKET", &path).start();

    for _ in 0..30 {
        let mut caller = UnixStream::connect(daemon.control_socket()).unwrap();
        let request = b"POST /v1/reload HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n";
        caller.write_all(request).unwrap();
    }

    let (mut begun, mut ended) = (0, -1); // it was ready before
    eventually("each reload that began has ended", || {
        let mut message = [0; 4096];
        while let Ok(length) = manager.recv(&mut message) {
            let text = str::from_utf8(&message[..length]).unwrap();
            begun += i32::from(text.contains("RELOADING=1"));
            ended += i32::from(text.contains("READY=1"));
        }
        (begun > 0 && begun == ended).then_some(())
    });
}

#[test]
fn a_header_has_at_most_16_kib() {
    let daemon = TestDaemon::start();
    let status = |length: usize| {
        let field = "x".repeat(length);
        let request = format!("GET /health HTTP/1.0\r\nX: {field}\r\n\r\n");
        rest(sent(&daemon, request)).split(' ').nth(1).unwrap().to_owned()
    };

    assert_eq!((status(15_000), status(17_000)), ("200".to_owned(), "431".to_owned()));
}

#[test]
fn connections_are_capped_at_what_open_files_allow_and_the_rest_goes_on() {
    let builder = TestDaemon::builder();
    let mut command = builder.command("/bin/sh");
    let script = format!("ulimit -n 160; exec {}", env!("CARGO_BIN_EXE_fleet-mcp"));
    let _daemon = Running::start(command.args(["-c", &script]).stderr(Stdio::null()));
    let status = || -> Option<serde_json::Value> {
        let mut fleetctl = builder.command(env!("CARGO_BIN_EXE_fleetctl"));
        let output = fleetctl.args(["status", "--json"]).output().unwrap();
        serde_json::from_slice(&output.stdout).ok()
    };
    let status = eventually("it is ready", || status().filter(|s| s["state"] == "ready"));
    let address = status["listeners"][0].as_str().unwrap().trim_start_matches("http://");

    let crowd: Vec<_> = (0..200).map(|_| TcpStream::connect(address).unwrap()).collect();
    let mut newcomer = TcpStream::connect(address).unwrap();
    newcomer.write_all(HEALTH).unwrap();

    assert!(rest(newcomer).starts_with("HTTP/1.1 200 "));
    let warnings = status["warnings"].to_string();
    assert!(warnings.contains("with a limit of 160 open files there can be 32"), "{warnings}");
    drop(crowd);
}
