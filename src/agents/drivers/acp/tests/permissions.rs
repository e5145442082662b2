//! What programs ask, and who answers.

use super::*;

#[test]
fn a_person_is_asked_and_the_answer_passed_on_once() {
    let mut script = Script::working(Permissions::Ask);
    script.written();

    let news = script.asks(json!(0), &["allow_once", "allow_always", "reject_once"]);
    let asked = question(&news).clone();
    assert!(script.written().is_empty());
    let answer =
        |choice: &str| Order::Answer { question: asked.id.clone(), choice: choice.to_owned() };
    script.obeys(answer("something else"));
    assert!(script.written().is_empty());
    script.obeys(answer("allow_once!"));
    let answered = script.wrote();
    script.obeys(answer("reject_once!"));

    assert_eq!(asked.text, "execute: rm -r target");
    assert_eq!(asked.choices.len(), 3);
    assert_eq!(asked.choices[1].kind, ChoiceKind::AllowAlways);
    let outcome = json!({"outcome": {"outcome": "selected", "optionId": "allow_once!"}});
    assert_eq!(answered, json!({"jsonrpc": "2.0", "id": 0, "result": outcome}));
    assert!(script.written().is_empty());
}

#[test]
fn a_policy_never_answers_always() {
    let (allow, deny) = (Permissions::Allow, Permissions::Deny);
    for (policy, offered, chosen) in [
        (allow, &["allow_always", "allow_once"][..], Some("allow_once!")),
        (allow, &["allow_always", "reject_once"], None),
        (allow, &["reject_always"], None),
        (deny, &["allow_once", "reject_always", "reject_once"], Some("reject_once!")),
        (deny, &["allow_once", "reject_always"], Some("canceled")),
        (deny, &[], Some("canceled")),
        (allow, &[], Some("canceled")),
        (Permissions::Ask, &[], Some("canceled")),
    ] {
        let mut script = Script::working(policy);
        script.written();

        let news = script.asks(json!("x"), offered);

        match chosen {
            None => assert!(!question(&news).choices.is_empty(), "{policy:?} {offered:?}"),
            Some(chosen) => {
                let outcome = &script.wrote()["result"]["outcome"];
                match outcome["optionId"].as_str() {
                    Some(choice) => assert_eq!(choice, chosen, "{policy:?} {offered:?}"),
                    None => {
                        assert_eq!((&outcome["outcome"], chosen), (&json!("cancelled"), "canceled"))
                    }
                }
                let entries = said(&news);
                let (kind, text) = entries.last().unwrap();
                assert_eq!(*kind, EntryKind::Question);
                assert!(text.starts_with("execute: rm -r target\nAnswered "), "{text}");
            }
        }
    }
}

#[test]
fn a_person_sees_what_the_title_hides() {
    let mut script = Script::working(Permissions::Ask);
    let ask = |script: &mut Script, call: Value| {
        let options = json!([{"optionId": "y", "name": "Yes", "kind": "allow_once"}]);
        let params = json!({"sessionId": "s", "toolCall": call, "options": options});
        let news = script.says(json!({"id": 1, "method": "session/request_permission",
            "params": params}));
        question(&news).text.clone()
    };

    let command = ask(
        &mut script,
        json!({"toolCallId": "a", "title": "List files",
        "kind": "execute", "rawInput": {"command": "rm -r /"}}),
    );
    let change = ask(
        &mut script,
        json!({"toolCallId": "b", "title": "Edit a", "kind": "edit",
        "rawInput": {"x": 1}, "content":
            [{"type": "diff", "path": "/ws/a", "oldText": "one", "newText": "two"}]}),
    );
    let input = ask(
        &mut script,
        json!({"toolCallId": "c", "title": "Fetch",
        "rawInput": {"url": "http://x"}}),
    );

    assert_eq!(command, "execute: List files\nrm -r /");
    assert_eq!(change, "edit: Edit a\na\n- one\n+ two");
    assert_eq!(input, "Fetch\n{\"url\":\"http://x\"}");
}

#[test]
fn cancel_answers_what_is_asked_and_a_late_question_too() {
    let mut script = Script::working(Permissions::Ask);
    let id = script.last_request()["id"].clone();
    let first = question(&script.asks(json!(0), &["allow_once"])).id.clone();
    let second = question(&script.asks(json!(1), &["allow_once"])).id.clone();

    let news = script.obeys(Order::Cancel);
    let written = script.written();
    let late = script.asks(json!(2), &["allow_once"]);

    let withdrawn: Vec<_> = news
        .iter()
        .map(|news| match news {
            News::Withdrawn { question } => question.as_str(),
            news => panic!("{news:?}"),
        })
        .collect();
    assert_eq!(withdrawn, [first, second]);
    assert_eq!(
        written[0],
        json!({"jsonrpc": "2.0", "method": "session/cancel",
        "params": {"sessionId": "s"}})
    );
    for (at, id) in [(1, 0), (2, 1)] {
        let outcome = json!({"outcome": {"outcome": "cancelled"}});
        assert_eq!(written[at], json!({"jsonrpc": "2.0", "id": id, "result": outcome}));
    }
    assert!(!late.iter().any(|news| matches!(news, News::Asked(_))));
    assert_eq!(script.wrote()["result"]["outcome"]["outcome"], "cancelled");
    // However it says so.
    let news = script.says(json!({"id": id, "error": {"code": -32800, "message": "aborted"}}));
    assert_eq!(*outcome(&news), Outcome::Canceled);
}

#[test]
fn a_question_is_withdrawn_with_its_request_or_its_turn() {
    let mut script = Script::working(Permissions::Ask);
    let id = script.last_request()["id"].clone();
    script.asks(json!("p"), &["allow_once"]);

    let news = script.says(json!({"method": "$/cancel_request", "params": {"requestId": "p"}}));
    assert!(matches!(news[..], [News::Withdrawn { .. }]));
    assert_eq!(script.wrote()["error"]["code"], -32800);

    script.asks(json!(0), &["allow_once"]);
    let news = script.says(json!({"id": id, "result": {"stopReason": "end_turn"}}));
    assert!(matches!(news[..], [News::Withdrawn { .. }, News::TurnEnded(Outcome::Done)]));
}

#[test]
fn nobody_is_asked_while_no_task_runs_nor_too_much_at_once() {
    let mut idle = Script::opened(Params { permissions: Permissions::Ask, ..params() });
    idle.asks(json!(0), &["allow_once"]);
    assert_eq!(idle.wrote()["result"]["outcome"]["outcome"], "cancelled");

    let mut script = Script::working(Permissions::Ask);
    script.written();
    for id in 0..16 {
        question(&script.asks(json!(id), &["allow_once"]));
    }
    let news = script.asks(json!(16), &["allow_once"]);
    assert!(said(&news).last().unwrap().1.contains("too many questions"));
    assert_eq!(script.wrote()["result"]["outcome"]["outcome"], "cancelled");
}
