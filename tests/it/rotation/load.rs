//! Rotation under load: nobody gets a wrong answer.

use std::{
    sync::{
        RwLock,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    thread,
};

use crate::support::{Control, Kept, TestDaemon, eventually};

const CONNECTIONS: usize = 32;
const ROTATIONS: usize = 50;
/// Requests that are answered between two rotations, at least.
const BETWEEN: usize = 100;

/// What the clients and the operator share. Tokens are numbered from the oldest on.
#[derive(Default)]
struct Run {
    tokens: RwLock<Vec<String>>,
    /// Rotations that were asked for, and those that were answered.
    begun: AtomicUsize,
    answered: AtomicUsize,
    over: AtomicBool,
    /// Answers so far: to the token that surely counts, to one that surely doesn't, in between.
    accepted: AtomicUsize,
    refused: AtomicUsize,
    between: AtomicUsize,
}

impl Run {
    fn token(&self, number: usize) -> String {
        self.tokens.read().unwrap()[number].clone()
    }

    fn requests(&self) -> usize {
        [&self.accepted, &self.refused, &self.between].map(|count| count.load(SeqCst)).iter().sum()
    }

    /// One client: mostly the newest token that it can know, sometimes an older one.
    fn client(&self, daemon: &TestDaemon) {
        let mut connection = Kept::open(daemon.address());
        let mut turn = 0_usize;
        while !self.over.load(SeqCst) {
            turn += 1;
            let before = self.answered.load(SeqCst);
            let number = if turn.is_multiple_of(4) { before.saturating_sub(1) } else { before };
            let token = self.token(number);

            let answer = connection.get("/mcp/list_agents", Some(&token)).expect("no lost answer");

            let begun = self.begun.load(SeqCst);
            let count = match (number < before, begun > number) {
                (true, _) => {
                    assert_eq!(answer.status, 401, "token {number} after rotation {before}");
                    &self.refused
                }
                (false, false) => {
                    assert_eq!(answer.status, 200, "token {number}, and no rotation since");
                    &self.accepted
                }
                // The rotation came while the request was on its way.
                (false, true) => {
                    assert!([200, 401].contains(&answer.status), "{}", answer.status);
                    &self.between
                }
            };
            count.fetch_add(1, SeqCst);
            if answer.header("connection") == Some("close") {
                connection = Kept::open(daemon.address());
            }
        }
    }

    fn rotate(&self, control: &Control) {
        self.begun.fetch_add(1, SeqCst);
        let token = control.rotate().unwrap();
        self.tokens.write().unwrap().push(token);
        self.answered.fetch_add(1, SeqCst);
    }
}

/// Ends the clients, also when the operator panics.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, SeqCst);
    }
}

#[test]
fn fifty_rotations_under_load_give_nobody_a_wrong_answer() {
    let daemon = TestDaemon::builder().env("FLEET_MCP_LOG", "info").start();
    let control = Control::at(&daemon.control_socket());
    let run = Run::default();
    run.tokens.write().unwrap().push(daemon.token());

    thread::scope(|scope| {
        let over = Over(&run.over);
        let clients: Vec<_> =
            (0..CONNECTIONS).map(|_| scope.spawn(|| run.client(&daemon))).collect();
        for _ in 0..ROTATIONS {
            let enough = run.requests() + BETWEEN;
            eventually("requests between two rotations", || {
                // Anyone who has ended has found a wrong answer, and says which.
                assert!(!clients.iter().any(thread::ScopedJoinHandle::is_finished));
                (run.requests() >= enough).then_some(())
            });
            run.rotate(&control);
        }
        drop(over);
    });

    let [accepted, refused, between] =
        [run.accepted, run.refused, run.between].map(AtomicUsize::into_inner);
    eprintln!("{accepted} accepted, {refused} refused, {between} during a rotation");
    assert!(accepted > ROTATIONS * BETWEEN / 4 && refused > ROTATIONS * BETWEEN / 20);
    let tokens = run.tokens.into_inner().unwrap();
    assert_eq!(tokens.len(), ROTATIONS + 1);
    tokens.iter().for_each(|token| daemon.watch_for(token));
    assert_eq!(daemon.token(), tokens[ROTATIONS]);
    // Every refusal was counted, whether or not it has an entry of its own.
    let counted: u64 = daemon.status()["refused"]
        .as_array()
        .unwrap()
        .iter()
        .map(|count| count["count"].as_u64().unwrap())
        .sum();
    assert!(counted >= refused as u64, "{counted} counted of {refused}");
}
