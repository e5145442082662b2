//! Tokens of agents: made when a session opens, for what the role says, and void when it ends.

use std::fs;

use serde_json::{Value, json};

use super::{listed, status_with};
use crate::{
    acp_driver::program,
    support::{Builder, Certificate, TestDaemon, eventually, stderr},
    tls,
};

const NAME: &str = "agent:sony";

fn builder(fleet_token: &str) -> Builder {
    let config = format!(
        "[projects.web]\n[projects.api]\n[agents.bad]\ncommand = \"{}\"\nargs = [\"tell-servers\"]\n\
         [roles.bad]\nagent = \"bad\"\n{fleet_token}\n",
        program().display()
    );
    TestDaemon::builder().config(&config)
}

fn fleetctl(daemon: &TestDaemon, arguments: &[&str]) {
    let output = daemon.fleetctl(arguments);
    assert!(output.status.success(), "{arguments:?}: {}", stderr(&output));
}

fn create(daemon: &TestDaemon, name: &str, project: &str) {
    fleetctl(daemon, &["agent", "create", name, "x", "--project", project, "--role", "bad"]);
    fleetctl(daemon, &["agent", "wait", name]);
}

/// What an agent was given, as it has written it into its workspace.
fn given(daemon: &TestDaemon) -> Vec<Value> {
    let mut found = Vec::new();
    let mut directories = vec![daemon.home()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).unwrap().flatten() {
            if entry.file_type().unwrap().is_dir() {
                directories.push(entry.path());
            } else if entry.file_name() == "servers.json" {
                found.push(serde_json::from_slice(&fs::read(entry.path()).unwrap()).unwrap());
            }
        }
    }
    found
}

fn secret(daemon: &TestDaemon) -> String {
    let given = given(daemon);
    let header = given[0][0]["headers"][0].clone();
    assert_eq!(header["name"], "Authorization", "{given:?}");
    let secret = header["value"].as_str().unwrap().strip_prefix("Bearer ").unwrap().to_owned();
    daemon.watch_for(&secret);
    secret
}

#[test]
fn an_agent_sees_its_own_project_and_changes_nothing() {
    let daemon = builder("fleet_token = \"read\"").start();
    create(&daemon, "sony", "web");

    let secret = secret(&daemon);

    let url = &given(&daemon)[0][0]["url"];
    assert_eq!(*url, format!("http://{}/mcp", daemon.address()));
    let row = listed(&daemon).into_iter().find(|row| row["name"] == NAME).unwrap();
    assert_eq!((&row["scopes"], &row["projects"]), (&json!(["read"]), &json!(["web"])));
    let call = |tool: &str, arguments: Value| {
        daemon.post(&format!("/mcp/{tool}"), arguments.to_string()).bearer(&secret).send()
    };
    assert_eq!(call("show_agent", json!({"agent_name": "sony"})).status, 200);
    assert_eq!(call("list_agent_projects", json!({})).json()["total_count"], 1);
    assert_eq!(call("delete_agent", json!({"agent_name": "sony"})).status, 403);
    let kept = fs::read_to_string(daemon.state_dir().join("tokens.json")).unwrap();
    assert!(kept.contains(NAME) && !kept.contains(&secret));
    for (command, words) in [
        (["token", "create", NAME], "is an agent's: the daemon makes it"),
        (["token", "rotate", NAME], "is an agent's: the daemon makes it"),
    ] {
        let refused = daemon.fleetctl(&command);
        assert!(stderr(&refused).contains(words), "{}", stderr(&refused));
    }
}

#[test]
fn each_opening_makes_a_token_and_voids_the_one_before_and_the_end_voids_it_for_good() {
    let daemon = builder("fleet_token = \"manage\"").start();
    create(&daemon, "sony", "web");
    let first = secret(&daemon);
    assert_eq!(status_with(&daemon, &first), 200);

    fleetctl(&daemon, &["agent", "restart", "sony"]);
    let second = eventually("another token", || Some(secret(&daemon)).filter(|it| *it != first));

    assert_eq!([&first, &second].map(|token| status_with(&daemon, token)), [401, 200]);
    fleetctl(&daemon, &["agent", "delete", "sony"]);
    eventually("it is revoked with its agent", || {
        (status_with(&daemon, &second) == 401).then_some(())
    });
    eventually("nothing is left of it", || {
        let kept = fs::read_to_string(daemon.state_dir().join("tokens.json")).unwrap();
        (!kept.contains(NAME)).then_some(())
    });
}

#[test]
fn a_killed_daemon_leaves_no_agent_with_a_token() {
    let mut daemon = builder("fleet_token = \"read\"").start();
    create(&daemon, "sony", "web");
    let secret = secret(&daemon);
    daemon.kill();

    let daemon = daemon.restart();

    daemon.watch_for(&secret);
    assert_eq!(status_with(&daemon, &secret), 401);
    assert!(!listed(&daemon).iter().any(|row| row["name"] == NAME));
}

#[test]
fn a_session_that_goes_on_after_a_start_keeps_its_token_and_one_that_can_not_leaves_none() {
    let daemon = builder("fleet_token = \"read\"").supervised(1).start();
    create(&daemon, "sony", "web");
    let secret = secret(&daemon);

    let mut daemon = daemon.restart();
    daemon.watch_for(&secret);
    assert_eq!(status_with(&daemon, &secret), 200, "it goes on");
    daemon.kill();
    let config = daemon.home().join(".config/fleet-mcp/config.toml");
    fs::write(config, "[projects.web]\n").unwrap();
    let daemon = daemon.restart();

    // Not only once it has a session again, for which it would have to have a role.
    assert_eq!(status_with(&daemon, &secret), 401);
    assert!(!listed(&daemon).iter().any(|row| row["name"] == NAME));
}

#[test]
fn without_the_roles_word_an_agent_has_no_token() {
    let daemon = builder("").start();

    create(&daemon, "sony", "web");

    assert_eq!(given(&daemon), [json!([])]);
    assert_eq!(listed(&daemon).len(), 1);
}

#[test]
fn where_agents_can_not_reach_the_daemon_the_session_says_so() {
    let config = "[roles.demo]\nagent = \"demo\"\nfleet_token = \"read\"\n";
    let daemon = tls::builder(&Certificate::new()).config(config).start();

    fleetctl(&daemon, &["agent", "create", "sony", "x", "--project", "scratch", "--role", "demo"]);

    let words = "it can't have the fleet's tools: the daemon speaks TLS";
    eventually("the agent's task says why", || {
        let shown = daemon.fleetctl(&["agent", "show", "sony", "--json"]);
        String::from_utf8(shown.stdout).unwrap().contains(words).then_some(())
    });
}
