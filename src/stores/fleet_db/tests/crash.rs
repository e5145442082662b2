//! What was answered outlives `kill -9` at any moment.

use std::{
    collections::HashSet,
    io::{BufRead as _, BufReader, Write as _},
    path::Path,
    process::{Command, Stdio},
};

use rand::RngExt as _;

use super::{
    super::FleetDb,
    support::{append, commit, create, home, wait},
};
use crate::{app::ports::fleet_store::FleetStore as _, fleet::AgentId};

const DIR: &str = "FLEET_DB_TEST_DIR";
const ROUND: &str = "FLEET_DB_TEST_ROUND";
const COMMITTERS: usize = 4;

/// The process that is killed: commits without end and tells what was answered.
fn commit_until_killed(dir: &str, round: &str) {
    let db = FleetDb::open(Path::new(dir)).unwrap();
    std::thread::scope(|scope| {
        for committer in 0..COMMITTERS {
            let db = &db;
            scope.spawn(move || {
                for number in 0.. {
                    let name = format!("{round}/{committer}/{number}");
                    commit(db, vec![append(1, &name), append(1, &format!("{name}+"))]).unwrap();
                    writeln!(std::io::stdout().lock(), "durable {name}").unwrap();
                }
            });
        }
    });
}

#[test]
fn what_was_answered_outlives_a_kill_at_any_moment() {
    // This test is also the program that it kills.
    if let (Ok(dir), Ok(round)) = (std::env::var(DIR), std::env::var(ROUND)) {
        return commit_until_killed(&dir, &round);
    }
    let home = home();
    create(&FleetDb::open(home.path()).unwrap(), 1);
    let mut answered = HashSet::new();
    for round in 0..20 {
        answered.extend(run_and_kill(home.path(), round));

        let db = FleetDb::open(home.path()).unwrap();

        let log = wait(db.log_after(AgentId(1), 0, usize::MAX)).unwrap();
        let there: HashSet<&str> = log.iter().map(|entry| entry.content.as_str()).collect();
        for name in &answered {
            assert!(there.contains(name.as_str()), "{name} of round {round} is lost");
        }
        for name in &there {
            let other = name.strip_suffix('+').map_or(format!("{name}+"), str::to_owned);
            assert!(there.contains(other.as_str()), "half of {name} is there");
        }
    }
    assert!(answered.len() > 20, "it was killed before it did anything");
}

/// What was answered before the kill.
fn run_and_kill(dir: &Path, round: u32) -> Vec<String> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--nocapture", "--exact"])
        .arg("stores::fleet_db::tests::crash::what_was_answered_outlives_a_kill_at_any_moment")
        .env(DIR, dir)
        .env(ROUND, round.to_string())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut answers = lines.map_while(Result::ok).filter_map(|line| {
        // The test runner's own words may stand before it.
        line.split_once("durable ").map(|(_, name)| name.to_owned())
    });
    let wanted = rand::rng().random_range(1..150);
    let mut answered: Vec<String> = answers.by_ref().take(wanted).collect();
    child.kill().unwrap();
    answered.extend(answers);
    child.wait().unwrap();
    answered
}
