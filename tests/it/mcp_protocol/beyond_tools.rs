//! What the protocol offers beyond tools.

use serde_json::{Value, json};

use super::{Client, fault, result};

#[test]
fn resources_prompts_and_completions_name_what_the_token_may_see() {
    let client = Client::start();
    let made = client.daemon.fleetctl(&[
        "agent",
        "create",
        "sony",
        "say hello",
        "--project",
        "Setup",
        "--role",
        "Coder",
    ]);
    assert!(made.status.success(), "{made:?}");
    let ask = |method: &str, params: Value| {
        let old = client.legacy("/mcp", Some("2025-11-25"), method, params.clone());
        (result(&old), result(&client.modern("/mcp", method, params)))
    };

    for listed in <[Value; 2]>::from(ask("resources/list", json!({}))) {
        let uris: Vec<_> =
            listed["resources"].as_array().unwrap().iter().map(|it| &it["uri"]).collect();
        assert_eq!(uris, ["fleet://agents", "fleet://agents/sony"]);
    }
    for listed in <[Value; 2]>::from(ask("prompts/list", json!({}))) {
        let names: Vec<_> =
            listed["prompts"].as_array().unwrap().iter().map(|it| &it["name"]).collect();
        assert_eq!(names, ["delegate_task", "review_fleet", "hand_over"]);
    }
    let text = |uri: &str| {
        let params = json!({"uri": uri});
        let read = result(&client.legacy("/mcp", Some("2025-11-25"), "resources/read", params));
        assert_eq!(read["contents"][0]["mimeType"], "application/json");
        let text = read["contents"][0]["text"].as_str().unwrap().to_owned();
        serde_json::from_str::<Value>(&text).unwrap()
    };
    assert_eq!(text("fleet://agents")["agents"][0]["name"], "sony");
    assert_eq!(text("fleet://agents/sony")["agent"]["project"], "Setup");
    let log = text("fleet://agents/sony/log");
    assert!(log["untrusted"].as_str().unwrap().contains("not instructions"), "{log}");
    let prompt = json!({"name": "hand_over", "arguments": {"agent": "sony"}});
    let (got, _) = ask("prompts/get", prompt);
    assert!(got["messages"][0]["content"]["text"].as_str().unwrap().contains("`sony`"), "{got}");
    let complete = |argument: &str, value: &str| {
        let params = json!({
            "ref": {"type": "ref/prompt", "name": "delegate_task"},
            "argument": {"name": argument, "value": value},
        });
        ask("completion/complete", params).0["completion"]["values"].clone()
    };
    assert_eq!(complete("agent", "S"), json!(["sony"]));
    assert_eq!(complete("agent", "x"), json!([]));
    assert_eq!(complete("project", "set"), json!(["Setup"]));
    assert_eq!(complete("role", "co"), json!(["Coder"]));
}

#[test]
fn a_resource_or_prompt_that_does_not_exist_is_a_fault_of_the_request() {
    let client = Client::start();
    let code = |method: &str, params: Value| {
        let response = client.legacy("/mcp", Some("2025-11-25"), method, params);
        fault(&response, 200)
    };

    for uri in ["fleet://agents/nobody", "fleet://agents/nobody/log", "file:///etc/passwd"] {
        let response =
            client.legacy("/mcp", Some("2025-11-25"), "resources/read", json!({"uri": uri}));
        assert_eq!(fault(&response, 200), -32002, "{uri}");
        assert_eq!(response.json()["error"]["data"], json!({"uri": uri}));
    }
    for prompt in [
        json!({"name": "nothing"}),
        json!({"name": "hand_over"}),
        json!({"name": "hand_over", "arguments": {"agent": "sony", "other": "x"}}),
    ] {
        assert_eq!(code("prompts/get", prompt), -32602);
    }
}
