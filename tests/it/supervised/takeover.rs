//! The next daemon takes up what runs, in the middle of it.

use fleet_mcp::agents::processes;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::{Value, json};

use crate::{
    fleet::{Fleet, builder, misbehaving},
    support::eventually,
};

/// Ends the daemon in this way; the next one finds what it had left with the service manager.
fn replaced(mut fleet: Fleet, end: Signal) -> Fleet {
    fleet.daemon.signal(end);
    fleet.daemon.wait();
    fleet.restart()
}

fn question(fleet: &Fleet, name: &str) -> Value {
    eventually("a question", || {
        let question = fleet.show(name)["task"]["question"].take();
        (!question.is_null()).then_some(question)
    })
}

#[test]
fn an_agent_in_a_turn_keeps_its_process_and_all_that_it_says_is_there_once() {
    let mut fleet = Fleet::start(builder("").supervised(1));
    fleet.create("a", "demo", "stream 3000");
    fleet.until_it_says("a", "0");
    let host = fleet.daemon.manager().slots().host(1);

    for end in [Signal::SIGKILL, Signal::SIGTERM, Signal::SIGKILL, Signal::SIGKILL] {
        fleet = replaced(fleet, end);
        assert_eq!(fleet.daemon.manager().slots().host(1), host, "{end}");
    }

    assert_eq!(fleet.outcome("a"), ["idle", "done", ""]);
    // The demo agent repeats its task first.
    let said = fleet.messages("a");
    let numbers = said.split_whitespace().filter_map(|word| word.parse::<u32>().ok()).skip(1);
    assert!(numbers.eq(0..3000), "{said}");
    fleet.assign("a", "again");
    assert_eq!(fleet.outcome("a"), ["idle", "done", ""]);
    assert_eq!(fleet.daemon.manager().slots().host(1), host);
}

#[test]
fn a_command_goes_on_and_its_lines_are_there_once() {
    let config = r#"
[agents.count]
driver = "command"
command = "sh"
args = ["-c", "i=0; while [ $i -lt 500 ]; do echo line $i; i=$((i+1)); sleep 0.01; done; exit 3"]
[roles.count]
agent = "count"
"#;
    let mut fleet = Fleet::start(builder(config).supervised(1));
    fleet.create("a", "count", "go");
    fleet.until_it_says("a", "line 5\n");

    // Wherever it happens to be each time, which the time of a start makes random enough.
    for number in 0..12 {
        let end = if number % 4 == 0 { Signal::SIGTERM } else { Signal::SIGKILL };
        fleet = replaced(fleet, end);
    }

    assert_eq!(fleet.outcome("a"), ["idle", "failed", "exit status 3"]);
    let expected: String = (0..500).map(|n| format!("line {n}\n")).collect();
    assert_eq!(fleet.messages("a"), expected);
}

#[test]
fn a_question_asked_before_is_answered_after_and_once() {
    let mut fleet = Fleet::start(builder(&misbehaving::config("")).supervised(1));
    fleet.create("a", "permission", "work");
    let asked = question(&fleet, "a");

    fleet = replaced(fleet, Signal::SIGKILL);
    assert_eq!(question(&fleet, "a")["id"], asked["id"]);
    let answer = json!({"agent_name": "a", "question_id": asked["id"], "choice": "no"});
    fleet.tool("answer_agent", &answer);
    // Nobody knows whether the program has it.
    fleet = replaced(fleet, Signal::SIGKILL);

    assert_eq!(fleet.outcome("a"), ["idle", "done", ""]);
    assert_eq!(fleet.messages("a").matches("chosen: no").count(), 1);
}

#[test]
fn a_cancel_given_before_is_carried_out_after() {
    let mut fleet = Fleet::start(builder(&misbehaving::config("")).supervised(1));
    fleet.create("a", "hang", "work");
    fleet.until_it_says("a", "working");

    fleet.cancel("a");
    fleet = replaced(fleet, Signal::SIGKILL);

    assert_eq!(fleet.outcome("a")[1], "canceled");
}

#[test]
fn what_ended_while_nobody_listened_is_told_with_its_cause() {
    let mut fleet = Fleet::start(builder("").supervised(1));
    fleet.create("a", "demo", "slow");
    fleet.until_it_says("a", "0… ");
    let host = fleet.daemon.manager().slots().host(1).unwrap();
    fleet.daemon.signal(Signal::SIGKILL);
    fleet.daemon.wait();
    let all = processes::all().unwrap();
    let program = all.iter().find(|process| process.parent == host.cast_signed()).unwrap();
    kill(Pid::from_raw(program.pid), Signal::SIGKILL).unwrap();

    fleet = fleet.restart();

    let [status, state, message] = fleet.outcome("a");
    assert_eq!((status.as_str(), state.as_str()), ("failed", "failed"));
    assert_eq!(message, "the agent's program was ended by signal 9");
}
