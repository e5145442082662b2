//! A daemon that is killed: nothing that somebody was shown is lost, and nothing is left running.

use std::{
    collections::BTreeMap,
    fs,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use super::{Entry, Fleet, builder, enough, processes_in};
use crate::{acp_driver::program, support::eventually};

const INTERRUPTED: &str = "the daemon was restarted in the middle of it";

#[test]
fn agents_of_a_killed_daemon_end_and_its_tasks_are_interrupted() {
    let modes = ["ignore-eof", "slow", "hang", "orphan", "permission"];
    let role = |mode: &str| {
        let program = program();
        let program = program.display();
        format!(
            "[agents.{mode}]\ncommand = \"{program}\"\nargs = [\"{mode}\"]\n\
             [roles.{mode}]\nagent = \"{mode}\"\n"
        )
    };
    let config: String = modes.iter().map(|mode| role(mode)).collect();
    let config = format!("{config}[roles.demo]\nagent = \"demo\"\n");
    let mut fleet = Fleet::start(builder(&config));
    fleet.create("demo", "demo", "first");
    assert_eq!(fleet.outcome("demo"), ["idle", "done", ""]);
    for mode in modes {
        fleet.create(mode, mode, "work");
    }
    fleet.assign("demo", "slow second");
    for mode in modes {
        fleet.until_it_says(mode, "working");
    }
    fleet.until_it_says("demo", "0… ");
    fleet.wait("permission");
    fleet.wait("orphan");
    fleet.wait("ignore-eof");
    assert!(fleet.processes().len() > modes.len());

    fleet.daemon.kill();
    let killed = Instant::now();
    let (home, pid) = (fleet.daemon.home(), fleet.daemon.pid());
    eventually("all are gone without the next daemon", || {
        processes_in(&home, pid).is_empty().then_some(())
    });
    eprintln!("agents were gone {:?} after the kill", killed.elapsed());

    let fleet = fleet.restart();
    for name in ["slow", "hang", "permission", "demo"] {
        assert_eq!(fleet.outcome(name), ["idle", "interrupted", INTERRUPTED], "{name}");
        assert!(fleet.has_said(name, "notice", INTERRUPTED));
    }
    assert_eq!(fleet.outcome("orphan"), ["idle", "done", ""]);
    assert_eq!(fleet.processes(), []);

    fleet.assign("demo", "third");
    assert_eq!(fleet.outcome("demo"), ["idle", "done", ""]);
    let sessions: Vec<_> = fs::read_dir(fleet.workspace("demo").join("home/.fleet-demo"))
        .unwrap()
        .map(|session| fs::read_to_string(session.unwrap().path()).unwrap())
        .collect();
    let [session] = &sessions[..] else { panic!("not one session: {sessions:?}") };
    assert!(session.contains("first") && session.contains("third"), "{session}");
    let names = [&modes[..], &["demo"]].concat();
    fleet.ends_clean(&names);
}

#[test]
fn the_next_daemon_ends_what_a_killed_one_has_left() {
    let mut fleet = Fleet::start(builder(""));
    fleet.create("a", "demo", "slow");
    fleet.until_it_says("a", "0… ");
    let (home, pid) = (fleet.daemon.home(), fleet.daemon.pid());

    // Standing still, they can't end by themselves.
    let left = fleet.processes();
    assert!(left.len() >= 2, "{left:?}");
    for process in &left {
        nix::sys::signal::kill(
            nix::unistd::Pid::from_raw(process.pid),
            nix::sys::signal::Signal::SIGSTOP,
        )
        .unwrap();
    }
    fleet.daemon.kill();
    assert!(!processes_in(&home, pid).is_empty());

    let fleet = fleet.restart();
    assert_eq!(fleet.processes(), []);
    fleet.daemon.log_line("ended processes that a killed daemon had left");
    assert_eq!(fleet.outcome("a"), ["idle", "interrupted", INTERRUPTED]);
    fleet.ends_clean(&["a"]);
}

/// What clients were shown of an agent's log.
type Shown = BTreeMap<i64, Entry>;

const AGENTS: [&str; 3] = ["a", "b", "c"];

fn look(fleet: &Fleet, name: &str, shown: &mut Shown) {
    let page = json!({"agent_name": name, "page_size": 20});
    let page = fleet.tool("show_agent_log", &page);
    shown.extend(page["logs"].as_array().unwrap().iter().map(super::entry).map(|e| (e.id, e)));
}

/// Everything shown is there; an entry may have grown since.
fn is_kept(fleet: &Fleet, name: &str, shown: &Shown) {
    let log: Shown = fleet.log(name).into_iter().map(|entry| (entry.id, entry)).collect();
    for (id, entry) in shown {
        let kept = log.get(id).unwrap_or_else(|| panic!("{name} has lost {entry:?}"));
        assert_eq!(kept.kind, entry.kind);
        assert!(kept.content.starts_with(&entry.content), "{entry:?} became {kept:?}");
    }
}

fn is_consistent(fleet: &Fleet, name: &str) {
    let agent = fleet.show(name);
    let history = json!({"agent_name": name, "page_size": 100});
    let history = fleet.tool("show_agent_task_history", &history);
    let tasks = history["tasks"].as_array().unwrap();
    assert_eq!(agent["task"], tasks[0]);
    for task in tasks {
        let state = task["state"].as_str().unwrap();
        assert!(["done", "interrupted"].contains(&state), "{task}");
        assert_ne!(task["ended_at"], Value::Null, "{task}");
    }
    assert_eq!(agent["status"], "idle", "{agent}");
    // The same workspace all along: none was set aside or made anew.
    let mut workspaces: Vec<_> = fs::read_dir(fleet.daemon.state_dir().join("agents"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    workspaces.retain(|name| !AGENTS.contains(&&**name));
    assert!(workspaces.is_empty(), "{workspaces:?}");
}

#[test]
fn kills_at_random_moments_lose_nothing_that_was_shown() {
    const LONGEST: u64 = 150;
    let kills = enough(15, 100);
    let start = Instant::now();
    let mut fleet = Fleet::start(builder(""));
    let mut shown: BTreeMap<&str, Shown> = BTreeMap::new();
    for name in AGENTS {
        fleet.create(name, "demo", "stream 200");
    }
    let mut interrupted = 0;
    for _ in 0..kills {
        let moment = Instant::now() + Duration::from_millis(rand::random_range(0..LONGEST));
        while Instant::now() < moment {
            for name in AGENTS {
                look(&fleet, name, shown.entry(name).or_default());
            }
        }
        fleet.daemon.kill();

        fleet = fleet.restart();
        for name in AGENTS {
            is_kept(&fleet, name, shown.entry(name).or_default());
            is_consistent(&fleet, name);
            interrupted += usize::from(fleet.show(name)["task"]["state"] == "interrupted");
            fleet.assign(name, "stream 200");
        }
    }
    for name in AGENTS {
        assert_eq!(fleet.outcome(name), ["idle", "done", ""]);
        is_kept(&fleet, name, &shown[name]);
    }
    let entries: usize = shown.values().map(BTreeMap::len).sum();
    eprintln!(
        "{kills} kills in {:?}: {interrupted} tasks interrupted, {entries} entries shown",
        start.elapsed()
    );
    assert!(interrupted > 0, "no kill came in time");
    fleet.ends_clean(&AGENTS);
}
