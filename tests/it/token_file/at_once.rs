//! More than one daemon on the same files: one serves, and its token is the file's.

use std::{
    fs,
    process::{ExitStatus, Stdio},
};

use super::{json, status_of};
use crate::support::{Builder, Control, Request, Running, TestDaemon, eventually, stderr};

fn begin(builder: &Builder, log: &str) -> Running {
    let log = fs::File::create(builder.home().join(log)).unwrap();
    let mut command = builder.command(env!("CARGO_BIN_EXE_fleet-mcp"));
    Running::start(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log))
}

fn ended(child: &mut Running) -> Option<ExitStatus> {
    child.0.try_wait().unwrap()
}

/// Asks with the file's token on the address that the daemon behind this socket listens on.
fn accepts_the_files_token(builder: &Builder) {
    let control = Control::at(&builder.control_socket());
    let status = eventually("it serves", || {
        let status = control.ask("GET", "/v1/status", "").ok()?.json();
        (status["state"] == "ready").then_some(status)
    });
    let token = json(&builder.token_file())["value"].as_str().unwrap().to_owned();
    let url = status["listeners"][0].as_str().unwrap();
    let address = url.trim_start_matches("http://").parse().unwrap();
    let answer = Request::new(address, "GET", "/mcp/list_agents").bearer(&token).send();
    assert_eq!(answer.status, 200);
    for log in ["log1", "log2"] {
        let log = fs::read_to_string(builder.home().join(log)).unwrap_or_default();
        assert!(!log.contains(&token), "a secret is in the log");
    }
}

#[test]
fn second_daemon_on_a_state_directory_is_told_who_has_it() {
    let first = TestDaemon::start();
    let token = first.token();

    let second = first.how().fails();

    assert_eq!(second.code, Some(69), "{}", second.stderr);
    let who = format!("another fleet-mcp (process {})", first.pid());
    assert!(second.stderr.contains(&who), "{}", second.stderr);
    assert!(second.stderr.contains(&format!("help: `ps {}`", first.pid())), "{}", second.stderr);
    assert_eq!(status_of(&first, &token), 200);
    assert!(
        first.fleetctl(&["status"]).status.success(),
        "{}",
        stderr(&first.fleetctl(&["status"]))
    );
}

#[test]
fn of_two_that_start_at_once_one_serves_and_its_token_is_the_files() {
    for round in 0..20 {
        let builder = TestDaemon::builder();

        let (mut one, mut two) = (begin(&builder, "log1"), begin(&builder, "log2"));
        let (loser, winner) =
            eventually("one of them gives up", || match (ended(&mut one), ended(&mut two)) {
                (None, None) => None,
                (Some(status), None) => Some((status, 2)),
                (None, Some(status)) => Some((status, 1)),
                (Some(a), Some(b)) => panic!("round {round}: both ended: {a}, {b}"),
            });

        assert_eq!(loser.code(), Some(69), "round {round}");
        accepts_the_files_token(&builder);
        let winner = if winner == 1 { &mut one } else { &mut two };
        assert!(ended(winner).is_none());
    }
}

#[test]
fn of_two_that_share_only_the_token_file_none_serves_with_another_token() {
    let mut served = 0;
    for _ in 0..10 {
        let shared = TestDaemon::builder();
        let file = shared.home().join("token.json");
        let [one, two] = ["one", "two"].map(|name| {
            let state = shared.home().join(name);
            shared.clone().env("FLEET_MCP_STATE_DIR", state).env("FLEET_MCP_AUTH_TOKEN_FILE", &file)
        });

        let mut daemons = [(&one, begin(&one, "log1")), (&two, begin(&two, "log2"))];
        let serves = eventually("each serves or gave up", || {
            let settled = daemons.each_mut().map(|(builder, child)| {
                let serves = Control::at(&builder.control_socket()).ask("GET", "/v1/status", "");
                if serves.is_ok() { Some(true) } else { ended(child).map(|_| false) }
            });
            (!settled.contains(&None)).then(|| settled.map(|serves| serves == Some(true)))
        });

        for ((builder, _), serves) in daemons.iter().zip(serves) {
            if serves {
                accepts_the_files_token(builder);
                served += 1;
            }
        }
    }
    // They have no lock in common, so both may give up; not every time.
    assert!(served > 0);
}
