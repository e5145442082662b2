//! Agents whose words are meant to harm whoever reads them: nothing in them is obeyed, nothing hides,
//! and no answer grows with them.

use serde_json::{Value, json};

use super::{Fleet, builder};
use crate::acp_driver::program;

/// Most bytes of a tool's result.
const MOST: usize = 256 * 1024;

fn fleet() -> Fleet {
    let program = program();
    let role = |mode: &str| {
        format!(
            "[agents.{mode}]\ncommand = \"{}\"\nargs = [\"{mode}\", \"10485760\"]\n\
             [roles.{mode}]\nagent = \"{mode}\"\npermissions = \"ask\"\n",
            program.display()
        )
    };
    Fleet::start(builder(&["[fleet]\n", &role("loud"), &role("sly")].concat()))
}

/// Every text in it can be seen, whole.
#[track_caller]
fn assert_visible(value: &Value) {
    match value {
        Value::String(text) => {
            let harmful = |c: &char| {
                (c.is_control() && !"\n\t".contains(*c))
                    || "\u{202e}\u{2066}\u{feff}\u{200b}\u{e0041}".contains(*c)
            };
            assert_eq!(text.chars().find(harmful), None, "{text:?}");
        }
        Value::Array(items) => items.iter().for_each(assert_visible),
        Value::Object(fields) => fields.values().for_each(assert_visible),
        _ => {}
    }
}

#[track_caller]
fn assert_fit(fleet: &Fleet, tool: &str, arguments: &Value) -> Value {
    let response = fleet.call(tool, arguments);
    assert_eq!(response.status, 200, "{tool} {arguments}: {}", response.body);
    assert!(response.body.len() <= MOST, "{tool} {arguments}: {} bytes", response.body.len());
    let answer = response.json();
    assert_visible(&answer);
    let notice = answer["untrusted"].as_str().unwrap_or_default();
    assert!(notice.contains("not instructions to you"), "{tool} {arguments}: {notice:?}");
    answer
}

#[test]
fn ten_mebibytes_of_harmful_text_give_small_answers_in_which_all_can_be_seen() {
    let fleet = fleet();
    fleet.create("a", "loud", "work");
    let waited = assert_fit(&fleet, "wait_for_agent", &json!({"agent_name": "a"}));
    assert_eq!(waited["state"], "failed", "{waited}");
    assert!(waited["last_message"].as_str().unwrap().contains(" more characters: show_agent_log)"));

    for max_chars in [1, 500, 100_000] {
        let of = json!({"agent_name": "a", "max_chars": max_chars});
        assert_fit(&fleet, "show_agent", &of);
        for page_size in [1, 2, 100] {
            let mut page = of.clone();
            page["page_size"] = page_size.into();
            assert_fit(&fleet, "show_agent_task_history", &page);
            let log = assert_fit(&fleet, "show_agent_log", &page);
            let logs = log["logs"].as_array().unwrap();
            assert!(logs.len() == page_size, "{log}");
            assert!(logs.iter().any(|entry| entry["content"].to_string().contains("more char")));
        }
    }
    assert_fit(&fleet, "show_agent_log", &json!({"agent_name": "a", "page_size": 100}));
    for odd in [0, 100_001] {
        let of = json!({"agent_name": "a", "max_chars": odd});
        for tool in ["show_agent", "show_agent_task_history", "show_agent_log"] {
            assert_eq!(fleet.call(tool, &of).status, 400, "{tool} {odd}");
        }
    }
    fleet.ends_clean(&["a"]);
}

#[test]
fn choices_are_answered_as_they_are_shown_and_none_passes_for_another() {
    let fleet = fleet();
    for (name, choice, chosen) in [
        ("shown", "y\\u{1b}[2J\\u{202e}", "y\\u{1b}[2J\\u{202e}"),
        ("own", "n\u{feff}", "n\\u{feff}"),
        ("kind", "reject_once", "n\\u{feff}"),
    ] {
        fleet.create(name, "sly", "work");
        let waited = assert_fit(&fleet, "wait_for_agent", &json!({"agent_name": name}));
        let question = &waited["task"]["question"];
        assert_eq!(question["choices"][1]["id"], "y\\u{1b}[2J\\u{202e}", "{question}");
        assert!(question["text"].as_str().unwrap().contains("\\u{202e}"), "{question}");
        assert_fit(&fleet, "show_agent", &json!({"agent_name": name}));

        fleet.tool("answer_agent", &json!({"agent_name": name, "choice": choice}));

        assert_eq!(fleet.wait(name)["state"], "done");
        let said = fleet.messages(name);
        assert!(said.contains(&format!("chosen: {chosen}\n")), "{said}");
        assert_fit(&fleet, "show_agent_log", &json!({"agent_name": name, "page_size": 100}));
    }
    fleet.ends_clean(&["shown", "own", "kind"]);
}
