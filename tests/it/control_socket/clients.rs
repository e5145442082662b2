//! `fleetctl client-config`: the right form for each client, with the right address, and no token.

use serde_json::{Value, json};

use crate::support::{TestDaemon, stderr, stdout};

const CLIENTS: [&str; 9] = [
    "claude-code",
    "codex",
    "gemini-cli",
    "opencode",
    "vscode",
    "cursor",
    "openai-agents",
    "responses-api",
    "curl",
];

fn form(daemon: &TestDaemon, arguments: &[&str]) -> String {
    let output = daemon.fleetctl(&[&["client-config"], arguments].concat());
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(stderr(&output).starts_with("# "), "{}", stderr(&output));
    stdout(&output).to_owned()
}

#[test]
fn every_form_has_the_daemons_address_and_none_has_the_token() {
    let daemon = TestDaemon::start();
    let token = daemon.token();
    let url = format!("http://{}", daemon.address());

    for client in CLIENTS {
        let form = form(&daemon, &[client]);

        assert!(form.contains(&url), "{client}: {form}");
        assert!(!form.contains(&token), "{client}: {form}");
        let takes_it = form.contains("FLEET_MCP_TOKEN") || form.contains("fleet-token");
        assert!(takes_it, "{client} gets no token: {form}");
    }
}

#[test]
fn public_url_goes_before_the_listening_address_and_the_flag_before_both() {
    let public = "https://fleet-mcp.example.com";
    let daemon = TestDaemon::builder().env("FLEET_MCP_HTTP_PUBLIC_URL", public).start();

    for client in CLIENTS {
        assert!(form(&daemon, &[client]).contains(public), "{client}");
        for given in ["http://x:1", "http://x:1/", "http://x:1/mcp", "http://x:1/mcp/"] {
            let form = form(&daemon, &[client, "--url", given]);
            assert!(form.contains("http://x:1/mcp") && !form.contains(public), "{client}: {form}");
            assert!(!form.contains("mcp/mcp") && !form.contains("1//mcp"), "{client}: {form}");
        }
    }
}

#[test]
fn form_without_a_daemon_is_for_the_default_address_and_says_so() {
    let builder = TestDaemon::builder();
    let mut command = builder.command(super::FLEETCTL);

    let output = command.args(["client-config", "claude-code"]).output().unwrap();

    assert_eq!(output.status.code(), Some(0));
    assert!(stdout(&output).contains(" http://127.0.0.1:8000/mcp "), "{}", stdout(&output));
    assert!(stderr(&output).contains("The daemon can't be asked for its address"));
}

#[test]
fn forms_in_json_are_json_as_the_clients_read_it() {
    let daemon = TestDaemon::start();
    let mcp = format!("http://{}/mcp", daemon.address());
    let parsed = |client| -> Value { serde_json::from_str(&form(&daemon, &[client])).unwrap() };

    let [opencode, vscode, cursor] = ["opencode", "vscode", "cursor"].map(parsed);

    let bearer = |token: &str| json!({"Authorization": format!("Bearer {token}")});
    assert_eq!(opencode["mcp"]["fleet"]["url"], mcp);
    assert_eq!(opencode["mcp"]["fleet"]["headers"], bearer("{env:FLEET_MCP_TOKEN}"));
    assert_eq!(vscode["servers"]["fleet"]["url"], mcp);
    assert_eq!(vscode["servers"]["fleet"]["headers"], bearer("${input:fleet-token}"));
    assert_eq!(cursor["mcpServers"]["fleet"]["url"], mcp);
    assert_eq!(cursor["mcpServers"]["fleet"]["headers"], bearer("${env:FLEET_MCP_TOKEN}"));
}

#[test]
fn the_form_for_curl_works_as_printed() {
    let daemon = TestDaemon::start();
    let token = daemon.token();
    let lines = form(&daemon, &["curl"]);
    let agent = ["agent", "create", "sony", "begin", "--project", "scratch", "--role", "demo"];
    assert!(daemon.fleetctl(&agent).status.success());
    assert!(daemon.fleetctl(&["agent", "wait", "sony"]).status.success());

    let script = format!("export FLEET_MCP_TOKEN={token}\n{}", lines.replace("curl ", "curl -sf "));
    let output = crate::support::sh(&script);

    for answer in [r#""total_count":1"#, r#""state":"done""#, r#""status":"healthy""#] {
        assert!(stdout(&output).contains(answer), "{answer}: {output:?}");
    }
}
