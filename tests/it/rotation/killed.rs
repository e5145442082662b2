//! SIGKILL at any moment of a rotation: the file is whole, and what was answered is kept.

use std::{
    collections::HashSet,
    fs::{self, OpenOptions},
    path::Path,
    process::Stdio,
    sync::atomic::{AtomicUsize, Ordering::SeqCst},
    time::{Duration, Instant},
};

use crate::support::{Builder, Control, Running, TestDaemon, eventually};

const KILLS: usize = 200;
/// The latest moment of a rotation, or of the next one, counted from its begin.
const LATEST: Duration = Duration::from_millis(20);

fn begin(builder: &Builder, log: &Path) -> Running {
    let log = OpenOptions::new().append(true).create(true).open(log).unwrap();
    let mut command = builder.command(env!("CARGO_BIN_EXE_fleet-mcp"));
    Running::start(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log))
}

fn in_file(builder: &Builder) -> String {
    let file = fs::read(builder.token_file()).unwrap();
    let file: serde_json::Value = serde_json::from_slice(&file).expect("the file parses");
    file["value"].as_str().unwrap().to_owned()
}

/// Rotates until the daemon is killed; every secret that was answered, in order.
fn rotate_until_the_end(control: &Control, count: &AtomicUsize) -> Vec<String> {
    let rotate = || control.rotate().ok().inspect(|_| _ = count.fetch_add(1, SeqCst));
    std::iter::from_fn(rotate).collect()
}

/// Any moment after so many whole rotations, also on a slow machine.
fn wait_for_the_moment(answered: &AtomicUsize, whole: usize) {
    eventually("a rotation", || (answered.load(SeqCst) >= whole).then_some(()));
    let (start, moment) = (Instant::now(), LATEST.mul_f64(rand::random::<f64>()));
    while start.elapsed() < moment {
        std::hint::spin_loop();
    }
}

#[test]
fn two_hundred_kills_leave_a_whole_file_and_lose_no_answered_rotation() {
    let builder = TestDaemon::builder().env("FLEET_MCP_LOG", "debug");
    let log = builder.home().join("log");
    let control = Control::at(&builder.control_socket());
    let mut issued: HashSet<String> = HashSet::new();
    let mut last: Option<String> = None;
    let mut unanswered = 0;

    for kill in 0..KILLS {
        let mut daemon = begin(&builder, &log);
        let served = eventually("the daemon starts again", || {
            let ended = daemon.0.try_wait().unwrap();
            assert_eq!(ended, None, "kill {kill}: it did not start again");
            control.secret().ok()
        });
        // What the last kill left in the file is what the next daemon goes on with.
        assert!(last.as_ref().is_none_or(|last| *last == served), "kill {kill}");
        issued.insert(served.clone());

        let count = AtomicUsize::new(0);
        let answered = std::thread::scope(|scope| {
            let rotations = scope.spawn(|| rotate_until_the_end(&control, &count));
            wait_for_the_moment(&count, kill % 4);
            daemon.0.kill().unwrap();
            daemon.0.wait().unwrap();
            rotations.join().unwrap()
        });

        let found = in_file(&builder);
        let newest = answered.last().unwrap_or(&served).clone();
        issued.extend(answered);
        // Either the last one that was answered, or the one whose answer was cut off.
        let is_cut_off = !issued.contains(&found);
        assert!(found == newest || is_cut_off, "kill {kill}: an answered rotation was lost");
        unanswered += usize::from(is_cut_off);
        issued.insert(found.clone());
        last = Some(found);
    }

    eprintln!("{} rotations, {unanswered} written but not answered", issued.len() - 1);
    assert!(issued.len() > KILLS, "too few rotations to mean anything: {}", issued.len());
    let daemon = builder.start();
    assert_eq!(Some(daemon.token()), last);
    daemon.rotate();
    let mut left = fs::read_dir(daemon.state_dir()).unwrap().map(|e| e.unwrap().file_name());
    assert!(left.all(|name| {
        ["agents", "auth_token", "fleet.db", "fleet.db-shm", "fleet.db-wal", "hosts", "lock", "run"]
            .contains(&name.to_str().unwrap())
    }));
    let log = fs::read_to_string(log).unwrap();
    assert!(!issued.iter().any(|secret| log.contains(secret)), "a secret is in the log");
}
