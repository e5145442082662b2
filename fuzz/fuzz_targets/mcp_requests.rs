//! Well-formed requests of 2026-07-28 for what the fleet adds to tools: resources, tasks, the answers to
//! forms, completions, prompts. Whatever their names, answers and `_meta`, each is answered with one
//! message, none is an internal error, and an agent gets no answer that its question does not offer.

#![no_main]

use std::{net::SocketAddr, time::Duration};

use axum::body::Body;
use fleet_mcp_fuzz::{app::Daemon, byte};
use http::{Request, header};
use http_body_util::BodyExt as _;
use libfuzzer_sys::fuzz_target;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

const MODERN: &str = "2026-07-28";
const ABILITIES: &str = "io.modelcontextprotocol/clientCapabilities";

struct Fleet {
    daemon: Daemon,
    router: axum::Router,
    /// Of the agent that always asks.
    task: String,
}

thread_local! {
    static FLEET: Fleet = Fleet::start();
}

fuzz_target!(|data: &[u8]| FLEET.with(|fleet| {
    let mut data = data;
    let (kind, form) = (byte(&mut data), byte(&mut data));
    let Ok(text) = std::str::from_utf8(data) else { return };
    let (name, rest) = text.split_once('\n').unwrap_or((text, ""));
    let rest: Value = serde_json::from_str(rest).unwrap_or_else(|_| json!({}));

    match kind % 9 {
        0 => fleet.ask("resources/read", json!({"uri": format!("fleet://{name}")}), &rest),
        1 => fleet.ask("resources/read", json!({"uri": name}), &rest),
        2 => fleet.ask("tasks/get", json!({"taskId": name}), &rest),
        // The agent is to go on asking.
        3 if name == fleet.task => return,
        3 => fleet.ask("tasks/cancel", json!({"taskId": name}), &rest),
        4 => {
            let task = &fleet.task;
            let got = fleet.ask("tasks/get", json!({"taskId": task}), &json!({}));
            let requests = got["result"]["inputRequests"].as_object().cloned().unwrap_or_default();
            let question = requests.keys().next().map_or(name, |question| question);
            let responses = json!({question: rest});
            fleet.ask(
                "tasks/update",
                json!({"taskId": task, "inputResponses": responses}),
                &json!({}),
            )
        }
        5 => fleet.ask("tasks/update", json!({"taskId": name, "inputResponses": rest}), &json!({})),
        6 => {
            let mut call = json!({"name": "wait_for_agent", "arguments": {"agent_name": "asks"}});
            let asked = fleet.ask("tools/call", call.clone(), &json!({}));
            let sealed = asked["result"]["requestState"].clone();
            call["requestState"] = if form % 4 == 0 { name.into() } else { sealed };
            call["inputResponses"] = json!({"answer": rest});
            fleet.ask("tools/call", call, &json!({}))
        }
        7 => {
            let reference = if form % 2 == 0 {
                json!({"type": "ref/prompt", "name": "delegate_task"})
            } else {
                json!({"type": "ref/resource", "uri": "fleet://agents/{name}"})
            };
            let variable = if form / 2 % 2 == 0 { "agent_name" } else { "name" };
            let argument = json!({"name": variable, "value": name});
            fleet.ask("completion/complete", json!({"ref": reference, "argument": argument}), &rest)
        }
        _ => {
            let prompt = ["delegate_task", "review_fleet", "hand_over"][usize::from(form % 3)];
            fleet.ask("prompts/get", json!({"name": prompt, "arguments": rest}), &json!({}))
        }
    };
}));

impl Fleet {
    fn start() -> Self {
        let daemon = Daemon::start();
        let router = {
            let _entered = daemon.runtime.enter();
            let mcp = fleet_mcp::http::mcp::fleet(&daemon.app, CancellationToken::new());
            fleet_mcp::http::router(&daemon.app, mcp)
        };
        let mut fleet = Self { daemon, router, task: String::new() };
        let arguments =
            json!({"name": "asks", "project": "scratch", "role": "demo", "task": "ask"});
        let made = fleet.ask(
            "tools/call",
            json!({"name": "create_agent", "arguments": arguments}),
            &json!({}),
        );
        assert_eq!(made["result"]["isError"], false, "{made}");
        let shown = json!({"name": "wait_for_agent", "arguments": {"agent_name": "asks"}});
        let asked = fleet.ask("tools/call", shown, &json!({}));
        assert_eq!(asked["result"]["resultType"], "input_required", "{asked}");
        "1".clone_into(&mut fleet.task);
        let task = fleet.ask("tasks/get", json!({"taskId": fleet.task}), &json!({}));
        assert_eq!(task["result"]["status"], "input_required", "{task}");
        fleet
    }

    /// The answer to a request; null if it takes long, as to wait may. `more` is added to its `_meta`.
    fn ask(&self, method: &str, mut params: Value, more: &Value) -> Value {
        let mut meta = json!({
            "io.modelcontextprotocol/protocolVersion": MODERN,
            "io.modelcontextprotocol/clientInfo": {"name": "test", "version": "1"},
        });
        meta[ABILITIES] = json!({"elicitation": {"form": {}}, "extensions": {"io.modelcontextprotocol/tasks": {}}});
        for (name, value) in more.as_object().into_iter().flatten() {
            meta[name] = value.clone();
        }
        params["_meta"] = meta;
        let name = params["name"].as_str().or(params["taskId"].as_str()).or(params["uri"].as_str());
        let mut request = Request::post("/mcp")
            .header(header::HOST, "localhost")
            .header(header::ACCEPT, "application/json, text/event-stream")
            .header(header::CONTENT_TYPE, "application/json")
            .header("MCP-Protocol-Version", MODERN)
            .header("Mcp-Method", method);
        if let Some(name) = name {
            request = request.header("Mcp-Name", name);
        }
        let message = json!({"jsonrpc": "2.0", "id": 7, "method": method, "params": params});
        // A name that fits no header can't be sent.
        let Ok(request) = request.body(Body::from(message.to_string())) else { return Value::Null };
        let peer = SocketAddr::from(([127, 0, 0, 1], 1));
        let answer = async {
            let answer = fleet_mcp::http::answer(&self.daemon.app, &self.router, peer, request);
            let answer = answer.await.expect("infallible");
            let status = answer.status().as_u16();
            (status, answer.into_body().collect().await.expect("a body").to_bytes())
        };
        let answer = async { tokio::time::timeout(Duration::from_millis(500), answer).await };
        let Ok((status, body)) = self.daemon.runtime.block_on(answer) else {
            assert_eq!(params["name"], "wait_for_agent");
            return Value::Null;
        };
        assert!(status < 500, "{status} {body:?}");
        let json: Value = serde_json::from_slice(&body).expect("JSON");
        assert_ne!(json["error"]["code"], -32603, "{json}");
        assert!(json["result"].is_object() != json["error"].is_object(), "{json}");
        json
    }
}
