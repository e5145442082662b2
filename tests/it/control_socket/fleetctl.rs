//! `fleetctl` as people and scripts see it: words, JSON and exit codes.

use std::{
    io::Write as _,
    process::{Command, Stdio},
};

use serde_json::{Value, json};

use super::FLEETCTL;
use crate::support::{TestDaemon, stderr, stdout};

fn bare(arguments: &[&str]) -> std::process::Output {
    Command::new(FLEETCTL).env_clear().args(arguments).output().unwrap()
}

fn keys(value: &Value) -> Vec<&str> {
    let mut keys: Vec<_> = value.as_object().unwrap().keys().map(String::as_str).collect();
    keys.sort_unstable();
    keys
}

#[test]
fn status_for_people_names_everything_that_matters() {
    let daemon = TestDaemon::start();
    let token = daemon.token();
    daemon.get("/mcp/list_agents").send();
    daemon.get("/mcp/list_agents").bearer(&token).send();
    daemon.get("/mcp/list_agents").bearer(&token).send();

    let shown = daemon.fleetctl(&["status"]);

    let text = stdout(&shown);
    let first =
        format!("fleet-mcp {} is ready (pid {}, up ", env!("CARGO_PKG_VERSION"), daemon.pid());
    assert!(text.starts_with(&first), "{text}");
    for line in [
        format!("\nListening       http://{}\n", daemon.address()),
        format!("\nAuthentication  on, token file {}\n", daemon.token_file().display()),
        "\nTokens          NAME     STATE    CREATED               EXPIRES  LAST USED".into(),
        "\nAgents          none\n".into(),
        "\nRefused         1 (missing_token 1)".into(),
    ] {
        assert!(text.contains(&line), "no {line:?} in:\n{text}");
    }
    let row = text.lines().find(|line| line.trim_start().starts_with("default ")).unwrap();
    let words: Vec<_> = row.split_whitespace().collect();
    assert_eq!(words[words.len() - 3..], ["127.0.0.1", "2", "all"], "{row}");
    assert!(!text.contains(&token));
    assert_eq!((shown.status.code(), stderr(&shown)), (Some(0), ""));
}

#[test]
fn status_for_programs_has_a_fixed_shape() {
    let daemon = TestDaemon::start();
    let token = daemon.token();

    let status = daemon.status();

    assert_eq!(
        keys(&status),
        [
            "agents",
            "auth",
            "isolation",
            "listeners",
            "not_ready",
            "pid",
            "refused",
            "started_at",
            "state",
            "tokens",
            "uptime_seconds",
            "version",
            "warnings",
        ]
    );
    assert_eq!(status["state"], "ready");
    assert_eq!(status["pid"], daemon.pid());
    assert_eq!(status["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(status["listeners"], json!([format!("http://{}", daemon.address())]));
    assert_eq!(
        status["auth"],
        json!({
            "enforced": true,
            "token_file": daemon.token_file(),
            "token_file_state": "current",
        })
    );
    assert_eq!(
        keys(&status["tokens"][0]),
        ["created_at", "fingerprint", "name", "requests", "scopes", "state"]
    );
    let names: Vec<_> = status["refused"].as_array().unwrap().iter().map(|r| &r["name"]).collect();
    let reasons = [
        "missing_token",
        "malformed_header",
        "invalid_token",
        "revoked",
        "expired",
        "address_not_allowed",
        "throttled",
        "forbidden",
    ];
    assert_eq!(names, reasons);
    assert_eq!((&status["warnings"], &status["not_ready"]), (&json!([]), &json!([])));
    assert!(!status.to_string().contains(&token));
}

#[test]
fn answers_for_programs_are_json_and_nothing_else() {
    let daemon = TestDaemon::start();
    daemon.token();

    let rotated = daemon.fleetctl(&["--json", "rotate"]);
    let shown = daemon.fleetctl(&["token", "show", "--json"]);
    let reloaded = daemon.fleetctl(&["reload", "--json"]);

    let json_of = |output: &std::process::Output| -> Value {
        serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{e}: {output:?}"))
    };
    let (issued, shown, reloaded) = (json_of(&rotated), json_of(&shown), json_of(&reloaded));
    assert_eq!(keys(&issued), ["created_at", "file", "name", "replaces", "scopes", "secret"]);
    assert_eq!(issued["secret"], daemon.token());
    assert_eq!(issued["file"], json!(daemon.token_file()));
    assert_eq!(
        shown,
        json!({"file": issued["file"], "name": "default", "secret": issued["secret"]})
    );
    assert_eq!(reloaded, json!({"needs_restart": [], "warnings": []}));
}

#[test]
fn running_daemon_is_reached_whatever_is_wrong_with_its_settings() {
    let daemon = TestDaemon::builder().config("http.max_requests = 1\n").start();
    daemon.token();

    for broken in ["[http", "htpt.max_requests = 1\n", "http.max_requests = 0\n"] {
        let file = daemon.home().join(".config/fleet-mcp/config.toml");
        std::fs::write(file, broken).unwrap();

        let rotated = daemon.fleetctl(&["rotate"]);

        assert_eq!(rotated.status.code(), Some(0), "{}", stderr(&rotated));
        assert_eq!(stdout(&rotated).trim_end(), daemon.token());
    }
}

#[test]
fn help_names_every_command_and_exit_status() {
    let help = bare(&["--help"]);

    assert_eq!(help.status.code(), Some(0));
    let text = stdout(&help);
    for command in ["status", "rotate", "token", "reload", "client-config", "completions"] {
        assert!(text.contains(&format!("\n  {command} ")), "no `{command}` in:\n{text}");
        assert_eq!(bare(&[command, "--help"]).status.code(), Some(0), "{command}");
    }
    let flat = text.split_whitespace().collect::<Vec<_>>().join(" ");
    for status in ["0 ok", "1 failed", "2 wrong usage", "69 the", "77 not", "78 configuration"] {
        assert!(flat.contains(status), "no `{status}` in:\n{text}");
    }
    let token = bare(&["token", "--help"]);
    assert!(stdout(&token).contains("\n  show ") && stdout(&token).contains("\n  rotate "));
    let version = bare(&["--version"]);
    assert_eq!(stdout(&version), format!("fleetctl {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn wrong_usage_is_exit_2_and_says_what_is_right() {
    for (arguments, words) in [
        (&[][..], "Usage: fleetctl"),
        (&["rotat"], "unrecognized subcommand 'rotat'"),
        (&["client-config", "emacs"], "possible values: claude-code, claude-desktop, codex"),
        (&["completions", "tcl"], "possible values: bash"),
        (&["status", "--jsno"], "unexpected argument '--jsno'"),
        (&["token"], "Usage: fleetctl token"),
    ] {
        let output = bare(arguments);

        assert_eq!((output.status.code(), stdout(&output)), (Some(2), ""), "{arguments:?}");
        assert!(stderr(&output).contains(words), "{arguments:?}: {}", stderr(&output));
    }
}

#[test]
fn completions_know_the_commands_and_bash_takes_them() {
    for shell in ["bash", "zsh", "fish"] {
        let output = bare(&["completions", shell]);

        assert_eq!((output.status.code(), stderr(&output)), (Some(0), ""), "{shell}");
        for word in ["rotate", "client-config", "completions", "socket"] {
            assert!(stdout(&output).contains(word), "{shell} does not know {word}");
        }
    }
    let script = bare(&["completions", "bash"]).stdout;
    let mut bash = Command::new("bash");
    let mut bash = bash.arg("-n").stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    bash.stdin.take().unwrap().write_all(&script).unwrap();
    let checked = bash.wait_with_output().unwrap();
    assert!(checked.status.success(), "{}", stderr(&checked));
}

#[test]
fn reader_that_has_seen_enough_is_no_failure() {
    for (program, arguments) in [
        (FLEETCTL, &["completions", "bash"][..]),
        (FLEETCTL, &["client-config", "vscode", "--url", "http://x"]),
        (env!("CARGO_BIN_EXE_fleet-mcp"), &["--help"]),
    ] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);

        let mut command = Command::new(program);
        let output = command.env_clear().args(arguments).stdout(writer).output().unwrap();

        assert_eq!(output.status.code(), Some(0), "{arguments:?}: {}", stderr(&output));
        assert!(!stderr(&output).contains("roken pipe"), "{}", stderr(&output));
    }
}
