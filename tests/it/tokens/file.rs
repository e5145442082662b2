//! The named tokens' file while the daemon runs and when it starts.

use std::fs;

use serde_json::Value;

use super::{listed, status_with};
use crate::support::{TestDaemon, stderr, stdout};

fn edit(daemon: &TestDaemon, change: impl FnOnce(&mut Value)) {
    let path = daemon.state_dir().join("tokens.json");
    let mut file: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    change(&mut file);
    fs::write(path, serde_json::to_vec(&file).unwrap()).unwrap();
}

#[test]
fn a_newer_version_or_a_damaged_file_stops_the_start_and_stays_as_it_is() {
    let daemon = TestDaemon::start();
    daemon.create_token("ci", &[]);
    let path = daemon.state_dir().join("tokens.json");
    let how = daemon.how().clone();
    edit(&daemon, |file| file["version"] = 99.into());
    let newer = fs::read(&path).unwrap();
    drop(daemon);

    let failed = how.fails();
    assert_eq!(failed.code, Some(78), "{}", failed.stderr);
    assert!(
        failed.stderr.contains("it is of version 99, and this fleet-mcp knows versions up to 1")
    );
    assert!(failed.stderr.contains("help: run the fleet-mcp that wrote it"), "{}", failed.stderr);
    assert_eq!(fs::read(&path).unwrap(), newer);
    fs::write(&path, &newer[..40]).unwrap();
    let failed = how.fails();
    assert_eq!(failed.code, Some(78), "{}", failed.stderr);
    assert!(failed.stderr.contains("it ends too early"), "{}", failed.stderr);
    assert!(failed.stderr.contains("help: restore it, or move it away with `mv "));
    assert_eq!(fs::read(&path).unwrap(), &newer[..40]);
}

#[test]
fn a_reload_takes_over_what_was_edited_and_until_then_nothing_is_lost() {
    let daemon = TestDaemon::start();
    let gone = daemon.create_token("gone", &[]);
    let kept = daemon.create_token("kept", &[]);
    edit(&daemon, |file| {
        let tokens = file["tokens"].as_array_mut().unwrap();
        tokens.retain(|token| token["name"] != "gone");
    });
    assert_eq!([&gone, &kept].map(|token| status_with(&daemon, token)), [200, 200]);
    let warned = daemon.status()["warnings"].to_string();
    assert!(warned.contains("tokens.json was changed by somebody else"), "{warned}");

    let refused = daemon.fleetctl(&["token", "create", "new"]);
    assert_eq!((refused.status.code(), stdout(&refused)), (Some(1), ""));
    assert!(stderr(&refused).contains("`fleetctl reload` takes it over"), "{}", stderr(&refused));
    let reloaded = daemon.fleetctl(&["reload"]);

    assert!(reloaded.status.success(), "{}", stderr(&reloaded));
    assert_eq!([&gone, &kept].map(|token| status_with(&daemon, token)), [401, 200]);
    daemon.log_line("token `gone` revoked by ");
    daemon.create_token("new", &[]);
    assert_eq!(daemon.status()["warnings"].to_string(), "[]");
}

#[test]
fn a_file_that_can_not_be_understood_is_refused_by_a_reload_as_a_whole() {
    let daemon = TestDaemon::start();
    let token = daemon.create_token("ci", &[]);
    fs::write(daemon.state_dir().join("tokens.json"), "{").unwrap();

    let reloaded = daemon.fleetctl(&["reload"]);

    assert_eq!(reloaded.status.code(), Some(1));
    assert!(stderr(&reloaded).contains("it ends too early"), "{}", stderr(&reloaded));
    assert_eq!(status_with(&daemon, &token), 200);
    let warned = daemon.status()["warnings"].to_string();
    assert!(warned.contains("the next start will stop: can't understand the tokens"), "{warned}");
}

#[test]
fn a_restart_without_the_file_is_one_without_named_tokens() {
    let daemon = TestDaemon::start();
    let named = daemon.create_token("ci", &[]);
    fs::remove_file(daemon.state_dir().join("tokens.json")).unwrap();
    assert_eq!(status_with(&daemon, &named), 200);
    assert!(daemon.status()["warnings"].to_string().contains("tokens.json was deleted"));

    // Killed: its end would write down how tokens were used.
    let mut daemon = daemon;
    daemon.kill();
    let daemon = daemon.restart();

    assert_eq!(status_with(&daemon, &named), 401);
    assert_eq!(listed(&daemon).len(), 1);
    assert_eq!(status_with(&daemon, &daemon.token()), 200);
}

#[test]
fn an_overlap_of_the_primary_token_outlives_a_kill() {
    let mut daemon = TestDaemon::start();
    let old = daemon.token();
    let new = daemon.secret_of(&["rotate", "--grace", "1h"]);
    daemon.kill();

    let daemon = daemon.restart();

    assert_eq!([&old, &new].map(|token| status_with(&daemon, token)), [200, 200]);
    let newest = daemon.secret_of(&["rotate", "--now"]);
    let mut daemon = daemon;
    daemon.kill();
    let daemon = daemon.restart();
    assert_eq!([&old, &new, &newest].map(|token| status_with(&daemon, token)), [401, 401, 200]);
}
