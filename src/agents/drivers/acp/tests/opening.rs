//! How sessions open, resume and fail to.

use super::*;
use crate::{agents::drivers::acp::FleetServer, auth::Secret};

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

#[test]
fn the_fleets_tools_go_to_those_who_take_servers_over_http_and_to_nobody_else() {
    let secret = Secret::from_random([7; 32]);
    let bearer = format!("Bearer {}", secret.expose());
    let url = "http://127.0.0.1:8000/mcp".to_owned();
    let given = || Params {
        fleet: Some(FleetServer { url: url.clone(), secret: secret.clone() }),
        ..resuming()
    };
    let ours = json!([{"type": "http", "name": "fleet", "url": url,
        "headers": [{"name": "Authorization", "value": bearer}]}]);
    let sent =
        |script: &Script| -> Value { serde_json::from_str(&script.talk.unwritten[0]).unwrap() };
    for (http, expected) in [(true, &ours), (false, &json!([]))] {
        let mcp = json!({"http": http});
        for capabilities in [
            json!({"mcpCapabilities": mcp, "loadSession": true}),
            json!({"mcpCapabilities": mcp, "sessionCapabilities": {"resume": {}}}),
        ] {
            let mut script = Script::start(given());

            script.answers(json!({"protocolVersion": 1, "agentCapabilities": capabilities}));

            let opening = sent(&script);
            // An empty list may be left out.
            let servers = opening["params"].get("mcpServers").unwrap_or(&Value::Null);
            let nobody = !http && servers.is_null();
            assert!(nobody || servers == expected, "{capabilities}: {opening}");
        }
        let mut script = Script::start(Params { resume: None, ..given() });
        script.answers(json!({"protocolVersion": 1,
            "agentCapabilities": {"mcpCapabilities": mcp}}));
        let opening = sent(&script);
        assert_eq!(opening["method"], "session/new");
        assert_eq!(opening["params"]["mcpServers"], *expected);
    }
}

pub(super) fn claude_modes() -> Value {
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
