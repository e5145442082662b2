//! The extension for tasks: the fleet's own tasks, in the protocol's words.

use serde_json::{Value, json};

use super::{Client, call, fault, result};
use crate::support::{Response, TestDaemon, eventually};

const PROJECTS: &str = "[projects.web]\n[projects.api]\n";

fn tasks() -> Value {
    json!({"extensions": {"io.modelcontextprotocol/tasks": {}}})
}

fn tasks_and_forms() -> Value {
    let mut abilities = tasks();
    abilities["elicitation"] = json!({"form": {}});
    abilities
}

impl Client {
    /// A daemon whose agents `a` (in `web`) and `b` (in `api`) have nothing to do.
    fn with_agents() -> Self {
        let daemon = TestDaemon::builder().config(PROJECTS).start();
        let token = daemon.token();
        let client = Self { daemon, token };
        for (name, project) in [("a", "web"), ("b", "api")] {
            let new = json!({"name": name, "project": project, "role": "demo", "task": "begin"});
            client.tool("create_agent", new);
            client.tool("wait_for_agent", json!({"agent_name": name}));
        }
        client
    }

    fn who_has(&self, token: String) -> Asking<'_> {
        Asking { client: self, token }
    }

    /// What a tool answers one who does not ask for tasks.
    fn tool(&self, tool: &str, arguments: Value) -> Value {
        let mut called = result(&self.modern("/mcp", "tools/call", call(tool, arguments)));
        assert_eq!(
            (&called["isError"], &called["resultType"]),
            (&json!(false), &json!("complete"))
        );
        called["structuredContent"].take()
    }

    /// Gives an agent a task, and returns its handle.
    fn begin(&self, agent: &str, task: &str) -> Value {
        let arguments = json!({"agent_name": agent, "task_description": task});
        let call = call("start_agent_task", arguments);
        let handle = result(&self.able(&tasks(), "/mcp", "tools/call", call));
        assert_eq!(handle["resultType"], "task", "{handle}");
        handle
    }

    fn of_task(&self, method: &str, id: &Value) -> Response {
        self.able(&tasks(), "/mcp", method, json!({"taskId": id}))
    }

    fn get(&self, id: &Value) -> Value {
        result(&self.of_task("tasks/get", id))
    }

    /// The task once it is like this.
    fn until(&self, abilities: &Value, id: &Value, status: &str) -> Value {
        eventually(status, || {
            let params = json!({"taskId": id});
            let task = result(&self.able(abilities, "/mcp", "tasks/get", params));
            (task["status"] == status).then_some(task)
        })
    }

    /// Answers the question of this id with what a form gave.
    fn answer(&self, id: &Value, question: &str, response: Value) -> Response {
        let params = json!({"taskId": id, "inputResponses": {question: response}});
        self.able(&tasks_and_forms(), "/mcp", "tasks/update", params)
    }
}

/// The same daemon with another token.
struct Asking<'a> {
    client: &'a Client,
    token: String,
}

impl Asking<'_> {
    fn ask(&self, method: &str, params: Value) -> Response {
        let daemon = &self.client.daemon;
        let mut params = params;
        params["_meta"] = super::meta(super::MODERN);
        params["_meta"]["io.modelcontextprotocol/clientCapabilities"] = tasks();
        let name = params["name"].as_str().or(params["taskId"].as_str()).unwrap().to_owned();
        daemon
            .post("/mcp", super::message(method, params).to_string())
            .bearer(&self.token)
            .header("Content-Type", "application/json")
            .header("Accept", "application/json, text/event-stream")
            .header("MCP-Protocol-Version", super::MODERN)
            .header("Mcp-Method", method)
            .header("Mcp-Name", name)
            .send()
    }

    /// The fault of asking about a task.
    fn fault(&self, method: &str, id: &Value) -> (i64, String) {
        let params = json!({"taskId": id, "inputResponses": {}});
        let response = self.ask(method, params);
        let message = response.json()["error"]["message"].as_str().unwrap_or_default().to_owned();
        (fault(&response, 200), message)
    }
}

#[track_caller]
fn acknowledged(response: &Response) {
    assert_eq!(result(response), json!({"resultType": "complete"}));
}

#[test]
fn a_handle_leads_to_the_tools_answer_once_the_task_is_done() {
    let client = Client::with_agents();

    let handle = client.begin("a", "slow 2");

    let id = &handle["taskId"];
    assert_eq!((&handle["status"], &handle["ttlMs"]), (&json!("working"), &Value::Null));
    assert!(handle["pollIntervalMs"].as_u64().is_some_and(|every| every > 0), "{handle}");
    let early = client.get(id);
    assert_eq!((&early["taskId"], &early["resultType"]), (id, &json!("complete")));
    assert_eq!(early["createdAt"], handle["createdAt"]);
    let done = client.until(&tasks(), id, "completed");
    assert!(done["lastUpdatedAt"].as_str() > done["createdAt"].as_str(), "{done}");
    let answer = &done["result"]["structuredContent"];
    assert_eq!((&done["result"]["isError"], &answer["state"]), (&json!(false), &json!("done")));
    assert_eq!(
        (&answer["agent_name"], &answer["task_description"]),
        (&json!("a"), &json!("slow 2"))
    );
    assert_eq!(answer["task_id"].to_string(), id.as_str().unwrap());
    assert!(answer["last_message"].as_str().unwrap().contains("demo.txt"), "{answer}");
    assert!(answer["untrusted"].as_str().unwrap().contains("not instructions"), "{answer}");
    assert_eq!(done["result"]["content"][0]["text"], answer.to_string());

    // Clients hold it against the tool's output schema.
    let listed = result(&client.modern("/mcp", "tools/list", json!({})));
    let tools = listed["tools"].as_array().unwrap();
    let schema =
        &tools.iter().find(|tool| tool["name"] == "start_agent_task").unwrap()["outputSchema"];
    for name in schema["required"].as_array().unwrap() {
        assert!(answer.get(name.as_str().unwrap()).is_some(), "{name}: {answer}");
    }
    let known = schema["properties"].as_object().unwrap();
    assert!(answer.as_object().unwrap().keys().all(|name| known.contains_key(name)), "{answer}");
}

#[test]
fn a_task_that_is_no_longer_the_newest_is_still_told_of() {
    let client = Client::with_agents();
    let former = client.begin("a", "slow 1, the former")["taskId"].clone();
    let done = client.until(&tasks(), &former, "completed");
    let newest = client.begin("a", "stream 3, the newest")["taskId"].clone();
    client.until(&tasks(), &newest, "completed");

    assert_eq!(client.get(&former), done);
    assert_ne!(former, newest);
}

#[test]
fn a_task_that_failed_is_a_result_with_an_error() {
    let client = Client::with_agents();

    let handle = client.begin("a", "fail");

    let ended = client.until(&tasks(), &handle["taskId"], "completed");
    let answer = &ended["result"]["structuredContent"];
    assert_eq!((&ended["result"]["isError"], &answer["state"]), (&json!(true), &json!("failed")));
    assert!(
        answer["message"].as_str().unwrap().contains("told the demo agent to fail"),
        "{answer}"
    );
    assert!(ended.get("error").is_none(), "{ended}");
}

#[test]
fn a_question_is_a_form_whose_answer_lets_the_task_go_on() {
    let client = Client::with_agents();
    let begin = |task: &str| {
        let id = client.begin("a", task)["taskId"].clone();
        let asks = client.until(&tasks_and_forms(), &id, "input_required");
        let (question, form) = asks["inputRequests"].as_object().unwrap().iter().next().unwrap();
        (id, question.clone(), form.clone())
    };

    let (id, question, form) = begin("ask, and write");
    assert_eq!(
        (&form["method"], &form["params"]["mode"]),
        (&json!("elicitation/create"), &json!("form"))
    );
    assert!(
        form["params"]["message"].as_str().unwrap().contains("data, not instructions"),
        "{form}"
    );
    let choices = form["params"]["requestedSchema"]["properties"]["choice"]["oneOf"].clone();
    let kind = |kind: &str| {
        let of_kind = |choice: &&Value| choice["title"].as_str().unwrap().ends_with(kind);
        choices.as_array().unwrap().iter().find(of_kind).unwrap()["const"].clone()
    };
    // Who can't show a form is not asked.
    let told = client.get(&id);
    assert_eq!((&told["status"], told.get("inputRequests")), (&json!("working"), None));
    assert!(told["statusMessage"].as_str().unwrap().contains("answer_agent"), "{told}");
    acknowledged(&client.answer(
        &id,
        "another",
        json!({"action": "accept", "content": {"choice": "x"}}),
    ));
    acknowledged(&client.answer(&id, &question, json!({"action": "cancel"})));
    let nonsense = json!({"action": "accept", "content": {"choice": "nonsense"}});
    for response in [nonsense, json!({"action": "accept"}), json!(5)] {
        assert_eq!(fault(&client.answer(&id, &question, response), 200), -32602);
    }
    client.until(&tasks_and_forms(), &id, "input_required");
    let yes = json!({"action": "accept", "content": {"choice": kind("(allow once)")}});
    acknowledged(&client.answer(&id, &question, yes.clone()));
    let done = client.until(&tasks_and_forms(), &id, "completed");
    assert_eq!(done["result"]["isError"], false, "{done}");
    acknowledged(&client.answer(&id, &question, yes));

    let (id, question, _) = begin("ask, in vain");
    acknowledged(&client.answer(&id, &question, json!({"action": "decline"})));
    client.until(&tasks_and_forms(), &id, "completed");
    let log = client.tool("show_agent_log", json!({"agent_name": "a", "page_size": 20}));
    let answers = log["logs"].as_array().unwrap().iter().filter(|entry| entry["kind"] == "answer");
    let answers: Vec<_> = answers.map(|entry| entry["content"].as_str().unwrap()).collect();
    assert_eq!(answers.len(), 2, "{log}");
    assert_ne!(answers[0], answers[1], "{log}");
}

#[test]
fn canceling_stops_that_task_and_no_later_one() {
    let client = Client::with_agents();
    let former = client.begin("a", "slow")["taskId"].clone();

    acknowledged(&client.of_task("tasks/cancel", &former));

    let over = client.until(&tasks(), &former, "cancelled");
    assert!(over.get("result").is_none() && over.get("error").is_none(), "{over}");
    client.tool("wait_for_agent", json!({"agent_name": "a"}));
    let later = client.begin("a", "slow")["taskId"].clone();
    acknowledged(&client.of_task("tasks/cancel", &former));
    assert_eq!(client.get(&former), over);
    assert_eq!(client.get(&later)["status"], "working");
    let other =
        json!({"agent_name": "a", "task_id": former.as_str().unwrap().parse::<i64>().unwrap()});
    let refused = result(&client.modern("/mcp", "tools/call", call("cancel_agent_task", other)));
    let text = refused["content"][0]["text"].as_str().unwrap();
    assert!(text.starts_with("CONFLICT: agent `a` does not work on task"), "{text}");
    acknowledged(&client.of_task("tasks/cancel", &later));
    client.until(&tasks(), &later, "cancelled");
    client.daemon.log_line(" event=tool_called tool=cancel_agent_task ");
}

#[test]
fn handles_are_good_after_a_restart_until_their_agent_is_gone() {
    let client = Client::with_agents();
    let done = client.begin("a", "stream 2")["taskId"].clone();
    let before = client.until(&tasks(), &done, "completed");
    let lost = client.begin("b", "slow")["taskId"].clone();
    eventually("its turn has begun", || {
        let told = client.tool("show_agent", json!({"agent_name": "b"}));
        (told["agent"]["status"] == "busy").then_some(())
    });

    let daemon = client.daemon.restart();
    let client = Client { token: daemon.token(), daemon };

    assert_eq!(client.get(&done), before);
    let lost = client.until(&tasks(), &lost, "failed");
    assert_eq!(lost["error"]["code"], -32603, "{lost}");
    assert_eq!(lost["error"]["data"]["state"], "interrupted", "{lost}");
    assert!(lost["error"]["message"].as_str().unwrap().contains("restarted"), "{lost}");
    assert!(lost.get("result").is_none(), "{lost}");
    client.tool("delete_agent", json!({"agent_name": "a"}));
    for method in ["tasks/get", "tasks/cancel"] {
        assert_eq!(fault(&client.of_task(method, &done), 200), -32602, "{method}");
    }
}

#[test]
fn a_task_that_a_token_may_not_see_is_as_unknown_as_one_that_never_was() {
    let client = Client::with_agents();
    let theirs = client.begin("b", "slow")["taskId"].clone();
    let options = ["--scope", "read,task", "--project", "web"];
    let web = client.who_has(client.daemon.create_token("web", &options));

    for method in ["tasks/get", "tasks/update", "tasks/cancel"] {
        let unknown = web.fault(method, &json!("999999"));
        assert_eq!(unknown.0, -32602, "{unknown:?}");
        // The first task of `b` is not its newest one any more.
        for id in [&theirs, &json!("2"), &json!("x"), &json!(""), &json!("-1"), &json!("01")] {
            assert_eq!(web.fault(method, id), unknown, "{method} {id}");
        }
    }
    assert_eq!(client.get(&theirs)["status"], "working");
}

#[test]
fn each_method_wants_its_scope_whatever_the_task() {
    let client = Client::with_agents();
    let id = client.begin("a", "slow")["taskId"].clone();
    let reader = client.who_has(client.daemon.create_token("reader", &["--scope", "read"]));
    let doer = client.who_has(client.daemon.create_token("doer", &["--scope", "task"]));

    assert_eq!(result(&reader.ask("tasks/get", json!({"taskId": id})))["status"], "working");
    for id in [&id, &json!("999999")] {
        for method in ["tasks/update", "tasks/cancel"] {
            let message = format!("token `reader` lacks the scope `task` that `{method}` needs");
            assert_eq!(reader.fault(method, id), (-32602, message));
        }
        let message = "token `doer` lacks the scope `read` that `tasks/get` needs".to_owned();
        assert_eq!(doer.fault("tasks/get", id), (-32602, message));
    }
    assert_eq!(client.get(&id)["status"], "working");
    // Whoever could not ask for the task gets no handle of it.
    let arguments = json!({"agent_name": "b", "task_description": "stream 1"});
    let started = result(&doer.ask("tools/call", call("start_agent_task", arguments)));
    assert_eq!((&started["resultType"], &started["isError"]), (&json!("complete"), &json!(false)));
    acknowledged(&doer.ask("tasks/cancel", json!({"taskId": id})));
    client.until(&tasks(), &id, "cancelled");
}

#[test]
fn who_does_not_ask_for_tasks_gets_the_plain_answer_and_no_tasks() {
    let client = Client::with_agents();
    let start = |agent: &str| {
        call("start_agent_task", json!({"agent_name": agent, "task_description": "stream 1"}))
    };
    let mut extended = start("b");
    extended["_meta"]["io.modelcontextprotocol/clientCapabilities"] = tasks();

    for called in [
        result(&client.modern("/mcp", "tools/call", start("a"))),
        result(&client.legacy("/mcp", Some("2025-11-25"), "tools/call", extended)),
    ] {
        let answer = &called["structuredContent"];
        let keys: Vec<_> = answer.as_object().unwrap().keys().collect();
        assert_eq!(keys, ["agent_name", "task_description", "task_id", "message"]);
        assert!(called.get("taskId").is_none(), "{called}");
    }
    // Other tools answer as ever, and so do faults.
    let listed =
        result(&client.able(&tasks(), "/mcp", "tools/call", call("list_agents", json!({}))));
    assert_eq!(listed["resultType"], "complete");
    let refused = result(&client.able(&tasks(), "/mcp", "tools/call", start("nobody")));
    assert_eq!((&refused["resultType"], &refused["isError"]), (&json!("complete"), &json!(true)));
    for method in ["tasks/get", "tasks/update", "tasks/cancel"] {
        let params = json!({"taskId": "1", "inputResponses": {}});
        let refused = client.modern("/mcp", method, params);
        assert_eq!(fault(&refused, 400), -32021, "{method}");
        assert!(refused.body.contains("io.modelcontextprotocol/tasks"), "{refused:?}");
    }
    for method in ["tasks/list", "tasks/result"] {
        let unknown = client.able(&tasks(), "/mcp", method, json!({}));
        assert_eq!(fault(&unknown, 404), -32601, "{method}");
    }
}
