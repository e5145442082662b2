//! Agents that are plain commands, a process for each task.

use super::{Fleet, builder};
use crate::support::eventually;

const CONFIG: &str = r#"
[fleet]
close_grace = "1s"
[agents.argument]
driver = "command"
command = "sh"
args = ["-c", 'printf "got %s\n" "$0"; echo aside >&2; pwd; exit "${0##* }"', "{task}"]
[agents.input]
driver = "command"
command = "sh"
args = ["-c", 'while read -r line; do echo "<$line>"; done; echo end']
[agents.sleeper]
driver = "command"
command = "sh"
args = ["-c", "echo begun; setsid sleep 600 & sleep 600"]
[agents.missing]
driver = "command"
command = "no-such-program"
[roles.argument]
agent = "argument"
[roles.input]
agent = "input"
[roles.sleeper]
agent = "sleeper"
[roles.missing]
agent = "missing"
"#;

#[test]
fn a_task_in_the_arguments_has_its_lines_logged_and_its_status_told() {
    let fleet = Fleet::start(builder(CONFIG));
    fleet.create("a", "argument", "$(id) ends with 0");
    assert_eq!(fleet.outcome("a"), ["idle", "done", ""]);
    let repo = fleet.workspace("a").join("repo");
    assert_eq!(fleet.messages("a"), format!("got $(id) ends with 0\n{}\n", repo.display()));
    let aside = || fleet.has_said("a", "diagnostic", "aside");
    eventually("standard error is kept, too", || aside().then_some(()));

    fleet.assign("a", "ends with 7");
    assert_eq!(fleet.outcome("a"), ["idle", "failed", "exit status 7"]);
    assert!(fleet.has_said("a", "notice", "task failed: exit status 7"));
    fleet.ends_clean(&["a"]);
}

#[test]
fn a_task_on_standard_input_comes_whole_and_ends() {
    let fleet = Fleet::start(builder(CONFIG));
    fleet.create("a", "input", "one\ntwo {task}\n\nthree");

    assert_eq!(fleet.outcome("a"), ["idle", "done", ""]);
    assert_eq!(fleet.messages("a"), "<one>\n<two {task}>\n<>\n<three>\nend\n");
    assert_eq!(fleet.fleetctl(&["agent", "list", "--json"]).matches("\"idle\"").count(), 1);
    fleet.ends_clean(&["a"]);
}

#[test]
fn a_command_is_canceled_with_all_that_it_started() {
    let fleet = Fleet::start(builder(CONFIG));
    fleet.create("a", "sleeper", "sleep");
    fleet.until_it_says("a", "begun");
    fleet.cancel("a");

    assert_eq!(fleet.outcome("a"), ["idle", "canceled", "canceled on request"]);
    assert!(fleet.processes().len() <= 1, "more than the host: {:?}", fleet.processes());
    fleet.ends_clean(&["a"]);
}

#[test]
fn a_command_that_does_not_exist_fails_its_task_with_the_reason() {
    let fleet = Fleet::start(builder(CONFIG));
    fleet.create("a", "missing", "work");

    let [_, state, message] = fleet.outcome("a");
    assert_eq!(state, "failed");
    assert!(message.contains("can't find the program `no-such-program`"), "{message}");
    fleet.ends_clean(&["a"]);
}
