//! What a token allows is decided in one place, for MCP and plain HTTP alike.

use serde_json::{Value, json};

use crate::support::{Response, TestDaemon, eventually, stdout};

pub(super) const PROJECTS: &str = "[projects.web]\n[projects.api]\n";

pub(super) fn plain(daemon: &TestDaemon, token: &str, tool: &str, arguments: &Value) -> Response {
    daemon.post(&format!("/mcp/{tool}"), arguments.to_string()).bearer(token).send()
}

fn mcp(daemon: &TestDaemon, token: &str, method: &str, params: &Value) -> Value {
    let message = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
    let request = daemon.post("/mcp", message.to_string()).bearer(token);
    let request = request
        .header("Content-Type", "application/json")
        .header("Accept", "application/json, text/event-stream")
        .header("MCP-Protocol-Version", "2025-06-18");
    request.send().json()["result"].clone()
}

fn names(tools: &Value) -> Vec<&str> {
    tools["tools"].as_array().unwrap().iter().map(|tool| tool["name"].as_str().unwrap()).collect()
}

#[test]
fn tools_outside_the_scope_are_not_listed_and_calls_of_them_name_the_scope() {
    let daemon = TestDaemon::start();
    let token = daemon.create_token("reader", &["--scope", "read"]);

    let tools = mcp(&daemon, &token, "tools/list", &json!({}));

    assert_eq!(tools["cacheScope"], "private");
    let readers = names(&tools);
    assert!(readers.contains(&"list_agents") && readers.contains(&"wait_for_agent"), "{readers:?}");
    let others = ["create_agent", "delete_agent", "restart_agent", "start_agent_task"];
    assert!(!others.iter().any(|tool| readers.contains(tool)), "{readers:?}");
    let call = json!({"name": "delete_agent", "arguments": {"agent_name": "x"}});
    let refused = mcp(&daemon, &token, "tools/call", &call);
    let text =
        "INSUFFICIENT_SCOPE: token `reader` lacks the scope `manage` that `delete_agent` needs";
    assert_eq!((&refused["isError"], &refused["content"][0]["text"]), (&true.into(), &text.into()));
    let refused = plain(&daemon, &token, "start_agent_task", &json!({}));
    assert_eq!(
        (refused.status, &refused.json()["error"]["code"]),
        (403, &"INSUFFICIENT_SCOPE".into())
    );
    let challenge = r#"Bearer realm="fleet-mcp", error="insufficient_scope", scope="task""#;
    assert_eq!(refused.header("www-authenticate"), Some(challenge));
    assert_eq!(daemon.get("/metrics").bearer(&token).send().status, 403);
    let metrics = daemon.create_token("prometheus", &["--scope", "metrics"]);
    assert_eq!(daemon.get("/metrics").bearer(&metrics).send().status, 200);
    assert!(names(&mcp(&daemon, &metrics, "tools/list", &json!({}))).is_empty());
}

#[test]
fn agents_of_other_projects_exist_nowhere() {
    let daemon = TestDaemon::builder().config(PROJECTS).start();
    let all = daemon.token();
    let options = ["--scope", "read,task,manage", "--project", "WEB"];
    let web = daemon.create_token("web", &options);
    for (project, name) in [("web", "mine"), ("api", "theirs")] {
        let new = json!({"name": name, "project": project, "role": "demo", "task": "dig"});
        assert_eq!(plain(&daemon, &all, "create_agent", &new).status, 200);
        let wait = json!({"agent_name": name, "timeout_seconds": 60});
        assert_eq!(plain(&daemon, &all, "wait_for_agent", &wait).status, 200);
    }

    let agents = plain(&daemon, &web, "list_agents", &json!({})).json();
    assert_eq!((&agents["total_count"], &agents["agents"][0]["name"]), (&1.into(), &"mine".into()));
    let projects = plain(&daemon, &web, "list_agent_projects", &json!({})).json();
    assert_eq!(
        (&projects["total_count"], &projects["projects"][0]["name"]),
        (&1.into(), &"web".into())
    );
    let theirs = json!({"agent_name": "theirs"});
    let task = json!({"agent_name": "theirs", "task_description": "x"});
    let answer = json!({"agent_name": "theirs", "choice": "x"});
    for (tool, arguments) in [
        ("show_agent", &theirs),
        ("show_agent_log", &theirs),
        ("show_agent_task_history", &theirs),
        ("wait_for_agent", &theirs),
        ("publish_agent", &theirs),
        ("start_agent_task", &task),
        ("cancel_agent_task", &theirs),
        ("answer_agent", &answer),
        ("restart_agent", &theirs),
        ("delete_agent", &theirs),
    ] {
        let refused = plain(&daemon, &web, tool, arguments);
        let message = refused.json()["error"]["message"].clone();
        assert_eq!(refused.status, 404, "{tool}: {message}");
        assert_eq!(message, "agent `theirs` not found; there is: mine", "{tool}");
    }
    for (tool, arguments) in [
        ("list_agent_roles", json!({"project": "api"})),
        ("list_agents", json!({"project_filter": "api"})),
        ("create_agent", json!({"name": "fresh", "project": "api", "role": "demo", "task": "x"})),
    ] {
        let refused = plain(&daemon, &web, tool, &arguments);
        let message = refused.json()["error"]["message"].clone();
        assert_eq!(message, "project `api` not found; there is: web", "{tool}");
    }
    assert_eq!(
        plain(&daemon, &all, "show_agent", &theirs).status,
        200,
        "nothing has happened to it"
    );
}

#[test]
fn a_wait_for_an_agent_outside_ends_at_once_as_if_there_were_none() {
    let daemon = TestDaemon::builder().config(PROJECTS).start();
    let web = daemon.create_token("web", &["--project", "web"]);
    let new = json!({"name": "busy", "project": "api", "role": "demo", "task": "slow"});
    assert_eq!(plain(&daemon, &daemon.token(), "create_agent", &new).status, 200);

    let wait = json!({"agent_name": "busy", "timeout_seconds": 600});
    let refused = plain(&daemon, &web, "wait_for_agent", &wait);

    let message = refused.json()["error"]["message"].clone();
    assert_eq!(message, "agent `busy` not found; there are no agents yet");
}

#[test]
fn no_token_reaches_what_is_about_tokens() {
    let daemon = TestDaemon::start();
    let token = daemon.token();

    for path in
        ["/v1/tokens", "/v1/tokens/default/secret", "/v1/tokens/default/rotate", "/v1/status"]
    {
        let get = daemon.get(path).bearer(&token).send();
        let post = daemon.post(path, "{}").bearer(&token).send();
        assert_eq!((get.status, post.status), (404, 404), "{path}");
    }
    let tools = mcp(&daemon, &token, "tools/list", &json!({}));
    assert!(!names(&tools).iter().any(|name| name.contains("token")));
    assert_eq!(daemon.token(), token);
}

#[test]
fn a_token_is_refused_from_other_networks_and_the_log_says_so() {
    let daemon = TestDaemon::builder().env("FLEET_MCP_HTTP_TRUSTED_PROXIES", "127.0.0.1").start();
    let token = daemon.create_token("ci", &["--from", "203.0.113.0/24,2001:db8::/32"]);
    let from = |client: &str| {
        let request = daemon.get("/mcp/list_agents").bearer(&token);
        request.header("X-Forwarded-For", client).send()
    };

    assert_eq!([from("203.0.113.7").status, from("2001:db8::1").status], [200, 200]);
    let refused = from("198.51.100.1");

    assert_eq!((refused.status, &refused.json()["error"]), (401, &"invalid_token".into()));
    let entry = daemon.log_line("reason=address_not_allowed");
    assert!(entry.contains(" token=ci ") && entry.contains("from 198.51.100.1:"), "{entry}");
    let shown = daemon.fleetctl(&["token", "list"]);
    assert!(stdout(&shown).contains("read from 203.0.113.0/24,2001:db8::/32"));
    eventually("it is counted", || {
        daemon.status()["refused"]
            .to_string()
            .contains(r#""address_not_allowed","count":1"#)
            .then_some(())
    });
}
