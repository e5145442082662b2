//! Restarts under load: clients that never try again miss nothing.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use nix::sys::signal::Signal;
use serde_json::json;

use crate::{
    fleet::{Fleet, builder},
    support::{Kept, Request, eventually},
};

/// Clients of each kind.
const CLIENTS: usize = 8;
/// Between two requests of a client: some 250 requests a second in all.
const PAUSE: Duration = Duration::from_millis(64);
const RESTARTS: usize = 3;

/// What all clients count together.
#[derive(Default)]
struct Counts {
    over: AtomicBool,
    answered: AtomicUsize,
    failed: AtomicUsize,
    /// Kept connections that ended after an answer that said so.
    closed: AtomicUsize,
}

#[test]
fn restarts_under_load_fail_no_request_on_new_or_kept_connections() {
    let mut fleet = Fleet::start(builder("").supervised(0));
    let (address, token) = (fleet.daemon.address(), fleet.token.clone());
    let counts = Arc::<Counts>::default();
    let clients: Vec<_> = (0..2 * CLIENTS)
        .map(|number| client(number % 2 == 0, address, token.clone(), Arc::clone(&counts)))
        .collect();
    let answered = |count: usize| {
        eventually("answers", || (counts.answered.load(Relaxed) >= count).then_some(()));
    };

    for restart in 0..RESTARTS {
        let before = counts.answered.load(Relaxed);
        answered(before + 10 * CLIENTS);
        let start = Instant::now();
        fleet = fleet.restart();
        eprintln!("restart {restart} took {:?}", start.elapsed());
        assert_eq!(fleet.daemon.address(), address);
    }
    let before = counts.answered.load(Relaxed);
    answered(before + 10 * CLIENTS);
    counts.over.store(true, Relaxed);
    let longest = clients.into_iter().map(|client| client.join().unwrap()).max().unwrap();

    let get = |count: &AtomicUsize| count.load(Relaxed);
    eprintln!(
        "{} answered, longest wait for one {longest:?}, {} kept connections told to close",
        get(&counts.answered),
        get(&counts.closed)
    );
    assert_eq!(get(&counts.failed), 0);
    assert!(get(&counts.closed) >= RESTARTS * CLIENTS);
}

/// Asks again and again, never twice for the same; answers how long it waited at most.
fn client(
    kept: bool,
    address: SocketAddr,
    token: String,
    counts: Arc<Counts>,
) -> JoinHandle<Duration> {
    std::thread::spawn(move || {
        let mut connection = None;
        let mut longest = Duration::ZERO;
        while !counts.over.load(Relaxed) {
            let start = Instant::now();
            let response = if kept {
                let open = connection.get_or_insert_with(|| Kept::open(address));
                open.get("/mcp/list_agents", Some(&token))
            } else {
                Ok(Request::new(address, "GET", "/mcp/list_agents").bearer(&token).send())
            };
            longest = longest.max(start.elapsed());
            match response {
                Ok(response) if response.status == 200 => {
                    counts.answered.fetch_add(1, Relaxed);
                    if kept && response.header("connection") == Some("close") {
                        counts.closed.fetch_add(1, Relaxed);
                        connection = None;
                    }
                }
                other => {
                    eprintln!("failed, kept: {kept}: {other:?}");
                    counts.failed.fetch_add(1, Relaxed);
                    connection = None;
                }
            }
            std::thread::park_timeout(PAUSE.saturating_sub(start.elapsed()));
        }
        longest
    })
}

#[test]
fn a_kept_connection_that_pauses_longer_than_a_second_gets_its_last_answer() {
    let mut daemon = builder("").supervised(0).start();
    let token = daemon.token();
    let mut client = Kept::open(daemon.address());
    client.get("/mcp/list_agents", Some(&token)).unwrap();

    daemon.signal(Signal::SIGTERM);
    daemon.log_line("Server is stopping");
    let pause = Instant::now() + Duration::from_secs(2);
    eventually("two seconds have passed", || (pause < Instant::now()).then_some(()));
    let answer = client.get("/mcp/list_agents", Some(&token)).unwrap();

    assert_eq!((answer.status, answer.header("connection")), (200, Some("close")));
    let start = Instant::now();
    assert!(daemon.wait().success());
    assert!(start.elapsed() < Duration::from_secs(4), "{:?}", start.elapsed());
}

#[test]
fn a_client_that_comes_while_others_are_seen_off_is_served_at_once() {
    let mut daemon = builder("").supervised(0).start();
    let token = daemon.token();
    let mut resting = Kept::open(daemon.address());
    resting.get("/mcp/list_agents", Some(&token)).unwrap();
    let silent = Kept::open(daemon.address());
    daemon.signal(Signal::SIGTERM);
    daemon.log_line("Server is stopping");

    let start = Instant::now();
    let response = daemon.get("/mcp/list_agents").bearer(&token).send();

    assert_eq!((response.status, response.header("connection")), (200, Some("close")));
    assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
    // Whoever says nothing for long does not hold up the end.
    let start = Instant::now();
    assert!(daemon.wait().success());
    assert!(start.elapsed() < Duration::from_secs(9), "{:?}", start.elapsed());
    assert_eq!((resting.rest(), silent.rest()), (vec![], vec![]));
}

#[test]
fn who_waits_for_an_agent_is_answered_when_the_daemon_stops() {
    let fleet = Fleet::start(builder("").supervised(1));
    fleet.create("a", "demo", "slow");
    fleet.until_it_says("a", "0… ");
    let wait = json!({"agent_name": "a", "timeout_seconds": 60}).to_string();
    let request = fleet.daemon.post("/mcp/wait_for_agent", wait).bearer(&fleet.token);
    let waiting = std::thread::spawn(move || request.send());
    let mut kept = Kept::open(fleet.daemon.address());
    eventually("the wait has begun", || {
        let metrics = kept.get("/metrics", Some(&fleet.token)).ok()?.body;
        metrics.contains("in_flight 2").then_some(())
    });

    fleet.daemon.signal(Signal::SIGTERM);
    let start = Instant::now();
    let waited = waiting.join().unwrap();

    assert_eq!(waited.json()["state"], "running", "{}", waited.body);
    assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
}
