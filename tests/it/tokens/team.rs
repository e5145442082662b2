//! A team rotates its tokens while it works: nobody is refused who moves in time, and the operator sees
//! who has not.

use std::{
    collections::BTreeSet,
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    thread,
};

use super::listed;
use crate::support::{Kept, TestDaemon, eventually};

const CLIENTS: usize = 20;
/// Clients that don't move before the deadline.
const STRAGGLERS: usize = 3;

struct Client {
    name: String,
    token: Mutex<String>,
    served: AtomicUsize,
    refused: AtomicUsize,
}

impl Client {
    /// Asks until the end, and goes on after a refusal.
    fn work(&self, daemon: &TestDaemon, over: &AtomicBool) {
        let mut connection = Kept::open(daemon.address());
        while !over.load(SeqCst) {
            let token = self.token.lock().unwrap().clone();
            let answer = connection.get("/mcp/list_agents", Some(&token)).expect("no lost answer");
            match answer.status {
                200 => self.served.fetch_add(1, SeqCst),
                401 => self.refused.fetch_add(1, SeqCst),
                status => panic!("{}: {status}", self.name),
            };
            if answer.header("connection") == Some("close") {
                connection = Kept::open(daemon.address());
            }
        }
    }

    fn goes_on(&self) {
        let before = self.served.load(SeqCst);
        eventually("the client is served", || {
            (self.served.load(SeqCst) > before + 1).then_some(())
        });
    }
}

/// Who still uses a former secret, by the list.
fn stragglers(daemon: &TestDaemon, since: &str) -> BTreeSet<String> {
    let rows = listed(daemon);
    let lags = rows.iter().filter(|row| {
        row["state"] == "overlapping" && row["last_used"].as_str().is_some_and(|at| at >= since)
    });
    lags.map(|row| row["name"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn twenty_clients_move_one_by_one_and_only_who_is_late_is_refused() {
    let daemon = TestDaemon::builder().env("FLEET_MCP_LOG", "info").start();
    let client = |number: usize| {
        let name = format!("client-{number:02}");
        let token = Mutex::new(daemon.create_token(&name, &[]));
        Client { name, token, served: AtomicUsize::new(0), refused: AtomicUsize::new(0) }
    };
    let clients: Vec<_> = (0..CLIENTS).map(client).collect();
    let over = AtomicBool::new(false);

    thread::scope(|scope| {
        for client in &clients {
            scope.spawn(|| client.work(&daemon, &over));
        }
        let _end = End(&over);
        clients.iter().for_each(Client::goes_on);
        let new: Vec<_> = clients
            .iter()
            .map(|client| daemon.secret_of(&["token", "rotate", &client.name, "--grace", "20s"]))
            .collect();
        let (late, in_time) = clients.split_at(STRAGGLERS);
        for (client, new) in in_time.iter().zip(&new[STRAGGLERS..]) {
            *client.token.lock().unwrap() = new.clone();
            client.goes_on();
        }

        // Their old secrets were used in the seconds before they moved, so only later use counts.
        let names: BTreeSet<_> = late.iter().map(|client| client.name.clone()).collect();
        eventually("the list names exactly those who have not moved", || {
            let rows = listed(&daemon);
            let newest = rows.iter().filter_map(|row| row["last_used"].as_str()).max();
            (stragglers(&daemon, newest.unwrap()) == names).then_some(())
        });
        assert!(
            clients.iter().all(|client| client.refused.load(SeqCst) == 0),
            "before the deadline"
        );

        eventually("whoever is late is refused", || {
            late.iter().all(|client| client.refused.load(SeqCst) > 0).then_some(())
        });
        in_time.iter().for_each(Client::goes_on);
        assert!(in_time.iter().all(|client| client.refused.load(SeqCst) == 0));
        for (client, new) in late.iter().zip(&new) {
            *client.token.lock().unwrap() = new.clone();
            client.goes_on();
        }
    });

    let served: usize = clients.iter().map(|client| client.served.load(SeqCst)).sum();
    let refused: usize = clients.iter().map(|client| client.refused.load(SeqCst)).sum();
    eprintln!("{served} requests served, {refused} refused after their deadline");
}

/// Ends the clients, also when the operator panics.
struct End<'a>(&'a AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, SeqCst);
    }
}
