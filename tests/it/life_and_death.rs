//! How the daemon ends, whatever clients do, and how the next one starts.

mod notify;

use std::{
    fs,
    net::{TcpListener, TcpStream},
    os::unix::{fs::MetadataExt as _, process::CommandExt as _},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use nix::sys::signal::Signal;

use crate::support::{
    Builder, Kept, NOBODY, Running, TestDaemon, eventually, is_root, left_out_without_root,
    unprivileged,
};

/// The longest that a debug build on a busy machine may take beyond what it was told.
const SLACK: Duration = Duration::from_secs(4);

/// Sends the signal and waits for the end: how long it took. It must be a proper one.
fn end(daemon: &mut TestDaemon, signal: Signal) -> Duration {
    let start = Instant::now();
    daemon.signal(signal);
    let status = daemon.wait();
    assert_eq!(status.code(), Some(0), "{status}");
    daemon.log_line("INFO - Server stopped");
    start.elapsed()
}

fn draining_for(seconds: u32) -> Builder {
    TestDaemon::builder().env("FLEET_MCP_HTTP_SHUTDOWN_TIMEOUT", format!("{seconds}s"))
}

/// A request whose body does not come.
fn slow_body(daemon: &TestDaemon) -> Kept {
    let mut slow = Kept::open(daemon.address());
    slow.write(&format!(
        "POST /mcp/list_agents HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {}\r\n\
         Content-Length: 9\r\nExpect: 100-continue\r\n\r\n",
        daemon.token()
    ))
    .unwrap();
    // The server asks for the body once it is busy with the request.
    slow.wait_for("HTTP/1.1 100 Continue\r\n\r\n").unwrap();
    slow.write("{").unwrap();
    slow
}

#[test]
fn sigterm_and_sigint_end_it_with_idle_and_half_requests_open() {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let mut daemon = draining_for(60).start();
        let mut idle = Kept::open(daemon.address());
        assert_eq!(idle.get("/health", None).unwrap().status, 200);
        let silent = Kept::open(daemon.address());
        let mut half = Kept::open(daemon.address());
        half.write("GET /mcp HTTP/1.1\r\nHost: loc").unwrap();

        let took = end(&mut daemon, signal);

        assert!(took < Duration::from_secs(1) + SLACK, "{signal}: {took:?}");
        for connection in [idle, silent, half] {
            assert_eq!(connection.rest(), b"", "{signal}: closed without a word");
        }
        assert!(TcpStream::connect(daemon.address()).is_err());
    }
}

#[test]
fn request_in_flight_is_cut_off_at_the_limit_and_no_sooner() {
    let mut daemon = draining_for(2).start();
    let _slow = slow_body(&daemon);

    let took = end(&mut daemon, Signal::SIGTERM);

    assert!(took >= Duration::from_secs(2) && took < Duration::from_secs(2) + SLACK, "{took:?}");
    daemon.log_line("ended requests that were still in flight");
}

#[test]
fn request_in_flight_is_finished_while_draining() {
    let mut daemon = draining_for(60).start();
    let mut slow = slow_body(&daemon);
    daemon.signal(Signal::SIGTERM);
    daemon.log_line("INFO - Server is stopping");

    slow.write("       }").unwrap();
    let answer = slow.answer().unwrap();

    assert_eq!((answer.status, answer.header("connection")), (200, Some("close")));
    assert_eq!(answer.body, r#"{"agents":[],"total_count":0}"#);
    assert_eq!(daemon.wait().code(), Some(0));
}

#[test]
fn second_signal_ends_it_at_once() {
    for second in [Signal::SIGTERM, Signal::SIGINT] {
        let mut daemon = draining_for(600).start();
        let _slow = slow_body(&daemon);
        daemon.signal(Signal::SIGTERM);
        daemon.log_line("INFO - Server is stopping");

        let took = end(&mut daemon, second);

        assert!(took < SLACK, "{took:?}");
        daemon.log_line("told to stop again: ending at once");
        assert!(!daemon.control_socket().exists());
    }
}

#[test]
fn kept_connection_is_told_to_close_and_health_says_stopping_while_it_drains() {
    let mut daemon = draining_for(60).start();
    let token = daemon.token();
    let mut slow = slow_body(&daemon);
    let mut health = Kept::open(daemon.address());
    let mut client = Kept::open(daemon.address());
    assert_eq!(health.get("/health", None).unwrap().header("connection"), None);
    assert_eq!(client.get("/mcp/list_agents", Some(&token)).unwrap().status, 200);

    daemon.signal(Signal::SIGTERM);
    daemon.log_line("INFO - Server is stopping");
    let stopping = health.get("/health", None).unwrap();
    let answer = client.get("/mcp/list_agents", Some(&token)).unwrap();

    assert_eq!((stopping.status, stopping.header("connection")), (503, Some("close")));
    assert_eq!(stopping.json()["status"], "stopping");
    assert_eq!((answer.status, answer.header("connection")), (200, Some("close")));
    assert_eq!((health.rest(), client.rest()), (vec![], vec![]));
    assert_eq!(daemon.status()["state"], "stopping");
    slow.write("       }").unwrap();
    assert_eq!(daemon.wait().code(), Some(0));
}

#[test]
fn sighup_reloads_and_the_daemon_goes_on() {
    let daemon = TestDaemon::builder().config("").start();
    let token = daemon.token();
    let file = daemon.home().join(".config/fleet-mcp/config.toml");

    fs::write(&file, "http.public_url = \"https://new\"\n").unwrap();
    daemon.signal(Signal::SIGHUP);
    daemon.log_line("INFO - Configuration reloaded");
    assert_eq!(daemon.status()["public_url"], "https://new");
    fs::write(&file, "nonsense").unwrap();
    daemon.signal(Signal::SIGHUP);

    daemon.log_line("ERROR - nothing was reloaded: ");
    assert_eq!(daemon.status()["public_url"], "https://new");
    assert_eq!(daemon.get("/mcp/list_agents").bearer(&token).send().status, 200);
}

#[test]
fn port_that_is_taken_stops_the_start_with_words() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let builder = TestDaemon::builder();
    let builder = builder.env("FLEET_MCP_LISTEN", format!("127.0.0.1:0,{address}"));

    let failed = builder.fails();

    assert_eq!(failed.code, Some(1), "{}", failed.stderr);
    let words = format!("error: can't listen on {address}\ncause: Address already in use");
    assert!(failed.stderr.contains(&words), "{}", failed.stderr);
    let help =
        format!("help: another program has the port (`ss -ltnp 'sport = :{}'`", address.port());
    assert!(failed.stderr.contains(&help), "{}", failed.stderr);
    assert!(!builder.control_socket().exists());
    drop(taken);
    builder.start();
}

#[test]
fn address_that_the_machine_does_not_have_stops_the_start_with_words() {
    // From the range that is kept for documentation.
    let failed = TestDaemon::builder().env("FLEET_MCP_LISTEN", "192.0.2.1:0").fails();

    assert_eq!(failed.code, Some(1), "{}", failed.stderr);
    assert!(failed.stderr.contains("this machine does not have the address"), "{}", failed.stderr);
}

#[test]
fn all_listeners_serve() {
    let daemon = TestDaemon::builder().env("FLEET_MCP_LISTEN", "127.0.0.1:0,127.0.0.2:0").start();
    let status = daemon.status();
    let listeners = status["listeners"].as_array().unwrap();

    assert_eq!(listeners.len(), 2);
    for url in listeners {
        let address = url.as_str().unwrap().trim_start_matches("http://").parse().unwrap();
        let health = crate::support::Request::new(address, "GET", "/health").send();
        assert_eq!(health.status, 200, "{url}");
    }
}

#[test]
fn what_a_killed_daemon_leaves_does_not_stop_the_next() {
    let mut daemon = TestDaemon::start();
    let token = daemon.token();
    daemon.kill();
    let left = daemon.state_dir().join(".auth_token.new");
    fs::write(&left, "half a tok").unwrap();
    assert!(daemon.control_socket().exists() && daemon.state_dir().join("lock").exists());

    let daemon = daemon.restart();

    assert_eq!(daemon.token(), token);
    assert_eq!(daemon.get("/mcp/list_agents").bearer(&token).send().status, 200);
    daemon.rotate();
    assert!(!left.exists());
}

#[test]
fn restart_listens_on_the_same_port_at_once() {
    let daemon = TestDaemon::start();
    let address = daemon.address();
    // A connection that the server closes first leaves the port in TIME_WAIT.
    let mut kept = Kept::open(address);
    kept.get("/health", None).unwrap();

    let daemon = daemon.restart_with(|how| how.env("FLEET_MCP_LISTEN", address.to_string()));

    assert_eq!(daemon.address(), address);
    assert_eq!(kept.rest(), b"");
    assert_eq!(daemon.get("/health").send().status, 200);
}

#[test]
fn memory_is_closed_to_the_daemons_own_user() {
    if left_out_without_root("a process of another user") {
        return;
    }
    assert!(is_root());
    let daemon = unprivileged().start();
    let mut sleep = Command::new("sleep");
    let other = Running::start(sleep.arg("60").uid(NOBODY).gid(NOBODY).stdin(Stdio::null()));
    let owner = |pid: u32| fs::metadata(format!("/proc/{pid}/mem")).unwrap().uid();

    // Once it runs its own program.
    eventually("any process of nobody is nobody's", || {
        (owner(other.0.id()) == NOBODY).then_some(())
    });
    assert_eq!(owner(daemon.pid()), 0, "the daemon is dumpable");
    let status = fs::read_to_string(format!("/proc/{}/status", daemon.pid())).unwrap();
    assert!(status.contains(&format!("\nUid:\t{NOBODY}\t")), "{status}");
}

#[test]
fn first_answer_comes_soon_after_the_start() {
    let start = Instant::now();
    let daemon = TestDaemon::builder().env("FLEET_MCP_LOG", "info").start();
    let listens = start.elapsed();

    let health = daemon.get("/health").send();

    assert_eq!(health.status, 200);
    eprintln!("debug build: serves {listens:?} after the start, seen by asking fleetctl");
}
