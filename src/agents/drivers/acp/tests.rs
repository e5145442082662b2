//! Scripted programs: what they write, and what comes of it.

use std::path::PathBuf;

use jiff::Timestamp;
use proptest::prelude::*;
use serde_json::{Value, json};
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinHandle,
};

use super::{conversation::Conversation, *};
use crate::{
    agents::io::Stream,
    app::ports::sessions::{News, Outcome},
    fleet::{Entry, EntryKind, Question, task::ChoiceKind},
};

struct Noon;

impl Clock for Noon {
    fn now(&self) -> Timestamp {
        Timestamp::UNIX_EPOCH
    }
}

fn params() -> Params {
    Params {
        agent: AgentId(7),
        cwd: PathBuf::from("/ws"),
        resume: None,
        permissions: Permissions::Ask,
        mode: None,
        model: None,
        clock: Arc::new(Noon),
    }
}

/// A program without a process.
struct Script {
    talk: Conversation,
}

impl Script {
    fn start(params: Params) -> Self {
        Self { talk: Conversation::open(params, Timestamp::UNIX_EPOCH) }
    }

    /// A session that takes prompts.
    fn opened(params: Params) -> Self {
        let mut script = Self::start(params);
        script.answers(json!({"protocolVersion": 1, "agentCapabilities": {"loadSession": true}}));
        let news = script.answers(json!({"sessionId": "s"}));
        assert!(matches!(&news[..], [News::Opened { session: Some(_) }]), "{news:?}");
        script
    }

    /// A session in the middle of a turn.
    fn working(permissions: Permissions) -> Self {
        let mut script = Self::opened(Params { permissions, ..params() });
        script.obeys(Order::Prompt { text: "work".to_owned() });
        script
    }

    fn hears(&mut self, line: &str) -> Vec<News> {
        self.talk.hear(Stream::Out, line, Timestamp::UNIX_EPOCH)
    }

    fn says(&mut self, message: Value) -> Vec<News> {
        self.hears(&message.to_string())
    }

    fn obeys(&mut self, order: Order) -> Vec<News> {
        self.talk.obey(order)
    }

    /// Answers the newest request.
    fn answers(&mut self, result: Value) -> Vec<News> {
        let id = self.last_request()["id"].clone();
        self.says(json!({"jsonrpc": "2.0", "id": id, "result": result}))
    }

    fn refuses(&mut self, code: i32, message: &str, data: Value) -> Vec<News> {
        let id = self.last_request()["id"].clone();
        let error = json!({"code": code, "message": message, "data": data});
        self.says(json!({"jsonrpc": "2.0", "id": id, "error": error}))
    }

    fn last_request(&mut self) -> Value {
        let written = self.written();
        written.into_iter().rfind(|line| line["method"].is_string()).expect("a request")
    }

    fn update(&mut self, update: Value) -> Vec<News> {
        let params = json!({"sessionId": "s", "update": update});
        self.says(json!({"jsonrpc": "2.0", "method": "session/update", "params": params}))
    }

    fn asks(&mut self, id: Value, options: &[&str]) -> Vec<News> {
        let options: Vec<Value> = options
            .iter()
            .map(|kind| json!({"optionId": format!("{kind}!"), "name": kind, "kind": kind}))
            .collect();
        let call = json!({"toolCallId": "t", "title": "rm -r target", "kind": "execute",
            "rawInput": {"command": "rm -r target"}});
        let params = json!({"sessionId": "s", "toolCall": call, "options": options});
        self.says(json!({"jsonrpc": "2.0", "id": id, "method": "session/request_permission",
            "params": params}))
    }

    fn written(&mut self) -> Vec<Value> {
        self.talk.unwritten.drain(..).map(|line| serde_json::from_str(&line).unwrap()).collect()
    }

    /// The one line that was written.
    fn wrote(&mut self) -> Value {
        let written = self.written();
        assert_eq!(written.len(), 1, "{written:?}");
        written[0].clone()
    }
}

fn said(news: &[News]) -> Vec<(EntryKind, &str)> {
    let entries = news.iter().filter_map(|news| match news {
        News::Said(entry) => Some((entry.kind, entry.content.as_str())),
        _ => None,
    });
    entries.collect()
}

fn question(news: &[News]) -> &Question {
    let asked = news.iter().find_map(|news| match news {
        News::Asked(question) => Some(question),
        _ => None,
    });
    asked.expect("a question")
}

fn outcome(news: &[News]) -> &Outcome {
    let ended = news.iter().find_map(|news| match news {
        News::TurnEnded(outcome) => Some(outcome),
        _ => None,
    });
    ended.expect("an end")
}

fn chunk(kind: &str, text: &str) -> Value {
    json!({"sessionUpdate": kind, "content": {"type": "text", "text": text}})
}

// --- opening ---

#[test]
fn a_session_is_opened_with_version_1_and_without_files_or_terminals() {
    let mut script = Script::start(params());

    let initialize = script.talk.unwritten[0].clone();
    let initialize: Value = serde_json::from_str(&initialize).unwrap();
    script.answers(json!({"protocolVersion": 1}));
    let new = script.talk.unwritten[0].clone();
    let new: Value = serde_json::from_str(&new).unwrap();
    let news = script.answers(json!({"sessionId": "s"}));

    assert_eq!(initialize["method"], "initialize");
    assert_eq!(initialize["params"]["protocolVersion"], 1);
    let capabilities = &initialize["params"]["clientCapabilities"];
    assert_eq!(capabilities["fs"]["readTextFile"], false);
    assert_eq!(capabilities["fs"]["writeTextFile"], false);
    assert_eq!(capabilities["terminal"], false);
    assert_eq!(new["params"], json!({"cwd": "/ws", "mcpServers": []}));
    assert!(matches!(&news[..], [News::Opened { session: None }]), "{news:?}");
}

#[test]
fn what_keeps_a_session_from_opening_is_told_in_words() {
    struct Case {
        step: &'static str,
        answer: fn(&mut Script),
        says: &'static str,
    }
    let cases = [
        Case {
            step: "another version",
            answer: |script| drop(script.answers(json!({"protocolVersion": 2}))),
            says: "speaks version 2",
        },
        Case {
            step: "no sense",
            answer: |script| drop(script.answers(json!("yes"))),
            says: "answer to initialize can't be understood",
        },
        Case {
            step: "no login",
            answer: |script| {
                script.answers(json!({"protocolVersion": 1,
                    "authMethods": [{"id": "x", "name": "Login with x"}]}));
                script.refuses(-32000, "Authentication required", Value::Null);
            },
            says: "not logged in (Authentication required); give its role what it needs to log in, \
                   as `environment`, `environment_file` or `credentials`; it knows: Login with x",
        },
        Case {
            step: "another error",
            answer: |script| {
                script.answers(json!({"protocolVersion": 1}));
                script.refuses(-32603, "Internal error", json!({"details": "no disk"}));
            },
            says: "refuses session/new: Internal error: no disk",
        },
        Case {
            step: "the end",
            answer: |script| {
                script.talk.hear(Stream::Err, "node: not found\n", Timestamp::UNIX_EPOCH);
                script.talk.end();
            },
            says: "ended before it took prompts; it said: node: not found",
        },
        Case {
            step: "silence",
            answer: |script| script.talk.give_up(OPENING_TIMEOUT),
            says: "did not answer initialize within 180 s",
        },
    ];
    for Case { step, answer, says } in cases {
        let mut script = Script::start(params());

        answer(&mut script);

        let failure = script.talk.failure().unwrap_or_default();
        assert!(failure.contains(says), "{step}: {failure}");
    }
}

fn claude_modes() -> Value {
    json!({"currentModeId": "auto", "availableModes": [
        {"id": "default", "name": "Manual"}, {"id": "plan", "name": "Plan"},
        {"id": "auto", "name": "Auto"}]})
}

fn model_option(current: &str) -> Value {
    json!([{"id": "model", "name": "Model", "category": "model", "type": "select",
        "currentValue": current, "options": [
            {"value": "opus", "name": "Opus 5.5"}, {"value": "sonnet", "name": "Sonnet"}]}])
}

#[test]
fn unless_the_role_says_otherwise_the_agent_must_ask() {
    for (permissions, mode, sent) in [
        (Permissions::Ask, None, Some("default")),
        (Permissions::Deny, None, Some("default")),
        (Permissions::Allow, None, None),
        (Permissions::Ask, Some("plan"), Some("plan")),
        (Permissions::Ask, Some("manual"), Some("default")),
        (Permissions::Ask, Some("auto"), None),
    ] {
        let mode_named = mode.map(str::to_owned);
        let mut script = Script::start(Params { permissions, mode: mode_named, ..params() });
        script.answers(json!({"protocolVersion": 1}));
        let mut news = script.answers(json!({"sessionId": "s", "modes": claude_modes()}));

        let request = script.written().pop();
        if let Some(request) = &request {
            assert_eq!(request["method"], "session/set_mode");
            news = script.says(json!({"id": request["id"], "result": null}));
        }

        let chosen = request.as_ref().map(|request| &request["params"]["modeId"]);
        assert_eq!(chosen, sent.map(Value::from).as_ref(), "{permissions:?} {mode:?}");
        assert!(matches!(news[..], [News::Opened { .. }]), "{news:?}");
        assert!(script.written().is_empty());
    }
}

#[test]
fn an_asking_mode_that_is_refused_does_not_open_the_session() {
    let mut script = Script::start(params());
    script.answers(json!({"protocolVersion": 1}));
    script.answers(json!({"sessionId": "s", "modes": claude_modes()}));

    script.refuses(-32602, "no", Value::Null);

    assert_eq!(script.talk.failure(), Some("the agent refuses session/set_mode: no"));
}

#[test]
fn a_model_is_found_by_identity_or_name_and_set_before_the_mode() {
    for (model, sent) in
        [("opus", None), ("sonnet", Some("sonnet")), ("SONNET", Some("sonnet")), ("opus 5.5", None)]
    {
        let model = Some(model.to_owned());
        let mut script = Script::start(Params { model, ..params() });
        script.answers(json!({"protocolVersion": 1}));
        script.answers(json!({"sessionId": "s", "modes": claude_modes(),
            "configOptions": model_option("opus")}));

        if let Some(sent) = sent {
            let request = script.wrote();
            assert_eq!(request["method"], "session/set_config_option");
            assert_eq!(request["params"]["configId"], "model");
            assert_eq!(request["params"]["value"], sent);
            let result = json!({"configOptions": model_option(sent)});
            script.says(json!({"id": request["id"], "result": result}));
        }

        assert_eq!(script.wrote()["method"], "session/set_mode");
    }
}

#[test]
fn an_unknown_model_or_mode_is_answered_with_what_there_is() {
    for (model, mode, says) in [
        (Some("gpt"), None, "the agent has no model `gpt`; it has: `opus`, `sonnet`"),
        (None, Some("yolo"), "the agent has no mode `yolo`; it has: `default`, `plan`, `auto`"),
    ] {
        let (model, mode) = (model.map(str::to_owned), mode.map(str::to_owned));
        let mut script = Script::start(Params { model, mode, ..params() });
        script.answers(json!({"protocolVersion": 1}));
        script.answers(json!({"sessionId": "s", "modes": claude_modes(),
            "configOptions": model_option("opus")}));

        assert_eq!(script.talk.failure(), Some(says));
    }
    let mut script = Script::start(Params { model: Some("x".to_owned()), ..params() });
    script.answers(json!({"protocolVersion": 1}));
    script.answers(json!({"sessionId": "s"}));

    let says = "the agent has no model `x`: it lets nobody choose its model";
    assert_eq!(script.talk.failure(), Some(says));
}

#[test]
fn a_mode_can_be_a_configuration_option() {
    let mut script = Script::start(Params { mode: Some("plan".to_owned()), ..params() });
    script.answers(json!({"protocolVersion": 1}));
    script.answers(json!({"sessionId": "s", "configOptions": [
        {"id": "m", "name": "Mode", "category": "mode", "type": "select", "currentValue": "build",
         "options": [{"value": "build", "name": "build"}, {"value": "plan", "name": "plan"}]}]}));

    assert_eq!(
        script.last_request()["params"],
        json!({"sessionId": "s", "configId": "m",
        "value": "plan"})
    );
}

fn resuming() -> Params {
    Params { resume: Some("old".to_owned()), ..params() }
}

#[test]
fn an_earlier_session_is_resumed_rather_than_loaded_and_what_is_replayed_is_not_logged_again() {
    let mut resume = Script::start(resuming());
    resume.answers(json!({"protocolVersion": 1, "agentCapabilities":
        {"loadSession": true, "sessionCapabilities": {"resume": {}}}}));
    let request = resume.wrote();
    assert_eq!(request["method"], "session/resume");
    assert_eq!(request["params"]["sessionId"], "old");
    let news = resume.says(json!({"id": request["id"], "result": {}}));
    assert!(matches!(&news[..], [News::Opened { session: Some(session) }] if session == "old"));

    let mut load = Script::start(resuming());
    load.answers(json!({"protocolVersion": 1, "agentCapabilities": {"loadSession": true}}));
    let request = load.wrote();
    assert_eq!(request["method"], "session/load");
    let call = json!({"sessionUpdate": "tool_call", "toolCallId": "t", "title": "x"});
    for update in [chunk("user_message_chunk", "a"), chunk("agent_message_chunk", "b"), call] {
        let params = json!({"sessionId": "old", "update": update});
        let news = load.says(json!({"method": "session/update", "params": params}));
        assert!(news.is_empty(), "{news:?}");
    }
    let news = load.says(json!({"id": request["id"], "result": null}));
    assert!(matches!(&news[..], [News::Opened { session: Some(session) }] if session == "old"));
}

#[test]
fn a_session_that_cannot_be_resumed_begins_anew_and_says_so() {
    let mut unable = Script::start(resuming());
    let news = unable.answers(json!({"protocolVersion": 1}));
    assert_eq!(said(&news)[0].0, EntryKind::Notice);
    assert!(said(&news)[0].1.contains("the earlier one is not resumed: it can't resume one"));
    assert_eq!(unable.wrote()["method"], "session/new");

    let mut gone = Script::start(resuming());
    gone.answers(json!({"protocolVersion": 1, "agentCapabilities": {"loadSession": true}}));
    let news = gone.refuses(-32002, "Resource not found", Value::Null);
    assert!(said(&news)[0].1.contains("Resource not found"), "{news:?}");
    assert_eq!(gone.wrote()["method"], "session/new");
}

// --- the conversation ---

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

// --- permissions ---

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

// --- what programs do beside the protocol ---

#[test]
fn what_is_no_protocol_is_a_diagnostic() {
    for line in [
        "debugger attached",
        "[1, 2]",
        "{\"jsonrpc\":\"2.0\"}",
        "{\"error\":{\"code\":-32601,\"message\":\"Method not found\"}}",
        "{\"id\":null,\"error\":{\"code\":-32601,\"message\":\"Method not found\"}}",
        "{\"id\":99,\"result\":{}}",
        "{\"id\":\"1\",\"result\":{}}",
        "{\"id\":1.5,\"method\":\"x\"}",
        "{\"method\":7}",
        "{\"id\":3,\"method\":\"session/request_permission\",\"params\":{}}",
    ] {
        let mut script = Script::working(Permissions::Ask);

        let news = script.hears(line);

        assert!(
            matches!(&news[..], [News::Said(entry)]
            if entry.kind == EntryKind::Diagnostic && entry.joins),
            "{line}: {news:?}"
        );
    }
}

#[test]
fn an_answer_that_comes_twice_ends_the_turn_once() {
    let mut script = Script::working(Permissions::Ask);
    let id = script.last_request()["id"].clone();
    let end = json!({"id": id, "result": {"stopReason": "end_turn"}});

    let first = script.says(end.clone());
    let second = script.says(end);

    assert_eq!(*outcome(&first), Outcome::Done);
    assert_eq!(said(&second)[0].0, EntryKind::Diagnostic);
    assert_eq!(second.len(), 1);
}

#[test]
fn requests_that_nobody_serves_get_an_answer() {
    let mut script = Script::working(Permissions::Ask);
    script.written();
    for (method, member, expected) in [
        ("fs/read_text_file", "error", json!(-32601)),
        ("fs/write_text_file", "error", json!(-32601)),
        ("terminal/create", "error", json!(-32601)),
        ("_vendor/thing", "error", json!(-32601)),
        ("elicitation/create", "result", json!("decline")),
    ] {
        let news = script.says(json!({"id": "r", "method": method, "params": {}}));

        let answer = script.wrote();
        assert_eq!(answer["id"], "r");
        let known = if member == "error" { "code" } else { "action" };
        assert_eq!(answer[member][known], expected, "{method}");
        assert!(news.is_empty());
    }
    for method in ["_auth/status_update", "session/something", "$/progress"] {
        assert!(script.says(json!({"method": method, "params": {"x": 1}})).is_empty());
        assert!(script.written().is_empty());
    }
}

// --- lines, orders and reports ---

/// A driver between a program and a fleet that are both played by the test.
struct Bench {
    out: mpsc::Sender<AgentLine>,
    written: mpsc::Receiver<String>,
    orders: mpsc::Sender<Order>,
    reports: mpsc::Receiver<Report>,
    driver: JoinHandle<Result<(), NotOpened>>,
}

impl Bench {
    fn start(params: Params) -> Self {
        let (out, lines) = mpsc::channel(1);
        let (input, written) = mpsc::channel(1);
        let (orders, ordered) = mpsc::channel(1);
        let (told, reports) = mpsc::channel(1);
        let driver = tokio::spawn(drive(AgentIo { lines, input }, params, ordered, told));
        Self { out, written, orders, reports, driver }
    }

    async fn working() -> Self {
        let mut bench = Self::start(params());
        for result in [json!({"protocolVersion": 1}), json!({"sessionId": "s"})] {
            let request = bench.reads().await;
            bench.says(&json!({"id": request["id"], "result": result}).to_string()).await;
        }
        assert!(matches!(bench.report().await, News::Opened { .. }));
        bench.orders.send(Order::Prompt { text: "work".to_owned() }).await.unwrap();
        assert_eq!(bench.reads().await["method"], "session/prompt");
        bench
    }

    async fn reads(&mut self) -> Value {
        serde_json::from_str(&self.written.recv().await.unwrap()).unwrap()
    }

    async fn says(&mut self, line: &str) -> oneshot::Receiver<()> {
        let (receipt, committed) = oneshot::channel();
        let line = AgentLine { stream: Stream::Out, text: line.to_owned(), receipt };
        self.out.send(line).await.unwrap();
        committed
    }

    async fn report(&mut self) -> News {
        let report = self.reports.recv().await.unwrap();
        assert_eq!(report.agent, AgentId(7));
        // Not every test waits for it.
        let _ = report.receipt.map(|receipt| receipt.send(()));
        report.news
    }
}

fn update_line(update: &Value) -> String {
    let params = json!({"sessionId": "s", "update": update});
    json!({"method": "session/update", "params": params}).to_string()
}

#[tokio::test]
async fn a_line_is_done_with_once_all_that_came_of_it_is_durable() {
    let mut bench = Bench::working().await;
    let nothing = bench.says("{\"method\":\"_x\"}").await;
    nothing.await.unwrap();

    // Two reports come of the second of these.
    let call = json!({"sessionUpdate": "tool_call", "toolCallId": "t", "title": "x"});
    bench.says(&update_line(&call)).await.await.unwrap();
    let mut committed = bench.says(&update_line(&chunk("agent_message_chunk", "y"))).await;
    let first = bench.reports.recv().await.unwrap();
    let second = bench.reports.recv().await.unwrap();

    assert!(first.receipt.is_none());
    assert!(committed.try_recv().is_err());
    second.receipt.unwrap().send(()).unwrap();
    committed.await.unwrap();
}

#[tokio::test]
async fn a_program_that_does_not_read_is_still_heard_and_a_busy_fleet_still_gives_orders() {
    let mut bench = Bench::working().await;
    // The program's input is full, and a report waits.
    for id in 0..3 {
        bench.says(&json!({"id": id, "method": "fs/read_text_file"}).to_string()).await;
    }
    bench.says(&update_line(&chunk("agent_message_chunk", "a"))).await;
    bench.says(&update_line(&chunk("agent_message_chunk", "b"))).await;

    bench.orders.send(Order::Cancel).await.unwrap();
    bench.orders.send(Order::Cancel).await.unwrap();

    assert!(matches!(bench.report().await, News::Said(_)));
    for id in 0..3 {
        assert_eq!(bench.reads().await["id"], id);
    }
    assert_eq!(bench.reads().await["method"], "session/cancel");
}

#[tokio::test]
async fn closing_cancels_ends_the_input_and_hears_the_last_words() {
    let mut bench = Bench::working().await;

    drop(bench.orders);
    let cancel = bench.written.recv().await.unwrap();
    let end = bench.written.recv().await;
    let line = update_line(&chunk("agent_message_chunk", "bye"));
    let (receipt, _) = oneshot::channel();
    bench.out.send(AgentLine { stream: Stream::Out, text: line, receipt }).await.unwrap();
    drop(bench.out);
    let last = bench.reports.recv().await.unwrap();

    assert!(cancel.contains("session/cancel"));
    assert_eq!(end, None);
    assert!(matches!(last.news, News::Said(entry) if entry.content == "bye"));
    assert_eq!(bench.driver.await.unwrap(), Ok(()));
    assert!(bench.reports.recv().await.is_none());
}

#[tokio::test]
async fn a_program_that_ends_in_a_turn_leaves_the_turn_to_its_host() {
    let mut bench = Bench::working().await;

    drop(bench.out);

    assert_eq!(bench.driver.await.unwrap(), Ok(()));
    assert!(bench.reports.recv().await.is_none());
}

#[tokio::test]
async fn a_program_that_closed_its_input_is_heard_until_it_ends() {
    let mut bench = Bench::working().await;
    let (out, written) = mpsc::channel(1);
    drop((out, std::mem::replace(&mut bench.written, written)));

    bench.orders.send(Order::Cancel).await.unwrap();
    bench.says(&update_line(&chunk("agent_message_chunk", "hi"))).await;

    assert!(matches!(bench.report().await, News::Said(_)));
}

#[tokio::test(start_paused = true)]
async fn a_program_that_never_answers_does_not_open() {
    let mut bench = Bench::start(params());
    bench.reads().await;

    let NotOpened(why) = bench.driver.await.unwrap().unwrap_err();

    assert_eq!(why, "the agent did not answer initialize within 180 s");
}

#[tokio::test]
async fn without_anybody_to_report_to_the_driver_ends() {
    let mut bench = Bench::working().await;
    let (told, reports) = mpsc::channel(1);
    drop((told, std::mem::replace(&mut bench.reports, reports)));

    bench.says(&update_line(&chunk("agent_message_chunk", "hi"))).await;

    assert_eq!(bench.driver.await.unwrap(), Ok(()));
}

// --- hostile programs ---

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "[a-z_/$]{0,12}".prop_map(Value::from),
        ".{0,8}".prop_map(Value::from),
        prop::sample::select(WORDS).prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 6, |inner| {
        let name = prop_oneof![prop::sample::select(WORDS), Just("x")];
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((name, inner), 0..6).prop_map(|members| {
                members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
            }),
        ]
    })
}

const WORDS: &[&str] = &[
    "id",
    "method",
    "params",
    "result",
    "error",
    "code",
    "message",
    "data",
    "sessionId",
    "update",
    "sessionUpdate",
    "tool_call",
    "tool_call_update",
    "toolCallId",
    "toolCall",
    "options",
    "kind",
    "optionId",
    "name",
    "allow_once",
    "title",
    "status",
    "completed",
    "content",
    "type",
    "text",
    "diff",
    "path",
    "newText",
    "agent_message_chunk",
    "plan",
    "entries",
    "usage_update",
    "used",
    "size",
    "cost",
    "amount",
    "currency",
    "stopReason",
    "end_turn",
    "cancelled",
    "session/update",
    "session/request_permission",
    "elicitation/create",
    "$/cancel_request",
    "requestId",
    "s",
    "protocolVersion",
    "modes",
    "currentModeId",
    "availableModes",
    "configOptions",
    "errorKind",
    "current_mode_update",
    "messageId",
    "locations",
    "rawInput",
    "rawOutput",
    "failed",
];

/// A line that comes close to the protocol.
fn any_line() -> impl Strategy<Value = String> {
    let update = any_json().prop_map(|update| {
        json!({"method": "session/update", "params": {"sessionId": "s", "update": update}})
    });
    const KINDS: &[&str] =
        &["tool_call", "tool_call_update", "plan", "usage_update", "agent_message_chunk"];
    let near = (prop::sample::select(KINDS), any_json(), any_json()).prop_map(
        |(kind, status, content)| {
            let update = json!({"sessionUpdate": kind, "toolCallId": "t", "title": "x",
                "status": status, "content": content, "entries": content, "used": 1, "size": 2});
            json!({"method": "session/update", "params": {"sessionId": "s", "update": update}})
        },
    );
    let request = (any_json(), any_json()).prop_map(|(id, options)| {
        let params = json!({"sessionId": "s", "toolCall": {"toolCallId": "t"}, "options": options});
        json!({"id": id, "method": "session/request_permission", "params": params})
    });
    let answer = (0..6i64, any_json(), any::<bool>()).prop_map(|(id, result, failed)| {
        let member = if failed { "error" } else { "result" };
        json!({"id": id, member: result})
    });
    let good = (1..6i64).prop_map(|id| {
        json!({"id": id, "result": {"protocolVersion": 1, "sessionId": "s",
            "configOptions": [], "stopReason": "end_turn"}})
    });
    prop_oneof![
        1 => any_json().prop_map(|json| json.to_string()),
        1 => update.prop_map(|json| json.to_string()),
        1 => near.prop_map(|json| json.to_string()),
        1 => request.prop_map(|json| json.to_string()),
        1 => answer.prop_map(|json| json.to_string()),
        3 => good.prop_map(|json| json.to_string()),
        1 => ".{0,40}",
    ]
}

#[derive(Debug, Clone)]
enum Move {
    Line(String),
    Prompt,
    Cancel,
}

fn any_move() -> impl Strategy<Value = Move> {
    prop_oneof![8 => any_line().prop_map(Move::Line), 2 => Just(Move::Prompt), 1 => Just(Move::Cancel)]
}

proptest! {
    #[test]
    fn no_program_ends_a_turn_twice_or_breaks_the_driver(
        moves in prop::collection::vec(any_move(), 0..60),
        permissions in prop::sample::select(
            vec![Permissions::Ask, Permissions::Deny, Permissions::Allow]),
    ) {
        let mut talk =
            Conversation::open(Params { permissions, ..params() }, Timestamp::UNIX_EPOCH);
        let (mut turns, mut ends, mut open) = (0, 0, std::collections::BTreeSet::new());
        for a_move in moves {
            let news = match a_move {
                Move::Line(line) => talk.hear(Stream::Out, &line, Timestamp::UNIX_EPOCH),
                Move::Prompt => talk.obey(Order::Prompt { text: "work".to_owned() }),
                Move::Cancel => talk.obey(Order::Cancel),
            };
            for line in talk.unwritten.drain(..) {
                prop_assert!(!line.contains('\n'));
                turns += u32::from(line.contains("\"session/prompt\""));
            }
            for news in news {
                match news {
                    News::TurnEnded(_) => ends += 1,
                    News::Said(entry) => prop_assert!(!entry.content.is_empty()),
                    News::Asked(question) => {
                        prop_assert!(!question.choices.is_empty());
                        prop_assert!(open.insert(question.id));
                    }
                    News::Withdrawn { question } => prop_assert!(open.remove(&question)),
                    _ => {}
                }
                prop_assert!(ends <= turns);
            }
        }
        prop_assert!(turns - ends <= 1);
    }

    #[test]
    fn every_receipt_is_fired_once_and_after_those_of_its_reports(
        lines in prop::collection::vec(any_line(), 0..40),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let (out, heard) = mpsc::channel(64);
            let (input, mut written) = mpsc::channel(1);
            let (orders, ordered) = mpsc::channel(1);
            let (told, mut reports) = mpsc::channel(1);
            let driver = tokio::spawn(drive(AgentIo { lines: heard, input }, params(), ordered, told));
            tokio::spawn(async move { while written.recv().await.is_some() {} });
            let mut receipts = Vec::new();
            for text in lines {
                let (receipt, committed) = oneshot::channel();
                receipts.push(committed);
                out.send(AgentLine { stream: Stream::Out, text, receipt }).await.unwrap();
            }
            drop((out, orders));
            let mut held = Vec::new();
            while let Some(report) = reports.recv().await {
                held.extend(report.receipt);
            }
            let _ = driver.await.unwrap();
            // What is held was fired by nobody else; everything else is done or was never heard.
            let waiting = receipts
                .iter_mut()
                .filter_map(|committed| match committed.try_recv() {
                    Err(oneshot::error::TryRecvError::Empty) => Some(()),
                    _ => None,
                })
                .count();
            assert_eq!(waiting, held.len());
            for receipt in held {
                receipt.send(()).unwrap();
            }
        });
    }
}
