//! What is stored of a conversation.

use super::*;

fn torn(script: &Script) -> Script {
    let state = script.talk.state().expect("it can be taken up");
    Script { talk: Conversation::resume(params(), &state).unwrap() }
}

#[test]
fn a_question_asked_before_can_be_answered_after() {
    let mut before = Script::working(Permissions::Ask);
    before.written();
    let news = before.asks(json!("r-1"), &["allow_once", "reject_once"]);
    let id = question(&news).id.clone();

    let mut after = torn(&before);
    after.obeys(Order::Answer { question: id.clone(), choice: "allow_once!".to_owned() });
    let answer = after.wrote();
    after.obeys(Order::Answer { question: id, choice: "allow_once!".to_owned() });

    assert_eq!(answer["id"], "r-1");
    assert_eq!(answer["result"]["outcome"]["optionId"], "allow_once!");
    assert!(after.written().is_empty());
}

#[test]
fn a_turn_goes_on_with_its_cancel_and_what_it_has_cost() {
    let mut before = Script::working(Permissions::Ask);
    let cost = json!({"amount": 2.5, "currency": "USD"});
    before.update(json!({"sessionUpdate": "usage_update", "used": 5, "size": 9, "cost": cost}));
    let prompt = before.last_request()["id"].clone();
    before.obeys(Order::Cancel);
    before.written();

    let mut after = torn(&before);
    let error = json!({"code": -32603, "message": "aborted"});
    let news = after.says(json!({"jsonrpc": "2.0", "id": prompt, "error": error}));
    after.obeys(Order::Prompt { text: "again".to_owned() });
    let cost = json!({"amount": 3.0, "currency": "USD"});
    let spent =
        after.update(json!({"sessionUpdate": "usage_update", "used": 5, "size": 9, "cost": cost}));

    assert_eq!(*outcome(&news), Outcome::Canceled);
    assert!(matches!(&spent[..], [News::Spent(usage)] if usage.cost == Some(0.5)), "{spent:?}");
}

#[test]
fn what_cannot_be_taken_up_has_no_state() {
    let opening = Script::start(params());
    let mut closing = Script::opened(params());
    closing.talk.close();

    assert_eq!(opening.talk.state(), None);
    assert_eq!(closing.talk.state(), None);
    assert!(Conversation::resume(params(), "{\"session\":7}").is_err());
}

#[test]
fn what_is_stored_has_a_bound_whatever_the_program_says() {
    let mut script = Script::working(Permissions::Ask);
    let long = "x".repeat(20_000);
    for call in 0..400 {
        let content = json!([{"type": "content", "content": {"type": "text", "text": long}}]);
        let locations = json!([{"path": format!("/{long}")}]);
        script.update(
            json!({"sessionUpdate": "tool_call", "toolCallId": format!("{call}{}", "t".repeat(200)),
            "title": long, "name": long, "status": "in_progress", "content": content,
            "rawInput": {"command": long}, "locations": locations}),
        );
    }
    for call in 0..400 {
        script.update(json!({"sessionUpdate": "tool_call_update",
            "toolCallId": format!("{call}{}", "t".repeat(200)), "status": "completed"}));
        script.update(json!({"sessionUpdate": "tool_call", "toolCallId": format!("n{call}"),
            "title": long, "status": "in_progress"}));
    }
    for id in 0..20 {
        script.asks(json!(format!("{id}{}", "r".repeat(900))), &["allow_once", "reject_once"]);
    }
    script.asks(json!("r".repeat(100_000)), &["allow_once"]);
    let entries: Vec<Value> = (0..100)
        .map(|n| json!({"content": format!("{n}{long}"), "priority": "low", "status": "pending"}))
        .collect();
    script.update(json!({"sessionUpdate": "plan", "entries": entries}));
    script.update(json!({"sessionUpdate": "current_mode_update", "currentModeId": long}));

    let size = script.talk.state().unwrap().len();

    assert!(size < 256 * 1024, "{size}");
}
