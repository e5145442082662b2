//! Named tokens of a real daemon: what they allow, how they end, and who has not moved yet.

mod agents;
mod brute_force;
mod elsewhere;
mod endings;
mod file;
mod killed;
mod offers;
mod scopes;
mod team;
mod throttle;

use serde_json::Value;

use crate::support::{TestDaemon, eventually, stderr, stdout};

/// What `fleetctl token list` says of each secret.
fn listed(daemon: &TestDaemon) -> Vec<Value> {
    let output = daemon.fleetctl(&["token", "list", "--json"]);
    assert!(output.status.success(), "{}", stderr(&output));
    let list: Value = serde_json::from_slice(&output.stdout).unwrap();
    list["tokens"].as_array().unwrap().clone()
}

fn status_with(daemon: &TestDaemon, token: &str) -> u16 {
    daemon.get("/mcp/list_agents").bearer(token).send().status
}

#[test]
fn a_secret_is_shown_once_on_standard_output_and_kept_nowhere() {
    let daemon = TestDaemon::start();

    let created = daemon.fleetctl(&["token", "create", "Alice", "--expires", "90d"]);

    let secret = stdout(&created).trim_end().to_owned();
    daemon.watch_for(&secret);
    let body = secret.strip_prefix("fmcp_").unwrap();
    assert!(body.len() == 49 && body.bytes().all(|b| b.is_ascii_alphanumeric()), "{body}");
    let words = stderr(&created);
    assert!(words.contains("Token `alice` created; it allows: read. It expires at "), "{words}");
    assert!(!words.contains(&secret));
    let file = std::fs::read_to_string(daemon.state_dir().join("tokens.json")).unwrap();
    assert!(!file.contains(body), "the secret is in tokens.json");
    let shown = daemon.fleetctl(&["token", "show", "alice"]);
    assert_eq!((shown.status.code(), stdout(&shown)), (Some(1), ""));
    assert!(stderr(&shown).contains("only its digest is kept"), "{}", stderr(&shown));
    assert_eq!(status_with(&daemon, &secret), 200);
    let daemon = daemon.restart();
    assert_eq!(status_with(&daemon, &secret), 200);
}

#[test]
fn what_makes_no_sense_is_refused_with_what_would() {
    let daemon = TestDaemon::start();
    daemon.create_token("ci", &[]);

    for (arguments, code, words) in [
        (&["create", "ci"][..], 1, "token `ci` exists already"),
        (&["create", "default"], 1, "token `default` exists already"),
        (&["create", "a b"], 1, "a token's name has 1 to 64 characters"),
        (&["create", "x", "--scope", "all"], 1, "there is: read, task, manage, metrics"),
        (&["create", "x", "--project", "nope"], 1, "project `nope` not found; there is: scratch"),
        (&["create", "x", "--from", "10.0.0"], 1, "no IP address or network, such as"),
        (&["create", "x", "--expires", "soon"], 2, "use a duration such as 90d, or a date"),
        (&["create", "x", "--expires", "2020-01-01"], 1, "a token expires in the future"),
        (&["rotate", "ci", "--grace", "1s", "--now"], 2, "cannot be used with"),
        (&["rotate", "--expires", "1d"], 1, "the primary token does not expire"),
        (&["revoke", "default"], 1, "the primary token can't be revoked"),
        (&["revoke", "nobody"], 1, "token `nobody` not found; there is: ci, default"),
    ] {
        let output = daemon.fleetctl(&[&["token"], arguments].concat());

        assert_eq!((output.status.code(), stdout(&output)), (Some(code), ""), "{arguments:?}");
        assert!(stderr(&output).contains(words), "{arguments:?}: {}", stderr(&output));
    }
    assert_eq!(listed(&daemon).len(), 2);
}

#[test]
fn a_mistyped_secret_is_refused_like_any_other_and_only_the_log_says_why() {
    let daemon = TestDaemon::start();
    let secret = daemon.create_token("ci", &[]);
    let (cut, wrong) = (&secret[..secret.len() - 1], format!("fmcp_{}", "x".repeat(49)));
    let strange = "x".repeat(43);

    let bodies = [cut, &wrong, &strange].map(|token| {
        let refused = daemon.get("/mcp/list_agents").bearer(token).send();
        (refused.status, refused.body, refused.headers.len())
    });

    assert!(bodies.iter().all(|body| *body == bodies[0] && body.0 == 401), "{bodies:?}");
    // Of each of them, once the last one is there.
    let refusals = eventually("each refusal is logged", || {
        let mut lines = daemon.log();
        lines.retain(|line| line.contains("/mcp/list_agents") && line.contains("401"));
        (lines.len() == bodies.len()).then_some(lines)
    });
    let hinted = refusals.iter().filter(|line| line.contains("its checksum is wrong"));
    assert_eq!(hinted.count(), 2);
}

#[test]
fn the_last_use_is_listed_and_outlives_the_daemon() {
    let daemon = TestDaemon::builder().env("FLEET_MCP_HTTP_TRUSTED_PROXIES", "127.0.0.1").start();
    let secret = daemon.create_token("ci", &[]);
    assert_eq!(
        (&listed(&daemon)[0]["requests"], listed(&daemon)[0].get("last_used")),
        (&0.into(), None)
    );
    for _ in 0..3 {
        let request = daemon.get("/mcp/list_agents").bearer(&secret);
        assert_eq!(request.header("X-Forwarded-For", "203.0.113.7").send().status, 200);
    }
    let before = listed(&daemon)[0].clone();

    let daemon = daemon.restart();

    let after = listed(&daemon)[0].clone();
    assert_eq!(before, after);
    assert_eq!((&after["requests"], &after["last_used_from"]), (&3.into(), &"203.0.113.7".into()));
    let shown = daemon.fleetctl(&["token", "list"]);
    assert!(stdout(&shown).contains("203.0.113.7  3"), "{}", stdout(&shown));
}
