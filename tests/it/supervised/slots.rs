//! Agents in slots.

use std::{collections::BTreeSet, fs, io::Read as _, os::unix::net::UnixStream};

use nix::sys::signal::Signal;
use serde_json::json;

use crate::{
    fleet::{
        Fleet, builder,
        repositories::{git, repository},
    },
    support::{PATIENCE, eventually},
};

#[test]
fn an_agent_lives_in_its_slot_until_it_is_deleted() {
    let fleet = Fleet::start(builder("").supervised(2));
    let slots = fleet.daemon.manager().slots();

    fleet.create("a", "demo", "first");
    assert_eq!(fleet.outcome("a"), ["idle", "done", ""]);
    fleet.create("b", "demo", "first");
    assert_eq!(fleet.outcome("b"), ["idle", "done", ""]);

    for slot in [1, 2] {
        assert!(slots.state(slot).join("workspace/repo").is_dir());
        assert!(slots.host(slot).is_some());
    }
    let status = fleet.daemon.status();
    assert_eq!(status["slots"], json!({"total": 2, "free": 0}));
    let shown = fleet.fleetctl(&["status"]);
    assert!(shown.contains("Agents run      by systemd, in slots: 2, 0 free"), "{shown}");
    assert!(shown.contains("a user of its own and in a cgroup of its own"), "{shown}");
    let kept = fleet.daemon.manager().kept();
    assert_eq!(&kept[..2], ["agent-01-1", "agent-02-2"], "{kept:?}");

    fleet.delete("a");
    fleet.until_deleted("a");
    eventually("its host has ended", || slots.host(1).is_none().then_some(()));
    assert!(fs::read_dir(slots.state(1)).unwrap().next().is_none());
    assert_eq!(fleet.daemon.manager().kept()[0], "agent-02-2");
    fleet.create("c", "demo", "first");
    assert_eq!(fleet.outcome("c"), ["idle", "done", ""]);
    assert_eq!(fleet.daemon.manager().kept()[0], "agent-01-3");
}

#[test]
fn without_a_free_slot_nobody_is_created_and_the_answer_says_how_to_make_one() {
    let fleet = Fleet::start(builder("").supervised(1));
    fleet.create("a", "demo", "first");
    let new = json!({"name": "b", "project": "scratch", "role": "demo", "task": "x"});

    let refused = fleet.call("create_agent", &new);

    assert_eq!(refused.status, 409, "{}", refused.body);
    let error = &refused.json()["error"];
    assert_eq!(error["code"], "CONFLICT");
    let words = error["message"].as_str().unwrap();
    let expected = "each of the 1 slots of this machine has an agent; delete one, or make one more \
                    slot: `systemctl enable --now fleet-agent@02.socket`";
    assert_eq!(words, expected);
    assert_eq!(fleet.call("show_agent", &json!({"agent_name": "b"})).status, 404);
    fleet.delete("a");
    fleet.until_deleted("a");
    fleet.create("b", "demo", "first");
}

#[test]
fn a_machine_without_slots_says_how_to_get_them_and_never_makes_child_processes() {
    let mut daemon = builder("");
    for missing in [true, false] {
        let directory = daemon.home().join("none");
        if !missing {
            fs::create_dir(&directory).unwrap();
        }
        daemon = daemon.env("FLEET_MCP_FLEET_SLOTS", &directory);
        let fleet = Fleet::start(daemon);
        let mend = "make them with `systemctl enable --now fleet-agents.target`";

        let new = json!({"name": "a", "project": "scratch", "role": "demo", "task": "x"});
        let refused = fleet.call("create_agent", &new);

        assert_eq!(refused.status, 409);
        assert!(refused.body.contains(mend), "{}", refused.body);
        let status = fleet.daemon.status();
        assert!(status["warnings"][0].as_str().unwrap().contains(mend), "{status}");
        fleet.daemon.log_line(mend);
        assert_eq!(fleet.processes(), []);
        daemon = fleet.stops_clean();
    }
}

#[test]
fn a_second_connection_to_a_slot_is_closed_and_disturbs_nobody() {
    let fleet = Fleet::start(builder("").supervised(1));
    fleet.create("a", "demo", "slow");
    fleet.until_it_says("a", "0… ");
    let host = fleet.daemon.manager().slots().host(1);

    for _ in 0..10 {
        let socket = fleet.daemon.manager().slots().directory().join("01.sock");
        let mut second = UnixStream::connect(socket).unwrap();
        second.set_read_timeout(Some(PATIENCE)).unwrap();
        assert_eq!(second.read(&mut [0]).unwrap_or(0), 0);
    }

    fleet.cancel("a");
    assert_eq!(fleet.outcome("a")[1], "canceled");
    assert_eq!(fleet.daemon.manager().slots().host(1), host);
}

#[test]
fn what_another_agent_has_left_in_a_slot_is_set_aside() {
    let fleet = Fleet::start(builder("").supervised(1));
    let left = fleet.daemon.manager().slots().state(1).join("workspace");
    fs::create_dir(&left).unwrap();
    fs::write(left.join("agent"), "77\n\n").unwrap();
    fs::write(left.join("secret"), "of 77").unwrap();

    fleet.create("a", "demo", "first");
    assert_eq!(fleet.outcome("a"), ["idle", "done", ""]);

    assert!(!left.join("secret").exists());
    assert!(left.with_file_name("workspace~77").join("secret").exists());
}

#[test]
fn nothing_of_an_agent_is_left_when_its_host_is_killed() {
    let fleet = Fleet::start(builder("").supervised(1));
    fleet.create("a", "demo", "slow");
    fleet.until_it_says("a", "0… ");
    let slots = fleet.daemon.manager().slots();
    let host = slots.host(1).unwrap().cast_signed();

    nix::sys::signal::kill(nix::unistd::Pid::from_raw(host), Signal::SIGKILL).unwrap();

    let [_, state, message] = fleet.outcome("a");
    assert_eq!(state, "failed", "{message}");
    eventually("all is gone", || fleet.processes().is_empty().then_some(()));
    assert_eq!(fleet.daemon.manager().kept().len(), 1, "only the listener is kept");
    fleet.assign("a", "again");
    assert_eq!(fleet.outcome("a"), ["idle", "done", ""]);
}

#[test]
fn agents_of_a_stopped_daemon_end() {
    let fleet = Fleet::start(builder("").supervised(1));
    fleet.create("a", "demo", "slow");
    fleet.until_it_says("a", "0… ");
    let (home, pid) = (fleet.daemon.home(), fleet.daemon.pid());
    let mut daemon = fleet.daemon;

    daemon.signal(Signal::SIGTERM);
    assert!(daemon.wait().success());
    daemon.manager().forget();

    eventually("all is gone", || crate::fleet::processes_in(&home, pid).is_empty().then_some(()));
}

#[test]
fn an_agent_has_the_same_slot_after_a_restart_and_nobody_else_gets_it() {
    let mut fleet = Fleet::start(builder("").supervised(2));
    fleet.create("a", "demo", "first");
    assert_eq!(fleet.outcome("a"), ["idle", "done", ""]);
    fleet.create("b", "demo", "first");
    assert_eq!(fleet.outcome("b"), ["idle", "done", ""]);
    fleet.delete("a");
    fleet.until_deleted("a");

    for end in [Signal::SIGTERM, Signal::SIGKILL] {
        fleet.daemon.signal(end);
        fleet.daemon.wait();
        fleet = fleet.restart();
        let kept = fleet.daemon.manager().slots().state(2).join("workspace/repo");
        assert!(kept.is_dir(), "{end}");
        assert_eq!(fleet.daemon.status()["slots"], json!({"total": 2, "free": 1}));
        fleet.assign("b", "again");
        assert_eq!(fleet.outcome("b"), ["idle", "done", ""]);
    }
    fleet.create("c", "demo", "first");
    assert_eq!(fleet.outcome("c"), ["idle", "done", ""]);

    let kept = fleet.daemon.manager().kept();
    assert_eq!(&kept[..2], ["agent-01-3", "agent-02-2"], "{kept:?}");
}

#[test]
fn many_who_come_at_once_get_a_slot_each_or_none() {
    let fleet = Fleet::start(builder("fleet.max_tasks = 100\n").supervised(4));
    let create = |number: usize| {
        let (name, role) = (format!("a{number}"), "demo");
        let new = json!({"name": name, "project": "scratch", "role": role, "task": "hi"});
        let request = fleet.daemon.post("/mcp/create_agent", new.to_string());
        let request = request.bearer(&fleet.token);
        std::thread::spawn(move || request.send().status)
    };

    let all: Vec<_> = (0..12).map(create).collect();
    let mut answers: Vec<_> = all.into_iter().map(|one| one.join().unwrap()).collect();
    answers.sort_unstable();

    assert_eq!(answers, [&[200; 4][..], &[409; 8]].concat());
    let slots: BTreeSet<_> = eventually("all are kept", || {
        let kept = fleet.daemon.manager().kept();
        let slots = kept.iter().filter_map(|name| Some(name.strip_prefix("agent-")?[..2].into()));
        let slots: BTreeSet<String> = slots.collect();
        (slots.len() == 4).then_some(slots)
    });
    assert_eq!(slots, ["01", "02", "03", "04"].map(str::to_owned).into());
}

#[test]
fn work_in_a_slot_is_published_and_its_workspace_removed() {
    let source = repository();
    let config = format!("[projects.site]\nrepository = \"{}\"\n", source.path().display());
    let fleet = Fleet::start(builder(&config).supervised(1));
    fleet.create_on("site", "sony", "demo", "the first version");
    assert_eq!(fleet.outcome("sony"), ["idle", "done", ""]);

    let published = fleet.tool("publish_agent", &json!({"agent_name": "sony"}));
    fleet.delete("sony");
    fleet.until_deleted("sony");

    let bare = published["repository"].as_str().unwrap();
    assert_eq!(git(bare.as_ref(), &["show", "fleet/sony:demo.txt"]), "the first version");
    let left: Vec<_> = fs::read_dir(fleet.daemon.manager().slots().state(1)).unwrap().collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn an_agent_from_another_time_is_not_started_elsewhere_and_says_why() {
    const SLOTS: &str = "FLEET_MCP_FLEET_SLOTS";
    let fleet = Fleet::start(builder("").supervised(1).without_env(SLOTS));
    fleet.create("child", "demo", "first");
    assert_eq!(fleet.outcome("child"), ["idle", "done", ""]);
    let how = fleet.stops_clean();
    let slots = how.manager().slots().directory().to_owned();
    let fleet = Fleet::start(how.env(SLOTS, slots));

    fleet.assign("child", "again");
    let [_, state, message] = fleet.outcome("child");
    assert_eq!(state, "failed");
    assert!(message.contains("it was created before this daemon had slots"), "{message}");
    assert_eq!(fleet.processes(), []);
    fleet.create("lodger", "demo", "first");
    assert_eq!(fleet.outcome("lodger"), ["idle", "done", ""]);
    let daemon = fleet.daemon.restart_with(|how| how.without_env(SLOTS));
    let token = daemon.token();
    let fleet = Fleet { daemon, token };

    fleet.assign("lodger", "again");
    let [_, state, message] = fleet.outcome("lodger");
    assert_eq!(state, "failed");
    assert!(message.contains("it lives in slot 01, and this daemon has no slots"), "{message}");
    assert!(!fleet.daemon.state_dir().join("agents/lodger").exists());
    fleet.assign("child", "again");
    assert_eq!(fleet.outcome("child"), ["idle", "done", ""]);
}
