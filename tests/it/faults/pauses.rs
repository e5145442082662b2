//! Processes that stand still (SIGSTOP) for a while, and go on.

use std::time::{Duration, Instant};

use fleet_mcp::agents::processes;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::{
    fleet::{Fleet, builder, enough},
    support::{TestDaemon, Wire, eventually},
};

const HEALTH: &str = "GET /health HTTP/1.1\r\nHost: a\r\n\r\n";

/// Half a minute is what the service's watchdog allows.
fn pause() -> Duration {
    enough(Duration::from_secs(2), Duration::from_secs(30))
}

fn until_over(began: Instant) {
    // `eventually` has a patience of its own; this is no longer than that.
    eventually("the pause is over", || (began.elapsed() >= pause()).then_some(()));
}

#[test]
fn a_daemon_that_was_paused_goes_on_where_it_was() {
    let fleet = Fleet::start(builder("").env("FLEET_MCP_HTTP_HEADER_TIMEOUT", "60s"));
    fleet.create("paused", "demo", "stream 2000");
    fleet.until_it_says("paused", "0");
    let daemon = &fleet.daemon;
    let mut kept = Wire::connect(daemon.address());
    assert_eq!(kept.send(HEALTH).answer().status, 200);

    daemon.signal(Signal::SIGSTOP);
    let began = Instant::now();
    kept.send(HEALTH);
    let mut new = Wire::connect(daemon.address());
    new.send(HEALTH);
    until_over(began);
    daemon.signal(Signal::SIGCONT);

    assert_eq!(kept.answer().status, 200);
    assert_eq!(new.answer().status, 200);
    assert_eq!(fleet.outcome("paused"), ["idle", "done", ""]);
    assert!(numbers(&fleet, "paused").eq(0..2000));
    let token = daemon.rotate();
    Fleet { token, ..fleet }.ends_clean(&["paused"]);
}

#[test]
fn while_an_agents_host_is_paused_the_fleet_goes_on_and_its_output_is_whole() {
    let fleet = Fleet::start(builder(""));
    fleet.create("paused", "demo", "stream 2000");
    fleet.until_it_says("paused", "0");
    let host = host_of(&fleet.daemon);

    kill(host, Signal::SIGSTOP).unwrap();
    let began = Instant::now();
    fleet.create("other", "demo", "hello");
    assert_eq!(fleet.outcome("other"), ["idle", "done", ""]);
    while began.elapsed() < pause() {
        assert_eq!(fleet.daemon.get("/health").send().status, 200);
        assert_eq!(fleet.show("paused")["status"], "busy");
    }
    kill(host, Signal::SIGCONT).unwrap();

    assert_eq!(fleet.outcome("paused"), ["idle", "done", ""]);
    assert!(numbers(&fleet, "paused").eq(0..2000));
    fleet.ends_clean(&["paused", "other"]);
}

/// The daemon's only child.
fn host_of(daemon: &TestDaemon) -> Pid {
    let all = processes::all().unwrap();
    let mut children = all.iter().filter(|process| process.parent == daemon.pid().cast_signed());
    let host = Pid::from_raw(children.next().unwrap().pid);
    assert!(children.next().is_none(), "the host is not the only child");
    host
}

/// What an agent that streams has said, after its task, which it repeats first.
fn numbers(fleet: &Fleet, name: &str) -> impl Iterator<Item = u32> {
    let said = fleet.messages(name);
    let numbers = said.split_whitespace().filter_map(|word| word.parse().ok()).skip(1);
    numbers.collect::<Vec<_>>().into_iter()
}
