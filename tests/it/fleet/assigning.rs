//! Clients that want the same agent at once.

use std::{sync::Barrier, thread};

use serde_json::json;

use super::{Fleet, builder};

#[test]
fn of_two_tasks_at_once_one_is_taken_and_the_other_is_a_conflict() {
    const ROUNDS: u64 = 20;
    let fleet = Fleet::start(builder(""));
    fleet.create("a", "demo", "first");
    assert_eq!(fleet.outcome("a"), ["idle", "done", ""]);

    for round in 1..=ROUNDS {
        let barrier = Barrier::new(2);
        let assign = |who: &str| {
            let task = format!("slow, for {who} in round {round}");
            let arguments = json!({"agent_name": "a", "task_description": task});
            barrier.wait();
            (fleet.call("start_agent_task", &arguments), task)
        };
        let mut answers = thread::scope(|scope| {
            let one = scope.spawn(|| assign("one"));
            let other = scope.spawn(|| assign("the other"));
            [one.join().unwrap(), other.join().unwrap()]
        });
        answers.sort_by_key(|(answer, _)| answer.status);

        let [(taken, task), (refused, _)] = answers;
        assert_eq!([taken.status, refused.status], [200, 409], "{taken:?} {refused:?}");
        assert_eq!(refused.json()["error"]["code"], "CONFLICT");
        assert_eq!(fleet.show("a")["task"]["description"], task);
        fleet.cancel("a");
        // Whether the turn had begun when it was canceled is a matter of luck.
        assert_eq!(fleet.outcome("a")[..2], ["idle", "canceled"]);
    }
    let history = fleet.tool("show_agent_task_history", &json!({"agent_name": "a"}));
    assert_eq!(history["total_count"], ROUNDS + 1);
    fleet.ends_clean(&["a"]);
}
