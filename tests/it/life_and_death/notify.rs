//! What the service manager is told, and when.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use sd_notify::NotifyState;

use crate::support::{Control, Kept, Request, Running, TestDaemon, eventually, stderr};

fn number(line: &str, name: &str) -> u64 {
    line.strip_prefix(name).unwrap_or_else(|| panic!("no {name} in {line}")).parse().unwrap()
}

fn monotonic() -> u64 {
    number(&NotifyState::monotonic_usec_now().unwrap().to_string(), "MONOTONIC_USEC=")
}

#[test]
fn ready_is_said_once_every_listener_answers() {
    let builder = TestDaemon::builder().supervised(0);
    let builder = builder.env("FLEET_MCP_LISTEN", "127.0.0.1:0,127.0.0.2:0");
    let manager = builder.manager();
    let log = std::fs::File::create(builder.home().join("log")).unwrap();
    let mut command = builder.command(env!("CARGO_BIN_EXE_fleet-mcp"));
    let _daemon = Running::start(command.stderr(log));

    let ready = manager.next();

    // At this very moment, without waiting.
    let (addresses, state) =
        ready[1].strip_prefix("STATUS=Serving on ").unwrap().split_once("; ").unwrap();
    let addresses: Vec<_> = addresses.split(", ").collect();
    for address in &addresses {
        let health = Request::new(address.parse().unwrap(), "GET", "/health").send();
        assert_eq!((health.status, &health.json()["status"]), (200, &"healthy".into()));
    }
    let status = Control::at(&builder.control_socket()).ask("GET", "/v1/status", "").unwrap();
    assert_eq!(status.json()["state"], "ready");
    assert_eq!((ready.len(), &*ready[0], addresses.len()), (2, "READY=1", 2));
    assert_eq!(state, "authentication on; 0 agents, 0 tasks running; 0 refused");
    assert!(manager.is_silent());
}

#[test]
fn reload_is_told_from_its_begin_to_its_end() {
    let daemon = TestDaemon::builder().config("").supervised(0).start();
    let manager = daemon.manager();
    assert_eq!(manager.next()[0], "READY=1");
    let file = daemon.home().join(".config/fleet-mcp/config.toml");

    for (content, succeeds) in [("http.public_url = \"https://x\"\n", true), ("nonsense", false)] {
        std::fs::write(&file, content).unwrap();
        for by_signal in [true, false] {
            let before = monotonic();
            if by_signal {
                daemon.signal(Signal::SIGHUP);
            } else {
                let output = daemon.fleetctl(&["reload"]);
                assert_eq!(output.status.success(), succeeds, "{}", stderr(&output));
            }
            let begin = manager.next();
            let end = manager.next();

            assert_eq!(begin[0], "RELOADING=1");
            let at = number(&begin[1], "MONOTONIC_USEC=");
            assert!((before..=monotonic()).contains(&at), "{before} {at}");
            assert_eq!(end[0], "READY=1");
            assert!(end[1].starts_with("STATUS=Serving on 127.0.0.1:"), "{end:?}");
        }
    }
    assert!(manager.is_silent());
}

#[test]
fn stopping_is_said_at_once_with_the_time_that_it_may_take() {
    let builder = TestDaemon::builder().supervised(0);
    let mut daemon = builder.env("FLEET_MCP_HTTP_SHUTDOWN_TIMEOUT", "7s").start();
    assert_eq!(daemon.manager().next()[0], "READY=1");
    let mut kept = Kept::open(daemon.address());
    kept.get("/health", None).unwrap();

    daemon.signal(Signal::SIGTERM);
    let stopping = daemon.manager().next();

    assert_eq!(stopping[0], "STOPPING=1");
    let extend = number(&stopping[1], "EXTEND_TIMEOUT_USEC=");
    assert!(extend >= 7_000_000, "{extend}");
    assert!(stopping[2].starts_with("STATUS=Stopping"), "{stopping:?}");
    drop(kept);
    assert_eq!(daemon.wait().code(), Some(0));
    assert!(daemon.manager().is_silent());
}

#[test]
fn a_long_drain_asks_for_more_time_as_long_as_it_lasts() {
    let builder = TestDaemon::builder().supervised(0);
    let mut daemon = builder.env("FLEET_MCP_HTTP_SHUTDOWN_TIMEOUT", "60s").start();
    assert_eq!(daemon.manager().next()[0], "READY=1");
    let mut slow = super::slow_body(&daemon);
    daemon.signal(Signal::SIGTERM);
    assert_eq!(daemon.manager().next()[0], "STOPPING=1");

    for _ in 0..2 {
        let more = daemon.manager().next();
        let micros = number(&more[0], "EXTEND_TIMEOUT_USEC=");
        assert!(more.len() == 1 && micros > 5_000_000, "{more:?}");
    }
    slow.write("       }").unwrap();
    assert_eq!(slow.answer().unwrap().status, 200);

    assert_eq!(daemon.wait().code(), Some(0));
}

#[test]
fn status_says_when_authentication_is_off() {
    let daemon = TestDaemon::builder().auth(false).supervised(0).start();

    let ready = daemon.manager().next();

    assert!(ready[1].contains("; authentication OFF; "), "{ready:?}");
}

#[test]
fn nothing_is_said_by_a_start_that_fails() {
    let builder = TestDaemon::builder().supervised(0).env("FLEET_MCP_LISTEN", "192.0.2.1:0");

    let failed = builder.fails();

    assert_eq!(failed.code, Some(1));
    assert!(builder.manager().is_silent());
}

#[test]
fn status_is_kept_current() {
    let daemon = TestDaemon::builder().supervised(0).start();
    assert!(daemon.manager().status().ends_with("; 0 refused"), "{}", daemon.manager().status());

    daemon.get("/mcp/list_agents").send();

    eventually("the refusal is told", || {
        daemon.manager().status().ends_with("; 1 refused").then_some(())
    });
}

#[test]
fn signs_of_life_are_given_while_it_lives_and_to_nobody_who_did_not_ask() {
    let asked = |pid: Option<&str>| {
        let builder = TestDaemon::builder().supervised(0).env("WATCHDOG_USEC", "400000");
        match pid {
            // Set to the daemon's own by who starts it.
            None => builder,
            Some(pid) => builder.env("FOREIGN_WATCHDOG_PID", pid),
        }
    };
    let daemon = asked(None).start();
    let signs = || daemon.manager().signs_of_life();
    let after = |count| eventually("signs of life", || (signs() >= count).then(signs));
    let before = after(3);

    daemon.signal(Signal::SIGSTOP);
    // What was sent before it stood still may still be on its way.
    let still = settled(&signs);
    daemon.signal(Signal::SIGCONT);

    after(still + 3);
    assert!(still >= before);
    let other = asked(Some("1")).start();
    let begin = daemon.manager().signs_of_life();
    eventually("the other one has had time enough", || (signs() >= begin + 6).then_some(()));
    assert_eq!(other.manager().signs_of_life(), 0);
}

/// The count once it has been the same for longer than the daemon takes for two signs.
fn settled(count: &impl Fn() -> u64) -> u64 {
    let mut last = (count(), Instant::now());
    eventually("it stays the same", || {
        if count() != last.0 {
            last = (count(), Instant::now());
        }
        (last.1.elapsed() > Duration::from_secs(1)).then_some(last.0)
    })
}
