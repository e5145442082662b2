//! The worst that an agent can put into a page.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::*;
use crate::fleet::{
    AgentId, EntryKind, LogEntry, TaskId, TaskStatus, Usage,
    task::{Choice, ChoiceKind, Question},
};

/// Most bytes of a result.
const MOST: usize = 256 * 1024;

/// Each costs as much as a character can.
fn worst(chars: usize) -> String {
    "\u{e0041}\u{1}\u{202e}".chars().cycle().take(chars).collect()
}

fn task(id: i64, question: Option<Question>) -> fleet::Task {
    fleet::Task {
        id: TaskId(id),
        agent: AgentId(i64::MAX),
        description: worst(16_000),
        status: TaskStatus::NeedsAttention,
        message: Some(worst(20_000)),
        created_at: Timestamp::MAX,
        ended_at: Some(Timestamp::MAX),
        usage: Usage {
            context_tokens: Some(u64::MAX),
            input_tokens: Some(u64::MAX),
            output_tokens: Some(u64::MAX),
            cost: Some(f64::MAX),
            currency: Some(worst(100)),
        },
        question,
    }
}

/// As much as a driver lets through.
fn question() -> Question {
    let choice =
        |_| Choice { id: "\u{7f}".repeat(512), name: worst(1_000), kind: ChoiceKind::RejectAlways };
    Question {
        id: "q".repeat(40),
        text: worst(10_000),
        choices: (0..16).map(choice).collect(),
        asked_at: Timestamp::MAX,
    }
}

#[track_caller]
fn assert_fits(answer: &Value) {
    let json = answer.to_string();
    assert!(json.len() <= MOST, "{} bytes", json.len());
    // As JSON, too, none of them needs an escape.
    assert!(!json.contains(['\u{e0041}', '\u{202e}', '\u{7f}']) && !json.contains("\\u00"));
}

#[test]
fn the_worst_page_of_tasks_fits_into_a_result_and_all_of_it_can_be_seen() {
    let tasks: Vec<_> = (0..100).map(|n| task(i64::MAX - n, (n == 0).then(question))).collect();
    for chars in [1, 500, MAX_CHARS] {
        let room =
            room_for(&tasks, chars, TASKS_BYTES, "ask for more max_chars, or fewer on a page");
        let shown: Vec<_> = tasks.iter().map(|task| Task::of(task, room)).collect();
        assert_fits(&json!({"tasks": shown, "untrusted": notice(&tasks, "tasks")}));

        let room = room_for(&tasks[..1], chars, TASK_BYTES, "ask for more max_chars");
        assert_fits(
            &json!({"task": Task::of(&tasks[0], room), "last": LAST_TASK.show(&worst(9_000))}),
        );
    }
}

#[test]
fn the_worst_page_of_a_log_fits_into_a_result_and_all_of_it_can_be_seen() {
    let entry = |id| LogEntry {
        id: i64::MAX - id,
        task: Some(TaskId(i64::MAX)),
        time: Timestamp::MAX,
        kind: EntryKind::Diagnostic,
        content: worst(if id == 0 { 1_000_000 } else { 16_000 }),
    };
    let entries: Vec<_> = (0..100).map(entry).collect();
    let texts = entries.iter().map(|entry| &*entry.content);
    let more = "ask for more max_chars, or fewer on a page";
    let room = Room::shared(texts, MAX_CHARS as usize, LOG_BYTES, more);

    let shown: Vec<_> = entries.iter().map(|entry| LogItem::of(entry, room)).collect();

    assert_fits(&json!({"logs": shown}));
}

#[test]
fn the_worst_task_of_an_agent_on_a_page_has_1_kb() {
    for text in [worst(64 * 1024), "\"".repeat(64 * 1024)] {
        let shown = json!(LIST_TASK.show(&text)).to_string();
        assert!(shown.len() <= 1_000, "{} bytes", shown.len());
    }
}
