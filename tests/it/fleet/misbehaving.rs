//! Agents that misbehave: the right status, outcome and entry each time, and no process afterwards.

use nix::{sys::signal::kill, unistd::Pid};
use serde_json::json;

use super::{Fleet, builder};
use crate::{acp_driver::program, support::eventually};

const MODES: [&str; 11] = [
    "ok",
    "slow",
    "permission",
    "crash",
    "hang",
    "ignore-cancel",
    "ignore-eof",
    "garbage-line",
    "orphan",
    "quota-error",
    "silent-start",
];

/// A role for each way to misbehave.
pub(crate) fn config(limits: &str) -> String {
    let program = program();
    let role = |mode: &str, arguments: &str| {
        format!(
            "[agents.{mode}]\ncommand = \"{}\"\nargs = [{arguments}]\n\
             [roles.{mode}]\nagent = \"{mode}\"\npermissions = \"ask\"\n",
            program.display()
        )
    };
    let modes: String = MODES.iter().map(|mode| role(mode, &format!("\"{mode}\""))).collect();
    let flood = role("flood", "\"flood\", \"5000\"");
    format!("[fleet]\nclose_grace = \"1s\"\n{limits}\n{modes}{flood}")
}

fn fleet(limits: &str) -> Fleet {
    Fleet::start(builder(&config(limits)))
}

fn is_alive(pid: i32) -> bool {
    kill(Pid::from_raw(pid), None).is_ok()
}

#[test]
fn a_task_is_done() {
    let fleet = fleet("");
    fleet.create("a", "ok", "work");

    assert_eq!(fleet.outcome("a"), ["idle", "done", ""]);
    let log = fleet.log("a");
    let log: Vec<_> = log.iter().map(|entry| (&*entry.kind, &*entry.content)).collect();
    assert_eq!(log, [("task", "work"), ("message", "working\n"), ("notice", "task done")]);
    fleet.ends_clean(&["a"]);
}

#[test]
fn a_slow_agent_is_canceled_and_takes_the_next_task() {
    let fleet = fleet("");
    fleet.create("a", "slow", "work");
    fleet.until_it_says("a", "and on");
    fleet.fleetctl(&["task", "cancel", "a"]);

    assert_eq!(fleet.outcome("a"), ["idle", "canceled", "canceled on request"]);
    assert!(fleet.has_said("a", "notice", "task canceled: canceled on request"));
    fleet.assign("a", "more work");
    assert_eq!(fleet.show("a")["status"], "busy");
    fleet.ends_clean(&["a"]);
}

#[test]
fn a_question_is_answered_by_clients_and_from_the_shell() {
    let fleet = fleet("");
    for name in ["answered", "denied", "canceled"] {
        fleet.create(name, "permission", "work");
        let waited = fleet.wait(name);
        assert_eq!(waited["state"], "needs_attention", "{waited}");
        assert_eq!(fleet.show(name)["task"]["needs_user_attention"], true);
        assert!(fleet.has_said(name, "question", "rm -rf /"));
    }

    fleet.tool("answer_agent", &json!({"agent_name": "answered", "choice": "allow_once"}));
    fleet.fleetctl(&["agent", "answer", "denied", "reject_once"]);
    fleet.cancel("canceled");

    assert_eq!(fleet.outcome("answered"), ["idle", "done", ""]);
    assert!(fleet.has_said("answered", "answer", "Yes"));
    assert!(fleet.messages("answered").contains("chosen: yes"));
    assert_eq!(fleet.outcome("denied"), ["idle", "done", ""]);
    assert!(fleet.messages("denied").contains("chosen: no"));
    assert_eq!(fleet.outcome("canceled"), ["idle", "canceled", "canceled on request"]);
    assert!(fleet.messages("canceled").contains("chosen: cancelled"));
    fleet.ends_clean(&["answered", "denied", "canceled"]);
}

#[test]
fn a_question_that_nobody_answers_is_denied() {
    let fleet = fleet("answer_timeout = \"1s\"");
    fleet.create("a", "permission", "work");

    eventually("the task is over", || (fleet.show("a")["status"] == "idle").then_some(()));
    assert_eq!(fleet.outcome("a"), ["idle", "done", ""]);
    assert!(fleet.has_said("a", "notice", "nobody answered within 1s: the answer is no"));
    assert!(fleet.messages("a").contains("chosen: no"));
    fleet.ends_clean(&["a"]);
}

#[test]
fn a_crash_fails_the_task_and_the_next_one_starts_the_program_again() {
    let fleet = fleet("");
    let why = "the agent's program ended with exit status 3";
    fleet.create("a", "crash", "work");

    assert_eq!(fleet.outcome("a"), ["failed", "failed", why]);
    assert_eq!(fleet.messages("a"), "working\n");
    assert!(fleet.has_said("a", "notice", &format!("task failed: {why}")));
    assert_eq!(fleet.processes(), []);
    fleet.assign("a", "again");
    assert_eq!(fleet.outcome("a"), ["failed", "failed", why]);
    assert_eq!(fleet.messages("a"), "working\nworking\n");
    fleet.ends_clean(&["a"]);
}

#[test]
fn silence_ends_a_turn() {
    let fleet = fleet("silence_timeout = \"1s\"");
    fleet.create("a", "hang", "work");

    assert_eq!(fleet.outcome("a"), ["idle", "failed", "the agent was silent for 1s"]);
    assert!(fleet.has_said("a", "notice", "task failed: the agent was silent for 1s"));
    fleet.ends_clean(&["a"]);
}

#[test]
fn a_turn_that_goes_on_after_its_cancel_is_ended_with_its_program() {
    let fleet = fleet("cancel_timeout = \"500ms\"");
    fleet.create("a", "ignore-cancel", "work");
    fleet.until_it_says("a", "working");
    fleet.cancel("a");

    assert_eq!(fleet.outcome("a"), ["idle", "canceled", "canceled on request"]);
    assert!(fleet.messages("a").contains("canceled, but going on"));
    assert!(fleet.has_said("a", "notice", "it did not end the turn within 500ms"));
    assert_eq!(fleet.processes(), []);
    fleet.ends_clean(&["a"]);
}

#[test]
fn a_program_that_stays_when_its_input_ends_is_killed() {
    let fleet = fleet("");
    fleet.create("a", "ignore-eof", "work");
    assert_eq!(fleet.outcome("a"), ["idle", "done", ""]);
    assert!(!fleet.processes().is_empty());

    fleet.ends_clean(&["a"]);
}

#[test]
fn a_flood_is_kept_whole_and_in_order() {
    let fleet = fleet("");
    fleet.create("a", "flood", "work");

    assert_eq!(fleet.outcome("a"), ["idle", "done", ""]);
    let pieces: String = (0..5000).map(|piece| format!("{piece}\n")).collect();
    assert_eq!(fleet.messages("a"), format!("working\n{pieces}"));
    fleet.ends_clean(&["a"]);
}

#[test]
fn garbage_does_not_disturb_a_task() {
    let fleet = fleet("");
    fleet.create("a", "garbage-line", "work");

    assert_eq!(fleet.outcome("a"), ["idle", "done", ""]);
    assert_eq!(fleet.messages("a"), "working\n");
    assert!(fleet.has_said("a", "diagnostic", "outside the protocol: Debugger attached."));
    // Standard error has an order of its own.
    let traced = || fleet.has_said("a", "diagnostic", "Trace: something");
    eventually("standard error is kept, too", || traced().then_some(()));
    fleet.ends_clean(&["a"]);
}

#[test]
fn what_left_its_session_is_ended_with_its_agent() {
    let fleet = fleet("");
    fleet.create("a", "orphan", "work");
    assert_eq!(fleet.outcome("a"), ["idle", "done", ""]);
    let said = fleet.messages("a");
    let (_, orphan) = said.split_once("orphan ").unwrap();
    let orphan = orphan.trim().parse().unwrap();
    assert!(is_alive(orphan));
    assert!(fleet.processes().iter().any(|process| process.pid == orphan));

    fleet.fleetctl(&["agent", "delete", "a"]);
    fleet.until_deleted("a");
    assert!(!is_alive(orphan));
    fleet.is_empty();
    fleet.stops_clean();
}

#[test]
fn a_usage_limit_fails_the_task_in_the_agents_words() {
    let fleet = fleet("");
    fleet.create("a", "quota-error", "work");

    let [status, state, message] = fleet.outcome("a");
    assert_eq!([&*status, &*state], ["idle", "failed"]);
    assert!(message.contains("Usage limit reached"), "{message}");
    assert!(fleet.has_said("a", "notice", &format!("task failed: {message}")));
    fleet.ends_clean(&["a"]);
}

#[test]
fn a_program_that_never_answers_is_given_up() {
    let fleet = fleet("open_timeout = \"1s\"");
    fleet.create("a", "silent-start", "work");

    assert_eq!(fleet.outcome("a"), ["idle", "failed", "it was not ready after 1s"]);
    assert!(fleet.has_said("a", "notice", "it was not ready after 1s"));
    assert_eq!(fleet.processes(), []);
    fleet.ends_clean(&["a"]);
}

#[test]
fn a_daemon_that_stops_leaves_no_process_whatever_its_agents_do() {
    let fleet = fleet("");
    let modes = ["ok", "slow", "permission", "hang", "ignore-cancel", "ignore-eof", "orphan"];
    for mode in modes {
        fleet.create(mode, mode, "work");
    }
    fleet.create("opening", "silent-start", "work");
    for mode in modes {
        fleet.until_it_says(mode, "working");
    }
    fleet.wait("permission");
    fleet.wait("orphan");

    let builder = fleet.stops_clean();

    let next = Fleet::start(builder);
    let why = "the daemon was restarted in the middle of it";
    for name in ["slow", "permission", "hang", "ignore-cancel", "opening"] {
        assert_eq!(next.outcome(name), ["idle", "interrupted", why], "{name}");
    }
    assert_eq!(next.outcome("ok"), ["idle", "done", ""]);
    assert_eq!(next.processes(), []);
    next.assign("ok", "work after that");
    assert_eq!(next.outcome("ok"), ["idle", "done", ""]);
    next.stops_clean();
}
