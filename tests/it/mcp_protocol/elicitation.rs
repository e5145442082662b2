//! An agent's question is put to the person at the client, if the client can and the token may.

use serde_json::{Value, json};

use super::{Client, MODERN, call, message, meta, result};
use crate::support::{Response, TestDaemon, eventually};

const FORMS: &str = r#"{"elicitation": {"form": {}}}"#;

impl Client {
    /// A daemon with an agent that waits for an answer.
    fn asked() -> Self {
        let client = Self::of(TestDaemon::builder());
        client.create("sony", "scratch", "ask");
        client.until_asked("sony");
        client
    }

    fn shown(&self, name: &str) -> Value {
        let output = self.daemon.fleetctl(&["agent", "show", name, "--json"]);
        serde_json::from_slice::<Value>(&output.stdout).unwrap()["agent"].take()
    }

    fn until_asked(&self, name: &str) -> String {
        eventually("the agent asks", || {
            let id = &self.shown(name)["task"]["question"]["id"];
            id.as_str().map(str::to_owned)
        })
    }

    /// `wait_for_agent`, by a client with these capabilities.
    fn wait(&self, capabilities: &str, token: &str, retry: &Value) -> Response {
        let capabilities: Value = serde_json::from_str(capabilities).unwrap();
        let mut params = call("wait_for_agent", json!({"agent_name": "sony"}));
        params["_meta"] = meta(MODERN);
        params["_meta"]["io.modelcontextprotocol/clientCapabilities"] = capabilities;
        for (name, value) in retry.as_object().unwrap() {
            params[name] = value.clone();
        }
        self.daemon
            .post("/mcp", message("tools/call", params).to_string())
            .bearer(token)
            .header("Content-Type", "application/json")
            .header("Accept", "application/json, text/event-stream")
            .header("MCP-Protocol-Version", MODERN)
            .header("Mcp-Method", "tools/call")
            .header("Mcp-Name", "wait_for_agent")
            .send()
    }

    /// The answer to a call that puts a question.
    fn form(&self) -> Value {
        let form = result(&self.wait(FORMS, &self.token, &json!({})));
        assert_eq!(form["resultType"], "input_required", "{form}");
        form
    }

    fn retry(&self, form: &Value, response: &Value) -> Value {
        let retry = json!({
            "requestState": form["requestState"],
            "inputResponses": {"answer": response},
        });
        result(&self.wait(FORMS, &self.token, &retry))
    }
}

fn accept(choice: &str) -> Value {
    json!({"action": "accept", "content": {"choice": choice}})
}

#[track_caller]
fn is_open(answer: &Value) {
    let content = &answer["structuredContent"];
    assert_eq!(content["state"], "needs_attention", "{answer}");
    assert_eq!(content["task"]["question"]["choices"][0]["kind"], "allow_once", "{answer}");
}

#[test]
fn a_person_at_the_client_answers_and_the_wait_goes_on() {
    let client = Client::asked();

    let form = client.form();
    let ended = client.retry(&form, &accept("yes"));

    let asked = &form["inputRequests"]["answer"];
    assert_eq!(
        (&asked["method"], &asked["params"]["mode"]),
        (&json!("elicitation/create"), &json!("form"))
    );
    let text = asked["params"]["message"].as_str().unwrap();
    for part in
        ["Agent `sony` of the project `scratch`", "data, not instructions", "Write demo.txt"]
    {
        assert!(text.contains(part), "{text}");
    }
    let schema = &asked["params"]["requestedSchema"];
    assert_eq!(schema["required"], json!(["choice"]));
    let choices = json!([
        {"const": "yes", "title": "Yes (allow once)"},
        {"const": "always", "title": "Yes, always (allow always)"},
        {"const": "no", "title": "No (reject once)"},
    ]);
    assert_eq!(schema["properties"]["choice"]["oneOf"], choices);
    assert_eq!(ended["structuredContent"]["state"], "done", "{ended}");
    let said = ended["structuredContent"]["last_message"].as_str().unwrap();
    assert!(said.contains("I wrote demo.txt."), "{said}");
    let audit = client.daemon.fleetctl(&["events", "--audit", "--json"]);
    let audit = String::from_utf8(audit.stdout).unwrap();
    assert!(audit.contains("answer_agent"), "who has answered is on record: {audit}");
}

#[test]
fn who_says_no_or_declines_refuses_and_who_closes_the_form_leaves_the_question_open() {
    let client = Client::asked();

    for response in [
        json!({"action": "cancel"}),
        json!({"action": "accept"}),
        json!("nonsense"),
        accept("something else"),
    ] {
        is_open(&client.retry(&client.form(), &response));
    }
    for no in [accept("no"), json!({"action": "decline"})] {
        let ended = client.retry(&client.form(), &no);

        let said = ended["structuredContent"]["last_message"].as_str().unwrap();
        assert!(said.contains("I was not allowed to write demo.txt."), "{no}: {said}");
        client.fleetctl(&["task", "start", "sony", "ask"]);
        client.until_asked("sony");
    }
}

#[test]
fn a_late_answer_answers_nothing_else() {
    let client = Client::asked();
    let late = client.form();
    client.fleetctl(&["agent", "answer", "sony", "no"]);
    client.until_idle("sony");
    assert_eq!(client.retry(&late, &accept("yes"))["structuredContent"]["state"], "done");

    client.fleetctl(&["task", "start", "sony", "ask"]);
    let second = client.until_asked("sony");
    is_open(&client.retry(&late, &accept("yes")));

    assert_eq!(client.until_asked("sony"), second, "still open");
}

#[test]
fn a_form_of_somebody_else_or_of_nobody_is_put_again() {
    let client = Client::asked();
    let other = client.daemon.create_token("other", &["--scope", "read,task"]);
    let form = client.form();
    let state = form["requestState"].as_str().unwrap();
    let mut forged = state.to_owned().into_bytes();
    let middle = forged.len() / 2;
    forged[middle] = if forged[middle] == b'A' { b'B' } else { b'A' };
    let forged = String::from_utf8(forged).unwrap();

    for (token, state) in [
        (&other, state),
        (&client.token, &forged),
        (&client.token, ""),
        (&client.token, "nonsense"),
    ] {
        let retry = json!({"requestState": state, "inputResponses": {"answer": accept("yes")}});
        let again = result(&client.wait(FORMS, token, &retry));
        assert_eq!(again["resultType"], "input_required", "{again}");
    }
    assert_eq!(client.shown("sony")["task"]["state"], "needs_attention");
}

#[test]
fn a_form_from_before_a_restart_is_put_again() {
    let mut client = Client::asked();
    // Agents that are the daemon's own children do not outlive it: here the question is another.
    let form = client.form();
    client.daemon = client.daemon.restart();
    client.fleetctl(&["task", "start", "sony", "ask"]);
    client.until_asked("sony");

    let again = client.retry(&form, &accept("yes"));

    assert_eq!(again["resultType"], "input_required", "{again}");
    let ended = client.retry(&again, &accept("yes"));
    assert_eq!(ended["structuredContent"]["state"], "done", "{ended}");
}

#[test]
fn who_can_not_be_asked_gets_the_question_as_before() {
    let client = Client::asked();
    let reader = client.daemon.create_token("reader", &["--scope", "read"]);

    for capabilities in ["{}", r#"{"elicitation": {"url": {}}}"#, r#"{"sampling": {}}"#] {
        is_open(&result(&client.wait(capabilities, &client.token, &json!({}))));
    }
    is_open(&result(&client.wait(FORMS, &reader, &json!({}))));
    let older = call("wait_for_agent", json!({"agent_name": "sony"}));
    is_open(&result(&client.legacy("/mcp", Some("2025-11-25"), "tools/call", older)));
    let form = result(&client.wait(r#"{"elicitation": {}}"#, &client.token, &json!({})));
    assert_eq!(form["resultType"], "input_required", "no kind named means forms: {form}");
}
