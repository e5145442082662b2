//! What the protocol offers beyond tools shows a token no more than its tools would.

use serde_json::{Value, json};

use super::scopes::{PROJECTS, plain};
use crate::support::TestDaemon;

const ROLES: &str = "[roles.maker]\nagent = \"demo\"\n\
                     [roles.hidden]\nagent = \"demo\"\nprojects = [\"api\"]\n";

/// The whole answer of MCP: a result or a fault.
fn ask(daemon: &TestDaemon, token: &str, method: &str, params: &Value) -> Value {
    let message = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
    let request = daemon.post("/mcp", message.to_string()).bearer(token);
    let request = request
        .header("Content-Type", "application/json")
        .header("Accept", "application/json, text/event-stream")
        .header("MCP-Protocol-Version", "2025-11-25");
    request.send().json()
}

fn uris(daemon: &TestDaemon, token: &str) -> Vec<String> {
    let listed = ask(daemon, token, "resources/list", &json!({}));
    let resources = listed["result"]["resources"].as_array().unwrap();
    resources.iter().map(|resource| resource["uri"].as_str().unwrap().to_owned()).collect()
}

fn read(daemon: &TestDaemon, token: &str, uri: &str) -> Value {
    ask(daemon, token, "resources/read", &json!({"uri": uri}))
}

/// What is offered for an argument of which nothing is typed yet.
fn completed(daemon: &TestDaemon, token: &str, argument: &str, project: Option<&str>) -> Value {
    let chosen = project.map_or_else(|| json!({}), |project| json!({"project": project}));
    let params = json!({
        "ref": {"type": "ref/prompt", "name": "delegate_task"},
        "argument": {"name": argument, "value": ""},
        "context": {"arguments": chosen},
    });
    ask(daemon, token, "completion/complete", &params)["result"]["completion"].take()
}

/// A daemon with an agent `mine` in `web`, and `theirs` in `api`.
fn start() -> TestDaemon {
    let daemon = TestDaemon::builder().config(&format!("{PROJECTS}{ROLES}")).start();
    for (project, name) in [("web", "mine"), ("api", "theirs")] {
        let new = json!({"name": name, "project": project, "role": "maker", "task": "dig"});
        assert_eq!(plain(&daemon, &daemon.token(), "create_agent", &new).status, 200);
    }
    daemon
}

#[test]
fn a_token_without_read_sees_no_resources_and_no_names() {
    let daemon = start();
    let token = daemon.create_token("doer", &["--scope", "task,manage,metrics"]);

    assert_eq!(uris(&daemon, &token), [""; 0]);
    let templates = ask(&daemon, &token, "resources/templates/list", &json!({}));
    assert_eq!(templates["result"]["resourceTemplates"], json!([]));
    for (uri, tool) in [
        ("fleet://agents", "list_agents"),
        ("fleet://agents/mine", "show_agent"),
        ("fleet://agents/nobody", "show_agent"),
        ("fleet://agents/mine/log", "show_agent_log"),
        ("fleet://agents/nobody/log", "show_agent_log"),
    ] {
        let message = format!("token `doer` lacks the scope `read` that `{tool}` needs");
        let refused = read(&daemon, &token, uri)["error"].take();
        assert_eq!(refused, json!({"code": -32602, "message": message}), "{uri}");
    }
    for argument in ["agent", "name", "project", "role"] {
        assert_eq!(completed(&daemon, &token, argument, None)["values"], json!([]), "{argument}");
    }
    assert_eq!(completed(&daemon, &token, "role", Some("web"))["values"], json!([]));
}

#[test]
fn a_token_of_one_project_is_offered_that_projects_names_only() {
    let daemon = start();
    let all = daemon.token();
    let web = daemon.create_token("web", &["--scope", "read,task,manage", "--project", "web"]);
    let values = |token: &str, argument: &str, project: Option<&str>| {
        completed(&daemon, token, argument, project)["values"].take()
    };

    assert_eq!(uris(&daemon, &web), ["fleet://agents", "fleet://agents/mine"]);
    assert_eq!(uris(&daemon, &all).len(), 3);
    let fleet = read(&daemon, &web, "fleet://agents").to_string();
    assert!(fleet.contains("mine") && !fleet.contains("theirs"), "{fleet}");
    for argument in ["agent", "name"] {
        assert_eq!(values(&web, argument, None), json!(["mine"]));
        assert_eq!(values(&all, argument, None), json!(["mine", "theirs"]));
    }
    assert_eq!(values(&web, "project", None), json!(["web"]));
    assert_eq!(values(&web, "role", None), json!(["maker"]));
    assert_eq!(values(&all, "role", None), json!(["hidden", "maker"]));
    assert_eq!(values(&all, "role", Some("api")), json!(["hidden", "maker"]));
    let unknown = completed(&daemon, &web, "role", Some("nowhere"));
    assert_eq!(completed(&daemon, &web, "role", Some("api")), unknown);
}

#[test]
fn an_agent_of_another_project_reads_as_one_that_never_was() {
    let daemon = start();
    let web = daemon.create_token("web", &["--project", "web"]);

    for path in ["", "/log"] {
        let refused = |name: &str| {
            let refused = read(&daemon, &web, &format!("fleet://agents/{name}{path}"));
            assert_eq!(refused["error"]["code"], -32002, "{refused}");
            refused.to_string().replace(name, "NAME")
        };
        assert_eq!(refused("theirs"), refused("nobody"), "{path}");
        assert!(!refused("nobody").contains("theirs"), "{path}");
        let mine = read(&daemon, &web, &format!("fleet://agents/mine{path}"));
        assert!(mine["error"].is_null(), "{mine}");
    }
}

#[test]
fn prompts_are_the_same_for_every_token_and_look_nothing_up() {
    let daemon = start();
    let web = daemon.create_token("web", &["--project", "web"]);
    let metrics = daemon.create_token("prometheus", &["--scope", "metrics"]);
    let all = daemon.token();

    for (method, params) in [
        ("prompts/list", json!({})),
        ("prompts/get", json!({"name": "hand_over", "arguments": {"agent": "theirs"}})),
        ("prompts/get", json!({"name": "review_fleet"})),
    ] {
        let expected = ask(&daemon, &all, method, &params);
        assert!(expected["error"].is_null(), "{expected}");
        for token in [&web, &metrics] {
            assert_eq!(ask(&daemon, token, method, &params), expected, "{method} {params}");
        }
    }
    let hand_over = |agent: &str| {
        let params = json!({"name": "hand_over", "arguments": {"agent": agent}});
        ask(&daemon, &web, "prompts/get", &params).to_string().replace(agent, "NAME")
    };
    assert_eq!(hand_over("theirs"), hand_over("nobody"));
}
