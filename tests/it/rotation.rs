//! Rotation: live, durable before it is answered, and without a wrong answer to anybody.

mod disk;
mod killed;
mod load;

use crate::support::{TestDaemon, stderr, stdout};

#[test]
fn standard_output_is_exactly_the_secret_and_the_words_are_on_standard_error() {
    let daemon = TestDaemon::start();
    daemon.token();

    for command in [&["rotate"][..], &["rotate", "default"], &["token", "rotate"]] {
        let output = daemon.fleetctl(command);

        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        assert_eq!(stdout(&output), format!("{}\n", daemon.token()));
        let words = stderr(&output);
        assert!(words.contains("Token `default` rotated: the old secret no longer works"));
        assert!(words.contains(&daemon.token_file().display().to_string()), "{words}");
        assert!(!words.contains(&daemon.token()), "the secret is on standard error");
    }
}

#[test]
fn old_secret_is_refused_as_revoked_and_the_new_one_works() {
    let daemon = TestDaemon::start();
    let old = daemon.token();

    let new = daemon.rotate();

    let refused = daemon.get("/mcp/list_agents").bearer(&old).send();
    assert_eq!((refused.status, refused.json()["error"].as_str()), (401, Some("invalid_token")));
    assert_eq!(daemon.get("/mcp/list_agents").bearer(&new).send().status, 200);
    let entry = daemon.log_line(" reason=revoked ");
    assert!(entry.contains("WARNING - 401 invalid_token from 127.0.0.1: GET /mcp/"), "{entry}");
    let rotated = daemon.log_line("token `default` rotated by ");
    assert!(rotated.contains("event=token_rotated"), "{rotated}");
    let refused = daemon.status()["refused"].to_string();
    assert!(refused.contains(r#"{"name":"revoked","count":1}"#), "{refused}");
}

#[test]
fn secret_that_was_rotated_away_stays_refused_after_a_restart() {
    let daemon = TestDaemon::start();
    let old = daemon.token();
    let new = daemon.rotate();

    let daemon = daemon.restart();

    daemon.watch_for(&old);
    assert_eq!(daemon.token(), new);
    assert_eq!(daemon.get("/mcp/list_agents").bearer(&old).send().status, 401);
    assert_eq!(daemon.get("/mcp/list_agents").bearer(&new).send().status, 200);
}

#[test]
fn shown_token_is_the_one_in_force_and_showing_is_an_event() {
    let daemon = TestDaemon::start();
    let token = daemon.rotate();

    let shown = daemon.fleetctl(&["token", "show"]);

    assert_eq!(stdout(&shown), format!("{token}\n"));
    assert_eq!(stderr(&shown), "");
    daemon.log_line("token `default` shown to ");
}

#[test]
fn unknown_token_is_neither_rotated_nor_shown() {
    let daemon = TestDaemon::start();
    let token = daemon.token();

    for command in [["token", "rotate", "ci"], ["token", "show", "a/b ä"]] {
        let output = daemon.fleetctl(&command);

        assert_eq!((output.status.code(), stdout(&output)), (Some(1), ""));
        let words = stderr(&output);
        assert!(words.contains("not found; there is: default"), "{words}");
    }
    assert_eq!(daemon.token(), token);
}
