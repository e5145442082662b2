//! The tools as plain HTTP, for curl and scripts.

use serde_json::{Value, json};

use crate::support::{Request, Response, TestDaemon};

const CONFIG: &str = r#"
[projects.Setup]
description = "The set-up of everything"
repository = "/srv/secret/place"

[projects.dataone]

[roles.Coder]
description = "Writes code"
default = true

[roles.Operator]
projects = ["setup"]
"#;

/// A daemon with projects and roles, and a way to send a request with its token.
struct Fleet {
    daemon: TestDaemon,
    token: String,
}

impl Fleet {
    fn start() -> Self {
        let daemon = TestDaemon::builder().config(CONFIG).start();
        let token = daemon.token();
        Self { daemon, token }
    }

    fn get(&self, path: &str) -> Response {
        self.daemon.get(path).bearer(&self.token).send()
    }

    fn post(&self, path: &str, body: &str) -> Response {
        self.daemon.post(path, body).bearer(&self.token).send()
    }
}

/// The code and the message of an error in the plain form, which has nothing else in it.
#[track_caller]
fn error(response: &Response, status: u16, code: &str) -> String {
    assert_eq!(response.status, status, "{response:?}");
    assert_eq!(response.header("content-type"), Some("application/json"));
    assert_eq!(response.header("cache-control"), Some("no-store"));
    let body = response.json();
    assert_eq!(body["error"]["code"], code, "{body}");
    let message = body["error"]["message"].as_str().unwrap().to_owned();
    assert_eq!(body, json!({"error": {"code": code, "message": message}}));
    for internal in ["src/", ".rs", "panicked", "serde", "axum", "/srv/secret", "http://"] {
        assert!(!message.contains(internal), "{message}");
    }
    message
}

#[track_caller]
fn result(response: &Response) -> Value {
    assert_eq!(response.status, 200, "{response:?}");
    assert_eq!(response.header("content-type"), Some("application/json"));
    assert_eq!(response.header("cache-control"), Some("no-store"));
    response.json()
}

#[test]
fn get_and_post_answer_alike_with_the_tools_result() {
    let fleet = Fleet::start();
    let projects = json!({
        "projects": [
            {"id": "Setup", "name": "Setup", "description": "The set-up of everything"},
            {"id": "dataone", "name": "dataone", "description": ""},
        ],
        "total_count": 2,
    });

    assert_eq!(result(&fleet.get("/mcp/list_agent_projects")), projects);
    for body in ["{}", "", "  \n", "{ }"] {
        assert_eq!(result(&fleet.post("/mcp/list_agent_projects", body)), projects, "{body:?}");
    }
    let empty = json!({"agents": [], "total_count": 0});
    assert_eq!(result(&fleet.get("/mcp/list_agents")), empty);
    assert_eq!(result(&fleet.get("/mcp/list_agents?status_filter=IDLE")), empty);
    assert_eq!(result(&fleet.get("/mcp/list_agents?project_filter=SETUP")), empty);
    let both = r#"{"status_filter":"idle","project_filter":"Setup"}"#;
    assert_eq!(result(&fleet.post("/mcp/list_agents", both)), empty);
    let head = Request::new(fleet.daemon.address(), "HEAD", "/mcp/list_agents");
    assert_eq!(head.bearer(&fleet.token).send().status, 200);
}

#[test]
fn a_page_of_agents_is_told_when_one_was_asked_for() {
    let fleet = Fleet::start();
    let page = |number: u32, size: u32| {
        json!({
            "agents": [], "total_count": 0, "page": number, "page_size": size,
            "has_next_page": false, "has_previous_page": number > 1,
        })
    };

    assert_eq!(result(&fleet.get("/mcp/list_agents?page_size=2")), page(1, 2));
    assert_eq!(result(&fleet.get("/mcp/list_agents?page=3")), page(3, 100));
    for (query, limit) in [("page=0", "1"), ("page_size=0", "1"), ("page_size=101", "100")] {
        let refused = fleet.get(&format!("/mcp/list_agents?{query}"));
        assert_eq!(refused.status, 400, "{query}");
        assert!(refused.body.contains(limit), "{query}: {}", refused.body);
    }
}

#[test]
fn roles_are_told_with_the_projects_own_spelling() {
    let fleet = Fleet::start();
    let role = |name: &str, description: &str, project: &str| {
        json!({
            "id": name, "name": name, "description": description, "default": name == "Coder",
            "project_id": project, "project_name": project,
        })
    };
    let of_setup = json!({
        "project_name": "Setup",
        "roles": [role("Coder", "Writes code", "Setup"), role("Operator", "", "Setup")],
        "total_count": 2,
    });
    let of_dataone = json!({
        "project_name": "dataone",
        "roles": [role("Coder", "Writes code", "dataone")],
        "total_count": 1,
    });

    assert_eq!(result(&fleet.get("/mcp/list_agent_roles?project=SETUP")), of_setup);
    assert_eq!(result(&fleet.post("/mcp/list_agent_roles", r#"{"project":"setup"}"#)), of_setup);
    assert_eq!(result(&fleet.get("/mcp/list_agent_roles?project=DataOne")), of_dataone);
}

#[test]
fn what_does_not_exist_is_not_found_and_the_answer_says_what_there_is() {
    let fleet = Fleet::start();
    let message = |path: &str| error(&fleet.get(path), 404, "NOT_FOUND");

    let tools = "there is: answer_agent, cancel_agent_task, create_agent, delete_agent, \
                 list_agent_projects, list_agent_roles, list_agents, publish_agent, restart_agent, \
                 show_agent, show_agent_log, show_agent_task_history, start_agent_task, wait_for_agent";
    assert_eq!(message("/mcp/nope"), format!("tool `nope` not found; {tools}"));
    assert_eq!(message("/mcp/LIST_AGENTS"), format!("tool `LIST_AGENTS` not found; {tools}"));
    assert_eq!(
        message("/mcp/show_agent?agent_name=Sony"),
        "agent `sony` not found; there are no agents yet"
    );
    assert_eq!(
        message("/mcp/list_agent_roles?project=nope"),
        "project `nope` not found; there is: Setup, dataone"
    );
    assert_eq!(
        message("/mcp/list_agents?project_filter=nope"),
        "project `nope` not found; there is: Setup, dataone"
    );
    // A name of any size and any bytes is told back in short, or not at all.
    assert!(message(&format!("/mcp/{}", "x".repeat(5000))).len() < 500);
    assert!(message(&format!("/mcp/list_agent_roles?project={}", "x".repeat(5000))).len() < 500);
    message("/mcp/%ff%fe");
    message("/mcp/a%2fb");
    message("/mcp/list_agents/");
    error(&fleet.post("/mcp/nope", "{}"), 404, "NOT_FOUND");
}

#[test]
fn an_unknown_status_is_an_error_and_never_the_whole_fleet() {
    let fleet = Fleet::start();

    for response in [
        fleet.get("/mcp/list_agents?status_filter=offline"),
        fleet.post("/mcp/list_agents", r#"{"status_filter":"offline"}"#),
    ] {
        assert_eq!(
            error(&response, 400, "INVALID_INPUT"),
            "status_filter: unknown status `offline`; use one of: pending, starting, idle, busy, \
             stopping, stopped, failed, canceling, canceled, deleting, deleted"
        );
    }
    error(&fleet.get("/mcp/list_agents?status_filter="), 400, "INVALID_INPUT");
}

#[test]
fn arguments_are_taken_exactly() {
    let fleet = Fleet::start();

    for (path, expected) in [
        ("/mcp/list_agents?status=idle", "unknown field `status`"),
        ("/mcp/list_agent_projects?x=1", "unknown field `x`"),
        ("/mcp/list_agent_roles", "missing field `project`"),
        ("/mcp/show_agent", "missing field `agent_name`"),
        (
            "/mcp/list_agents?status_filter=idle&status_filter=busy",
            "`status_filter` is given twice",
        ),
        ("/mcp/show_agent?agent_name=", "agent name is empty"),
        ("/mcp/show_agent?agent_name=%C3%A9", "only a-z, 0-9 and `-` are allowed"),
        ("/mcp/show_agent?agent_name=-a", "starts or ends with `-`"),
        ("/mcp/show_agent?agent_name=new", "`new` is reserved"),
        ("/mcp/show_agent?agent_name=a%0Ab", "only a-z, 0-9 and `-` are allowed"),
        ("/mcp/show_agent?agent_name=%ff", "only a-z, 0-9 and `-` are allowed"),
    ] {
        let message = error(&fleet.get(path), 400, "INVALID_INPUT");
        assert!(message.contains(expected), "{path}: {message}");
    }
    let long = format!("/mcp/show_agent?agent_name={}", "a".repeat(33));
    assert!(error(&fleet.get(&long), 400, "INVALID_INPUT").contains("at most 32"));
    let longest = format!("/mcp/show_agent?agent_name={}", "a".repeat(32));
    error(&fleet.get(&longest), 404, "NOT_FOUND");
    let unknown = format!("/mcp/list_agents?{}=1", "x".repeat(5000));
    assert!(error(&fleet.get(&unknown), 400, "INVALID_INPUT").len() < 400);
}

#[test]
fn a_query_is_text_where_the_tool_takes_text() {
    let fleet = Fleet::start();

    for (value, name) in [("123", "123"), ("true", "true"), ("null", "null"), ("1e3", "1e3")] {
        let path = format!("/mcp/show_agent?agent_name={value}");
        let message = error(&fleet.get(&path), 404, "NOT_FOUND");
        assert!(message.starts_with(&format!("agent `{name}` not found")), "{message}");
    }
    let message = error(&fleet.get("/mcp/list_agent_roles?project=a+b%20c"), 404, "NOT_FOUND");
    assert!(message.starts_with("project `a b c` not found"), "{message}");
}

#[test]
fn a_body_that_is_no_object_of_arguments_is_an_error() {
    let fleet = Fleet::start();

    for (body, expected) in [
        ("{", "no JSON (line 1, column 1)"),
        ("{\"project\":}", "no JSON (line 1, column 12)"),
        ("project=setup", "no JSON"),
        ("{} {}", "no JSON"),
        ("[]", "must be a JSON object"),
        ("null", "must be a JSON object"),
        ("\"setup\"", "must be a JSON object"),
        ("5", "must be a JSON object"),
        (r#"{"project":5}"#, "invalid type: integer `5`, expected a string"),
        (r#"{"project":["setup"]}"#, "invalid type: sequence, expected a string"),
        (r#"{"project":null}"#, "invalid type: null, expected a string"),
        (r#"{"project":"setup","x":1}"#, "unknown field `x`"),
    ] {
        let message = error(&fleet.post("/mcp/list_agent_roles", body), 400, "INVALID_INPUT");
        assert!(message.contains(expected), "{body}: {message}");
    }
    let deep = "[".repeat(100_000);
    error(&fleet.post("/mcp/list_agent_roles", &deep), 400, "INVALID_INPUT");
    assert_eq!(fleet.get("/health").status, 200);
}

#[test]
fn other_methods_are_told_which_ones_there_are() {
    let fleet = Fleet::start();

    for method in ["PUT", "DELETE", "PATCH", "OPTIONS"] {
        let request = Request::new(fleet.daemon.address(), method, "/mcp/list_agents");
        let response = request.bearer(&fleet.token).send();
        error(&response, 405, "INVALID_INPUT");
        assert_eq!(response.header("allow"), Some("GET, POST"), "{method}");
    }
}

#[test]
fn projects_and_roles_are_reread_without_a_restart() {
    let fleet = Fleet::start();
    let file = fleet.daemon.home().join(".config/fleet-mcp/config.toml");

    std::fs::write(&file, "[projects.fresh]\n").unwrap();
    let reloaded = fleet.daemon.fleetctl(&["reload"]);

    assert!(reloaded.status.success(), "{reloaded:?}");
    let projects = result(&fleet.get("/mcp/list_agent_projects"));
    assert_eq!(
        (&projects["total_count"], &projects["projects"][0]["name"]),
        (&json!(1), &json!("fresh"))
    );
}
