//! MCP over Streamable HTTP, request by request: every protocol generation at both endpoints.

mod beyond_tools;
mod elicitation;
mod listen;
mod tasks;

use serde_json::{Value, json};

use crate::support::{Builder, Request, Response, TestDaemon, eventually};

const ENDPOINTS: [&str; 3] = ["/mcp", "/", "/mcp/"];
const MODERN: &str = "2026-07-28";
const LEGACY: [&str; 4] = ["2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25"];
const TOOLS: [&str; 14] = [
    "answer_agent",
    "cancel_agent_task",
    "create_agent",
    "delete_agent",
    "list_agent_projects",
    "list_agent_roles",
    "list_agents",
    "publish_agent",
    "restart_agent",
    "show_agent",
    "show_agent_log",
    "show_agent_task_history",
    "start_agent_task",
    "wait_for_agent",
];

/// A daemon, and a client with its token.
struct Client {
    daemon: TestDaemon,
    token: String,
}

impl Client {
    fn start() -> Self {
        let config = "[projects.Setup]\n[roles.Coder]\ndefault = true\n";
        Self::of(TestDaemon::builder().config(config))
    }

    fn of(builder: Builder) -> Self {
        let daemon = builder.env("FLEET_MCP_LOG", "info").start();
        let token = daemon.token();
        Self { daemon, token }
    }

    fn request(&self, method: &str, path: &str) -> Request {
        Request::new(self.daemon.address(), method, path).bearer(&self.token)
    }

    fn post(&self, path: &str, message: &Value) -> Request {
        self.request("POST", path)
            .header("Content-Type", "application/json")
            .header("Accept", "application/json, text/event-stream")
            .body(message.to_string())
    }

    fn fleetctl(&self, arguments: &[&str]) {
        let output = self.daemon.fleetctl(arguments);
        assert!(output.status.success(), "{arguments:?}: {output:?}");
    }

    fn create(&self, name: &str, project: &str, task: &str) {
        self.fleetctl(&["agent", "create", name, task, "--project", project, "--role", "demo"]);
    }

    fn until_idle(&self, name: &str) {
        let shown = || self.daemon.fleetctl(&["agent", "show", name, "--json"]).stdout;
        eventually("the agent is idle", || {
            let shown: Value = serde_json::from_slice(&shown()).unwrap();
            (shown["agent"]["status"] == "idle").then_some(())
        });
    }

    /// A request as clients before 2026-07-28 send it.
    fn legacy(&self, path: &str, version: Option<&str>, method: &str, params: Value) -> Response {
        let request = self.post(path, &message(method, params));
        match version {
            Some(version) => request.header("MCP-Protocol-Version", version).send(),
            None => request.send(),
        }
    }

    /// A request of 2026-07-28.
    fn modern(&self, path: &str, method: &str, params: Value) -> Response {
        self.able(&json!({}), path, method, params)
    }

    /// A request of 2026-07-28, by a client that can do this.
    fn able(&self, abilities: &Value, path: &str, method: &str, mut params: Value) -> Response {
        params["_meta"] = meta(MODERN);
        params["_meta"]["io.modelcontextprotocol/clientCapabilities"] = abilities.clone();
        let request = self
            .post(path, &message(method, params.clone()))
            .header("MCP-Protocol-Version", MODERN)
            .header("Mcp-Method", method);
        match params["name"].as_str().or(params["taskId"].as_str()) {
            Some(name) => request.header("Mcp-Name", name).send(),
            None => request.send(),
        }
    }
}

/// What older clients are offered: no changes are announced, because there is nothing to hear them on.
fn capabilities() -> Value {
    json!({"completions": {}, "prompts": {}, "resources": {}, "tools": {}})
}

/// What the newest are offered: tools and prompts do not change.
fn modern_capabilities() -> Value {
    let resources = json!({"subscribe": true, "listChanged": true});
    json!({"completions": {}, "prompts": {}, "resources": resources, "tools": {}})
}

fn message(method: &str, params: Value) -> Value {
    json!({"jsonrpc": "2.0", "id": 7, "method": method, "params": params})
}

fn meta(version: &str) -> Value {
    json!({
        "io.modelcontextprotocol/protocolVersion": version,
        "io.modelcontextprotocol/clientInfo": {"name": "test", "version": "1"},
        "io.modelcontextprotocol/clientCapabilities": {},
    })
}

#[track_caller]
fn result(response: &Response) -> Value {
    assert_eq!(response.status, 200, "{response:?}");
    assert_eq!(response.header("content-type"), Some("application/json"));
    assert!(response.header("mcp-session-id").is_none());
    let answer = response.json();
    assert_eq!((&answer["jsonrpc"], &answer["id"]), (&json!("2.0"), &json!(7)), "{answer}");
    assert!(answer["error"].is_null(), "{answer}");
    answer["result"].clone()
}

/// The code of a JSON-RPC error.
#[track_caller]
fn fault(response: &Response, status: u16) -> i64 {
    assert_eq!(response.status, status, "{response:?}");
    let answer = response.json();
    assert_eq!(answer["id"], 7, "{answer}");
    assert!(answer["result"].is_null(), "{answer}");
    answer["error"]["code"].as_i64().unwrap()
}

fn initialize(version: &str) -> Value {
    json!({
        "protocolVersion": version,
        "capabilities": {},
        "clientInfo": {"name": "test", "version": "1"},
    })
}

fn call(tool: &str, arguments: Value) -> Value {
    json!({"name": tool, "arguments": arguments})
}

fn names(listed: &Value) -> Vec<&str> {
    listed["tools"].as_array().unwrap().iter().map(|tool| tool["name"].as_str().unwrap()).collect()
}

#[test]
fn every_older_generation_initializes_lists_and_calls_at_each_endpoint() {
    let client = Client::start();

    for path in ENDPOINTS {
        for version in LEGACY {
            let info = result(&client.legacy(path, None, "initialize", initialize(version)));
            assert_eq!(info["protocolVersion"], version);
            assert_eq!(info["capabilities"], capabilities());
            assert_eq!(info["serverInfo"]["name"], "fleet-mcp");
            assert_eq!(info["serverInfo"]["version"], env!("CARGO_PKG_VERSION"));

            let note = json!({"jsonrpc": "2.0", "method": "notifications/initialized"});
            let noted = client.post(path, &note).header("MCP-Protocol-Version", version).send();
            assert_eq!((noted.status, noted.body.as_str()), (202, ""));

            // Some clients never name the version again.
            for header in [Some(version), None] {
                let listed = result(&client.legacy(path, header, "tools/list", json!({})));
                assert_eq!(names(&listed), TOOLS);
                let called = call("list_agents", json!({}));
                let called = result(&client.legacy(path, header, "tools/call", called));
                assert_eq!(called["structuredContent"]["agents"], json!([]));
                let text = called["structuredContent"].to_string();
                let texts: Value = called["content"][0]["text"].as_str().unwrap().parse().unwrap();
                assert_eq!(texts.to_string(), text);
                assert_eq!(
                    (&called["content"][0]["type"], &called["isError"]),
                    (&json!("text"), &json!(false))
                );
                result(&client.legacy(path, header, "ping", json!({})));
            }
        }
    }
}

#[test]
fn a_call_needs_no_initialization_before_it() {
    let client = Client::start();

    let called = result(&client.legacy(
        "/mcp",
        Some("2025-06-18"),
        "tools/call",
        call("list_agents", json!({})),
    ));

    assert_eq!(called["structuredContent"]["total_count"], 0);
}

#[test]
fn initialize_settles_on_a_version_that_has_it() {
    let client = Client::start();

    for asked in [MODERN, "1999-01-01", "2099-01-01", "x"] {
        let info = result(&client.legacy("/mcp", None, "initialize", initialize(asked)));
        assert_eq!(info["protocolVersion"], "2025-11-25", "{asked}");
    }
}

#[test]
fn the_newest_generation_discovers_lists_and_calls_without_a_handshake() {
    let client = Client::start();

    for path in ENDPOINTS {
        let found = result(&client.modern(path, "server/discover", json!({})));
        let versions = found["supportedVersions"].as_array().unwrap();
        assert!(LEGACY.iter().chain([&MODERN]).all(|v| versions.contains(&json!(v))), "{found}");
        let mut capabilities = modern_capabilities();
        capabilities["extensions"] = json!({"io.modelcontextprotocol/tasks": {}});
        assert_eq!(found["capabilities"], capabilities);
        assert_eq!(found["resultType"], "complete");
        assert_eq!(found["cacheScope"], "private");
        assert!(found["ttlMs"].is_u64(), "{found}");
        let info = &found["_meta"]["io.modelcontextprotocol/serverInfo"];
        assert_eq!(info["name"], "fleet-mcp");

        let listed = result(&client.modern(path, "tools/list", json!({})));
        assert_eq!(names(&listed), TOOLS);
        assert_eq!(
            (&listed["cacheScope"], &listed["resultType"]),
            (&json!("private"), &json!("complete"))
        );
        assert!(listed["ttlMs"].as_u64().is_some_and(|ttl| ttl > 0), "{listed}");

        let called = call("list_agent_roles", json!({"project": "setup"}));
        let called = result(&client.modern(path, "tools/call", called));
        assert_eq!(called["resultType"], "complete");
        assert_eq!(called["structuredContent"]["project_name"], "Setup");
        assert_eq!(called["isError"], false);
    }
}

#[test]
fn faults_of_the_newest_generation_have_their_codes() {
    let client = Client::start();
    let send = |headers: &[(&str, &str)], method: &str, params: Value| {
        let request = client.post("/mcp", &message(method, params));
        headers.iter().fold(request, |request, (name, value)| request.header(name, value)).send()
    };
    let with_meta = |version: &str| json!({"_meta": meta(version)});
    let version = ("MCP-Protocol-Version", MODERN);
    let call_with_meta = || {
        let mut params = call("list_agents", json!({}));
        params["_meta"] = meta(MODERN);
        params
    };

    let no_method = send(&[version], "tools/list", with_meta(MODERN));
    assert_eq!(fault(&no_method, 400), -32020);
    let other_method =
        send(&[version, ("Mcp-Method", "tools/call")], "tools/list", with_meta(MODERN));
    assert_eq!(fault(&other_method, 400), -32020);
    let no_name = send(&[version, ("Mcp-Method", "tools/call")], "tools/call", call_with_meta());
    assert_eq!(fault(&no_name, 400), -32020);
    let headers = [version, ("Mcp-Method", "tools/call"), ("Mcp-Name", "show_agent")];
    assert_eq!(fault(&send(&headers, "tools/call", call_with_meta()), 400), -32020);
    let headers = [("MCP-Protocol-Version", "2025-06-18"), ("Mcp-Method", "tools/list")];
    assert_eq!(fault(&send(&headers, "tools/list", with_meta(MODERN)), 400), -32020);
    let no_meta = send(&[version, ("Mcp-Method", "tools/list")], "tools/list", json!({}));
    assert_eq!(fault(&no_meta, 400), -32602);
    let unknown = send(&[version, ("Mcp-Method", "nope/nope")], "nope/nope", with_meta(MODERN));
    assert_eq!(fault(&unknown, 404), -32601);
    let headers = [("MCP-Protocol-Version", "2099-01-01"), ("Mcp-Method", "tools/list")];
    let future = send(&headers, "tools/list", with_meta("2099-01-01"));
    assert_eq!(fault(&future, 400), -32022);
    assert!(future.json()["error"]["data"]["supported"].to_string().contains(MODERN));
}

#[test]
fn tools_are_described_so_that_every_client_understands_them() {
    let client = Client::start();
    let of_legacy = result(&client.legacy("/mcp", Some("2025-06-18"), "tools/list", json!({})));
    let of_modern = result(&client.modern("/mcp", "tools/list", json!({})));
    assert_eq!(of_legacy["tools"], of_modern["tools"]);

    for tool in of_modern["tools"].as_array().unwrap() {
        let (title, annotations) = (&tool["title"], &tool["annotations"]);
        assert!(title.as_str().is_some_and(|title| !title.is_empty()), "{tool}");
        assert_eq!(&annotations["title"], title);
        let reads = ["list_", "show_", "wait_"]
            .iter()
            .any(|verb| tool["name"].as_str().unwrap().starts_with(verb));
        assert_eq!(annotations["readOnlyHint"], reads);
        assert_eq!(annotations["openWorldHint"], false);
        assert!(tool["description"].as_str().unwrap().len() > 20);
        for schema in [&tool["inputSchema"], &tool["outputSchema"]] {
            assert_eq!(schema["type"], "object");
            let text = schema.to_string();
            for awkward in ["$ref", "$defs", "$schema", "anyOf", "oneOf", "null", "\"type\":["] {
                assert!(!text.contains(awkward), "{awkward}: {text}");
            }
        }
        assert_eq!(tool["inputSchema"]["additionalProperties"], false);
    }
    let tool = |name: &str| {
        let at = TOOLS.iter().position(|tool| *tool == name).unwrap();
        &of_modern["tools"][at]["inputSchema"]
    };
    let roles = tool("list_agent_roles");
    assert_eq!(roles["required"], json!(["project"]));
    assert_eq!(roles["properties"]["project"]["maxLength"], 64);
    let filters = tool("list_agents");
    assert!(filters["required"].is_null(), "{filters}");
}

/// It is a part of every conversation, before anything is asked.
#[test]
fn the_list_of_all_tools_is_at_most_28_kb() {
    let client = Client::start();

    let listed = client.modern("/mcp", "tools/list", json!({}));

    assert_eq!(names(&result(&listed)), TOOLS);
    assert!(listed.body.len() <= 28_000, "{} bytes", listed.body.len());
}

#[test]
fn structured_answers_have_what_their_schema_requires() {
    let client = Client::start();
    let listed = result(&client.modern("/mcp", "tools/list", json!({})));

    for (tool, arguments) in [
        ("list_agents", json!({"status_filter": "idle"})),
        ("list_agent_projects", json!({})),
        ("list_agent_roles", json!({"project": "Setup"})),
    ] {
        let of_tool = |listed: &&Value| listed["name"] == tool;
        let schema =
            &listed["tools"].as_array().unwrap().iter().find(of_tool).unwrap()["outputSchema"];
        let called = result(&client.modern("/mcp", "tools/call", call(tool, arguments)));
        let content = called["structuredContent"].as_object().unwrap();

        for name in schema["required"].as_array().unwrap() {
            assert!(content.contains_key(name.as_str().unwrap()), "{tool} lacks {name}");
        }
        let known = schema["properties"].as_object().unwrap();
        assert!(content.keys().all(|name| known.contains_key(name)), "{content:?}");
        let text = called["content"][0]["text"].as_str().unwrap();
        let text: Value = serde_json::from_str(text).unwrap();
        assert_eq!(text, called["structuredContent"]);
    }
}

#[test]
fn a_failed_call_is_a_result_that_a_model_can_read() {
    let client = Client::start();

    for (tool, arguments, code, message) in [
        ("show_agent", json!({"agent_name": "Sony"}), "NOT_FOUND", "agent `sony` not found"),
        ("show_agent", json!({}), "INVALID_INPUT", "missing field `agent_name`"),
        ("show_agent", json!({"agent_name": 5}), "INVALID_INPUT", "expected a string"),
        ("show_agent", json!({"agent_name": "é"}), "INVALID_INPUT", "only a-z, 0-9"),
        (
            "list_agents",
            json!({"status_filter": "offline"}),
            "INVALID_INPUT",
            "use one of: pending",
        ),
        ("list_agents", json!({"x": 1}), "INVALID_INPUT", "unknown field `x`"),
        ("list_agent_roles", json!({"project": "x"}), "NOT_FOUND", "there is: Setup"),
    ] {
        for response in [
            client.modern("/mcp", "tools/call", call(tool, arguments.clone())),
            client.legacy("/", Some("2025-06-18"), "tools/call", call(tool, arguments.clone())),
        ] {
            let called = result(&response);
            assert_eq!(called["isError"], true, "{called}");
            let told = called["content"][0]["text"].as_str().unwrap();
            assert!(told.starts_with(&format!("{code}: ")) && told.contains(message), "{told}");
            // Clients hold structured content against the tool's output schema, error or not.
            assert!(called.get("structuredContent").is_none(), "{called}");
        }
    }
}

#[test]
fn an_unknown_tool_or_method_is_a_protocol_error() {
    let client = Client::start();

    let tool = client.legacy("/mcp", None, "tools/call", call("nope", json!({})));
    assert_eq!(fault(&tool, 200), -32602);
    assert!(tool.body.contains("there is: answer_agent, cancel_agent_task"), "{tool:?}");
    assert_eq!(fault(&client.modern("/mcp", "tools/call", call("nope", json!({}))), 200), -32602);
    for method in ["nope", "resources/subscribe", "logging/setLevel"] {
        let response = client.legacy("/mcp", Some("2025-06-18"), method, json!({}));
        assert_eq!(fault(&response, 200), -32601, "{method}");
    }
    let unknown = client.legacy("/mcp", Some("1999-01-01"), "tools/list", json!({}));
    assert_eq!(unknown.status, 400);
}

#[test]
fn only_post_is_served_and_no_stream_stays_open() {
    let client = Client::start();

    for path in ENDPOINTS {
        for method in ["GET", "DELETE", "PUT", "OPTIONS"] {
            let request = client
                .request(method, path)
                .header("Accept", "text/event-stream")
                .header("Mcp-Session-Id", "x")
                .header("Last-Event-ID", "1");
            let response = request.send();
            assert_eq!(
                (response.status, response.header("allow")),
                (405, Some("POST")),
                "{method}"
            );
        }
    }
}

#[test]
fn what_is_no_single_message_of_json_is_refused() {
    let client = Client::start();
    let ping = message("ping", json!({})).to_string();
    let send = |accept: &str, content_type: &str, body: &str| {
        client
            .request("POST", "/mcp")
            .header("Accept", accept)
            .header("Content-Type", content_type)
            .body(body)
            .send()
            .status
    };
    let (both, json) = ("application/json, text/event-stream", "application/json");

    assert_eq!(send(both, json, &ping), 200);
    assert_eq!(send(both, "application/json; charset=utf-8", &ping), 200);
    for accept in [json, "text/event-stream", "text/html"] {
        assert_eq!(send(accept, json, &ping), 406, "{accept}");
    }
    for content_type in ["text/plain", "application/x-www-form-urlencoded", ""] {
        assert_eq!(send(both, content_type, &ping), 415, "{content_type}");
    }
    for body in [&format!("[{ping}]"), "{", "", "null", "{}", "5", &"[".repeat(100_000)] {
        let status = send(both, json, body);
        assert!([400, 415].contains(&status), "{status} {body:.20}");
    }
    assert_eq!(send(both, json, &ping), 200);
}

#[test]
fn the_tools_are_served_without_authentication_while_it_is_off() {
    let daemon = TestDaemon::builder().auth(false).start();
    let client = Client { token: "WRONG".to_owned(), daemon };

    let listed = result(&client.modern("/mcp", "tools/list", json!({})));

    assert_eq!(names(&listed), TOOLS);
    result(&client.legacy("/", None, "tools/call", call("list_agents", json!({}))));
    client.daemon.log_line(" event=would_refuse reason=invalid_token ");
}
