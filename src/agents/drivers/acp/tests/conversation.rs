//! What programs say, and how it reads.

use super::{opening::claude_modes, *};

#[test]
fn updates_become_entries_that_read_well() {
    let mut script = Script::working(Permissions::Ask);
    let call = |status: &str| {
        json!({"sessionUpdate": "tool_call", "toolCallId": "t", "title": "Write", "kind": "edit",
            "status": status, "locations": [{"path": "/ws/src/a.rs"}]})
    };
    let done = json!({"sessionUpdate": "tool_call_update", "toolCallId": "t", "status": "completed",
        "content": [{"type": "diff", "path": "/ws/src/a.rs", "newText": "x"}]});
    let failed = json!({"sessionUpdate": "tool_call_update", "toolCallId": "u", "title": "make",
        "kind": "execute", "status": "failed",
        "content": [{"type": "content", "content": {"type": "text", "text": "no rule\n"}}]});
    let plan = json!({"sessionUpdate": "plan", "entries": [
        {"content": "look", "priority": "high", "status": "completed"},
        {"content": "write", "priority": "low", "status": "in_progress"},
        {"content": "rest", "priority": "low", "status": "pending"}]});
    let notice = json!({"sessionUpdate": "notice", "severity": "warning", "title": "Slow today"});
    for (update, entry) in [
        (chunk("agent_message_chunk", "Hel"), Some((EntryKind::Message, "Hel", true))),
        (chunk("agent_message_chunk", ""), None),
        (chunk("agent_thought_chunk", "hm"), Some((EntryKind::Thought, "hm", true))),
        (chunk("user_message_chunk", "work"), None),
        (call("in_progress"), Some((EntryKind::ToolCall, "edit: Write (src/a.rs)", false))),
        (call("in_progress"), None),
        (
            done.clone(),
            Some((
                EntryKind::ToolCall,
                "edit: Write (src/a.rs) — completed\nchanges src/a.rs",
                false,
            )),
        ),
        (done, None),
        (failed, Some((EntryKind::ToolCall, "execute: make — failed\nno rule", false))),
        (plan.clone(), Some((EntryKind::Plan, "[x] look\n[>] write\n[ ] rest", false))),
        (plan, None),
        (notice, Some((EntryKind::Message, "Slow today", false))),
        (json!({"sessionUpdate": "available_commands_update", "availableCommands": []}), None),
        (json!({"sessionUpdate": "something_new", "x": 1}), None),
        (json!({"sessionUpdate": "tool_call"}), None),
        (json!(7), None),
    ] {
        let news = script.update(update.clone());

        let entries: Vec<_> = news
            .iter()
            .map(|news| match news {
                News::Said(Entry { kind, content, joins }) => (*kind, content.as_str(), *joins),
                news => panic!("{news:?}"),
            })
            .collect();
        assert_eq!(entries, Vec::from_iter(entry), "{update}");
    }
}

#[test]
fn a_call_is_told_once_its_title_says_something() {
    // As claude-agent-acp 0.101.0 and opencode 1.18.33 do it.
    let mut script = Script::working(Permissions::Ask);
    let placeholder = json!({"sessionUpdate": "tool_call", "toolCallId": "t", "title": "Terminal",
        "kind": "execute", "status": "pending", "rawInput": {}});

    let first = script.update(placeholder.clone());
    let second = script.update(json!({"sessionUpdate": "tool_call_update", "toolCallId": "t",
        "title": "echo hi > a", "content":
            [{"type": "content", "content": {"type": "text", "text": "write a file"}}]}));
    let third = script.update(json!({"sessionUpdate": "tool_call_update", "toolCallId": "t",
        "status": "completed", "rawOutput": "hi", "content": []}));

    assert!(first.is_empty());
    assert_eq!(said(&second), [(EntryKind::ToolCall, "execute: echo hi > a\nwrite a file")]);
    assert_eq!(said(&third), [(EntryKind::ToolCall, "execute: echo hi > a — completed\nhi")]);

    let mut script = Script::working(Permissions::Ask);
    script.update(placeholder.clone());
    let news = script.update(chunk("agent_message_chunk", "so"));
    let told = [(EntryKind::ToolCall, "execute: Terminal"), (EntryKind::Message, "so")];
    assert_eq!(said(&news), told);

    let mut script = Script::working(Permissions::Ask);
    script.update(placeholder);
    let news = script.answers(json!({"stopReason": "end_turn"}));
    assert_eq!(said(&news), [(EntryKind::ToolCall, "execute: Terminal")]);
}

#[test]
fn a_call_that_its_turn_leaves_unfinished_has_an_end_unless_the_turn_ended_well() {
    let call = |id: &str, title: &str, status: &str| {
        json!({"sessionUpdate": "tool_call", "toolCallId": id, "title": title, "kind": "execute",
            "status": status, "rawInput": {}})
    };
    let begun = || {
        let mut script = Script::working(Permissions::Ask);
        script.update(call("a", "make", "in_progress"));
        script.update(call("b", "ls", "pending"));
        script
    };
    let all = |end: &str| [format!("execute: ls — {end}"), format!("execute: make — {end}")];
    let texts = |news: &[News]| -> Vec<String> {
        said(news).into_iter().map(|(_, text)| text.to_owned()).collect()
    };

    assert_eq!(texts(&begun().answers(json!({"stopReason": "cancelled"}))), all("canceled"));
    assert_eq!(texts(&begun().answers(json!({"stopReason": "refusal"}))), all("broken off"));
    assert_eq!(texts(&begun().answers(json!({"stopReason": "end_turn"}))), ["execute: ls"]);
    assert_eq!(texts(&begun().talk.end()), all("broken off"));
}

#[test]
fn two_messages_in_a_row_are_two_entries() {
    let mut script = Script::working(Permissions::Ask);
    let mut joins = |id: Option<&str>| {
        let mut update = chunk("agent_message_chunk", "x");
        if let Some(id) = id {
            update["messageId"] = json!(id);
        }
        match &script.update(update)[..] {
            [News::Said(entry)] => entry.joins,
            news => panic!("{news:?}"),
        }
    };

    let told = [Some("a"), Some("a"), Some("b"), Some("b"), None, None].map(&mut joins);

    assert_eq!(told, [true, true, false, true, false, true]);
}

#[test]
fn updates_of_other_sessions_are_not_this_conversation() {
    let mut script = Script::working(Permissions::Ask);
    let params = json!({"sessionId": "t", "update": chunk("agent_message_chunk", "x")});

    let news = script.says(json!({"method": "session/update", "params": params}));

    assert!(news.is_empty());
}

#[test]
fn a_change_of_mode_is_noted() {
    let mut script = Script::start(params());
    script.answers(json!({"protocolVersion": 1}));
    script.answers(json!({"sessionId": "s", "modes": claude_modes()}));
    script.answers(json!({}));
    let change = |mode| json!({"sessionUpdate": "current_mode_update", "currentModeId": mode});

    assert!(script.update(change("default")).is_empty());
    let news = script.update(change("auto"));

    assert_eq!(said(&news), [(EntryKind::Notice, "The agent is now in mode `auto`.")]);
}

#[test]
fn stop_reasons_and_errors_are_outcomes() {
    let stops =
        |reason: &'static str| move |s: &mut Script| s.answers(json!({"stopReason": reason}));
    let failed = |why: &str| Outcome::Failed(why.to_owned());
    type End = Box<dyn Fn(&mut Script) -> Vec<News>>;
    let cases: Vec<(End, Outcome)> = vec![
        (Box::new(stops("end_turn")), Outcome::Done),
        (Box::new(stops("cancelled")), Outcome::Canceled),
        (Box::new(stops("max_tokens")), failed("the agent reached the model's limit of tokens")),
        (
            Box::new(stops("max_turn_requests")),
            failed("the agent reached its limit of requests to the model"),
        ),
        (Box::new(stops("refusal")), failed("the agent refused to go on")),
        (
            Box::new(|s| {
                s.refuses(-32603, "Internal error: 429", json!({"errorKind": "rate_limit"}))
            }),
            failed("usage limit reached: 429"),
        ),
        (
            Box::new(|s| s.refuses(-32603, "no", json!({"codexErrorInfo": "usageLimitExceeded"}))),
            failed("usage limit reached: no"),
        ),
        (
            Box::new(|s| {
                s.refuses(-32603, "no", json!({"codexErrorInfo": {"httpConnectionFailed": {}}}))
            }),
            failed("error `httpConnectionFailed`: no"),
        ),
        (Box::new(|s| s.refuses(-32603, "no", json!("disk full"))), failed("no: disk full")),
        (Box::new(|s| s.refuses(-32603, "no", Value::Null)), failed("no")),
    ];
    for (end, expected) in cases {
        let mut script = Script::working(Permissions::Ask);

        let news = end(&mut script);

        assert_eq!(*outcome(&news), expected);
        // It takes the next one.
        script.obeys(Order::Prompt { text: "more".to_owned() });
        assert_eq!(script.wrote()["method"], "session/prompt");
    }
    let mut script = Script::working(Permissions::Ask);
    let news = script.answers(json!({"stopReason": "tired"}));
    assert!(matches!(outcome(&news), Outcome::Failed(why) if why.contains("without sense")));
    let mut script = Script::working(Permissions::Ask);
    let news = script.refuses(-32000, "Authentication required", Value::Null);
    assert!(matches!(outcome(&news), Outcome::Failed(why) if why.contains("`credentials`")));
}

#[test]
fn a_turn_costs_what_was_added_since_it_began() {
    let mut script = Script::opened(params());
    let used = |used: u64, cost: f64| {
        json!({"sessionUpdate": "usage_update", "used": used, "size": 1000,
            "cost": {"amount": cost, "currency": "USD"}})
    };
    assert!(script.update(used(1, 1.0)).is_empty(), "no turn runs");
    script.obeys(Order::Prompt { text: "work".to_owned() });

    let news = script.update(used(10, 1.25));
    let again = script.update(used(10, 1.25));
    let id = script.last_request()["id"].clone();
    let usage = json!({"inputTokens": 20, "outputTokens": 5, "cachedReadTokens": 3,
        "cachedWriteTokens": 2, "totalTokens": 30});
    let end = script.says(json!({"id": id, "result": {"stopReason": "end_turn", "usage": usage}}));

    assert!(
        matches!(&news[..], [News::Spent(usage)]
        if usage.context_tokens == Some(10) && usage.cost == Some(0.25)
            && usage.currency.as_deref() == Some("USD")),
        "{news:?}"
    );
    assert!(again.is_empty());
    assert!(
        matches!(&end[..], [News::Spent(usage), News::TurnEnded(Outcome::Done)]
        if usage.input_tokens == Some(25) && usage.output_tokens == Some(5)
            && usage.cost == Some(0.25)),
        "{end:?}"
    );
    script.obeys(Order::Prompt { text: "more".to_owned() });
    // The program counts anew.
    let news = script.update(used(10, 0.5));
    assert!(matches!(&news[..], [News::Spent(usage)] if usage.cost == Some(0.5)), "{news:?}");
}

#[test]
fn a_prompt_while_a_turn_runs_is_ignored() {
    let mut script = Script::working(Permissions::Ask);
    script.written();

    let news = script.obeys(Order::Prompt { text: "more".to_owned() });

    assert!(news.is_empty() && script.written().is_empty());
}
