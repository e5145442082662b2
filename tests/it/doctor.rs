//! `fleetctl doctor` finds what is wrong, says why it matters and what mends it, with and without a
//! daemon, and finds nothing where nothing is wrong.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::{Command, Output},
};

use serde_json::Value;

use crate::{
    support::{
        Builder, Certificate, NOBODY, SmallDisk, TestDaemon, eventually, left_out_without_root,
        stderr, stdout, unprivileged,
    },
    tls,
};

fn findings(output: &Output) -> Vec<Value> {
    let report: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {} {}", stdout(output), stderr(output)));
    report["findings"].as_array().unwrap().clone()
}

/// `fleetctl doctor --json` without a daemon.
fn alone(builder: &Builder) -> Output {
    let mut command = builder.command(env!("CARGO_BIN_EXE_fleetctl"));
    let socket = builder.control_socket();
    command.args(["doctor", "--json", "--socket"]).arg(socket).output().unwrap()
}

/// The finding of this check that says this; it has a reason and, unless it was skipped, a fix.
fn finding<'a>(all: &'a [Value], check: &str, severity: &str, says: &str) -> &'a Value {
    let fits = |finding: &&Value| {
        finding["check"] == check
            && finding["severity"] == severity
            && finding["what"].as_str().unwrap().contains(says)
    };
    let found = all.iter().find(fits);
    let found = found.unwrap_or_else(|| panic!("no {severity} `{says}` of {check} in {all:#?}"));
    assert!(!found["why"].as_str().unwrap().is_empty(), "{found}");
    let has_fix = found["fix"].as_str().is_some_and(|fix| !fix.is_empty());
    assert!(has_fix || severity == "skipped", "{found}");
    found
}

fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn a_good_daemon_has_no_errors_and_its_token_works() {
    let daemon = TestDaemon::start();

    let output = daemon.fleetctl(&["doctor", "--json"]);

    let all = findings(&output);
    let bad = |finding: &&Value| finding["severity"] == "error";
    assert_eq!(all.iter().find(bad), None);
    assert_eq!(output.status.code(), Some(0));
    for check in ["token", "health", "token_file", "settings", "database", "control_socket"] {
        assert!(all.iter().all(|finding| finding["check"] != check), "{check}: {all:#?}");
    }
    daemon.watch_for(&daemon.token());
    let words = daemon.fleetctl(&["doctor"]);
    assert!(stdout(&words).contains("checks were good"), "{}", stdout(&words));
    assert!(!stdout(&words).contains(&daemon.token()));
}

#[test]
fn health_is_asked_for_behind_tls_and_by_the_public_url_with_its_certificate() {
    let certificate = Certificate::new();
    let builder = tls::builder(&certificate).config("");
    let trusting = builder.home().join("trusted.crt");
    let other = Certificate::new();
    fs::write(&trusting, other.pem()).unwrap();
    let daemon = builder.env("SSL_CERT_FILE", &trusting).start();
    let config = daemon.home().join(".config/fleet-mcp/config.toml");
    let url = format!("https://localhost:{}/mcp", daemon.address().port());
    fs::write(config, format!("http.public_url = \"{url}\"\n")).unwrap();
    assert!(daemon.fleetctl(&["reload"]).status.success());
    let found = || findings(&daemon.fleetctl(&["doctor", "--json"]));

    let all = found();
    finding(&all, "public_url", "warning", "is not trusted here");
    assert!(all.iter().all(|finding| finding["check"] != "health"), "{all:#?}");

    fs::write(&trusting, certificate.pem()).unwrap();
    let all = found();
    assert!(all.iter().all(|finding| finding["check"] != "public_url"), "{all:#?}");
}

#[test]
fn loose_modes_and_a_missing_token_file_are_found_while_it_runs() {
    let daemon = TestDaemon::start();
    chmod(&daemon.token_file(), 0o644);
    chmod(&daemon.state_dir(), 0o755);
    chmod(&daemon.control_socket(), 0o666);

    let output = daemon.fleetctl(&["doctor", "--json"]);

    let all = findings(&output);
    assert_eq!(output.status.code(), Some(1));
    let loose = finding(&all, "token_file", "error", "mode 0644");
    assert!(loose["fix"].as_str().unwrap().starts_with("chmod 600 "), "{loose}");
    finding(&all, "state_dir", "warning", "mode 0755");
    finding(&all, "control_socket", "error", "mode 0666");
    fs::remove_file(daemon.token_file()).unwrap();
    let all = findings(&daemon.fleetctl(&["doctor", "--json"]));
    finding(&all, "token_file", "warning", "there is no token file");
}

#[test]
fn a_directory_or_token_file_that_the_daemon_may_not_use_is_found() {
    let daemon = unprivileged().start();
    chmod(&daemon.token_file(), 0o000);
    chmod(&daemon.state_dir(), 0o500);

    let all = findings(&daemon.fleetctl(&["doctor", "--json"]));

    chmod(&daemon.state_dir(), 0o700);
    finding(&all, "state_dir", "error", "can't write");
    let denied = finding(&all, "token_file", "error", "Permission denied");
    assert!(denied["fix"].as_str().unwrap().contains("chmod"), "{denied}");
}

#[test]
fn each_reason_for_a_401_is_found_with_what_mends_it() {
    let daemon = TestDaemon::start();
    let old = daemon.token();
    daemon.rotate();
    daemon.get("/mcp/list_agents").send();
    daemon.get("/mcp/list_agents").bearer(&"w".repeat(43)).send();
    daemon.get("/mcp/list_agents").header("Authorization", "bearer x").send();
    daemon.get("/mcp/list_agents").bearer(&old).send();

    let all = eventually("all four are recorded", || {
        let all = findings(&daemon.fleetctl(&["doctor", "--json"]));
        let refusals = all.iter().filter(|finding| finding["check"] == "refusals");
        (refusals.count() == 4).then_some(all)
    });

    for (reason, fix) in [
        ("missing_token", "client-config"),
        ("invalid_token", "fleetctl token show"),
        ("malformed_header", "capital B"),
        ("revoked", "fleetctl token show"),
    ] {
        let found =
            finding(&all, "refusals", "warning", &format!("1 request was refused as {reason}"));
        assert!(found["fix"].as_str().unwrap().contains(fix), "{found}");
        assert!(found["what"].as_str().unwrap().contains("127.0.0.1"), "{found}");
    }
}

#[test]
fn what_agents_lack_is_found_by_role_and_project() {
    let config = r#"
[projects.gone]
repository = "/nonexistent/repository"
[agents.gone]
command = "/nonexistent/program"
[agents.unknown]
command = "no-such-program"
[roles.a]
agent = "gone"
environment_file = "/nonexistent/variables"
[roles.a.credentials]
"x" = "/nonexistent/credentials"
[roles.b]
agent = "unknown"
"#;
    let daemon = TestDaemon::builder().config(config).start();

    let all = findings(&daemon.fleetctl(&["doctor", "--json"]));

    finding(&all, "projects", "error", "/nonexistent/repository");
    finding(&all, "agent_programs", "error", "/nonexistent/program");
    finding(&all, "settings", "warning", "no-such-program");
    finding(&all, "environment_files", "error", "/nonexistent/variables");
    finding(&all, "credentials", "error", "/nonexistent/credentials");
}

#[test]
fn a_token_file_that_does_not_last_is_found() {
    let daemon = TestDaemon::start();
    fs::remove_file(daemon.token_file()).unwrap();
    let daemon = daemon.restart();

    let all = eventually("it is recorded", || {
        let all = findings(&daemon.fleetctl(&["doctor", "--json"]));
        all.iter().any(|finding| finding["check"] == "token_lasts").then_some(all)
    });

    finding(&all, "token_lasts", "warning", "made anew 1 times");
}

#[test]
fn a_daemon_that_does_not_run_is_found_and_its_files_are_checked() {
    let builder = TestDaemon::builder();
    let never = alone(&builder);
    assert_eq!(never.status.code(), Some(1));
    finding(&findings(&never), "state_dir", "note", "no state directory");
    let mut daemon = builder.start();
    daemon.kill();
    let builder = daemon.how().clone();
    chmod(&daemon.token_file(), 0o640);

    let all = findings(&alone(&builder));

    finding(&all, "daemon", "error", "nobody listens");
    finding(&all, "daemon", "skipped", "listeners, tokens");
    finding(&all, "token_file", "error", "mode 0640");
    fs::write(daemon.token_file(), "{").unwrap();
    chmod(&daemon.token_file(), 0o600);
    finding(&findings(&alone(&builder)), "token_file", "error", "can't understand the token file");
    let builder = builder.env("FLEET_MCP_HTTP_MAX_REQUESTS", "0");
    finding(&findings(&alone(&builder)), "settings", "error", "FLEET_MCP_HTTP_MAX_REQUESTS");
}

#[test]
fn a_damaged_database_is_found_with_and_without_a_daemon() {
    let daemon = TestDaemon::start();
    let database = daemon.state_dir().join("fleet.db");
    let builder = daemon.how().clone();
    drop(daemon);
    assert!(findings(&alone(&builder)).iter().all(|finding| finding["check"] != "database"));
    let mut bytes = fs::read(&database).unwrap();
    let page = 4096;
    bytes[2 * page..3 * page].fill(0x5a);
    fs::write(&database, bytes).unwrap();

    let all = findings(&alone(&builder));

    finding(&all, "database", "error", "fleet.db");
    let left: Vec<_> = fs::read_dir(builder.state_dir()).unwrap().collect();
    assert!(left.iter().all(|e| !e.as_ref().unwrap().path().ends_with("fleet.db-shm")), "{left:?}");
}

#[test]
fn a_daemon_with_another_socket_is_pointed_to() {
    let daemon = TestDaemon::start();
    let elsewhere = daemon.home().join("elsewhere.sock");

    let mut command = daemon.how().command(env!("CARGO_BIN_EXE_fleetctl"));
    let output = command.args(["doctor", "--json", "--socket"]).arg(&elsewhere).output().unwrap();

    let all = findings(&output);
    let found = finding(&all, "daemon", "error", "elsewhere.sock");
    // Other tests have daemons too: one of them is named.
    assert!(found["fix"].as_str().unwrap().starts_with("fleetctl --socket /"), "{found}");
}

#[test]
fn who_may_not_look_is_told_what_was_not_checked() {
    if left_out_without_root("what another user is told by fleetctl doctor") {
        return;
    }
    let daemon = TestDaemon::start();
    let copy = daemon.home().join("fleetctl");
    fs::copy(env!("CARGO_BIN_EXE_fleetctl"), &copy).unwrap();
    chmod(&copy, 0o755);

    let mut command = Command::new(copy);
    std::os::unix::process::CommandExt::uid(&mut command, NOBODY);
    command.env_clear().env("HOME", daemon.home()).args(["doctor", "--json", "--socket"]);
    let output = command.arg(daemon.control_socket()).output().unwrap();

    let all = findings(&output);
    finding(&all, "daemon", "skipped", "was not asked");
    finding(&all, "token_file", "skipped", "was not checked");
    finding(&all, "database", "skipped", "was not checked");
    assert!(all.iter().all(|finding| finding["check"] != "state_dir"), "{all:#?}");
}

#[test]
fn the_status_points_to_it_when_there_is_something_to_look_at() {
    let daemon = TestDaemon::start();
    assert!(!stdout(&daemon.fleetctl(&["status"])).contains("fleetctl doctor"));
    fs::remove_file(daemon.token_file()).unwrap();

    assert!(stdout(&daemon.fleetctl(&["status"])).contains("`fleetctl doctor` says what mends"));
}

#[test]
fn a_disk_that_is_nearly_full_or_does_not_outlive_a_restart_is_found() {
    if left_out_without_root("a small disk (mounts a tmpfs)") {
        return;
    }
    let disk = SmallDisk::mount();
    let daemon = TestDaemon::builder().env("FLEET_MCP_STATE_DIR", disk.path()).start();

    let all = findings(&daemon.fleetctl(&["doctor", "--json"]));

    finding(&all, "disk_space", "error", "MiB are free");
    finding(&all, "persistence", "warning", "in memory (tmpfs)");
}
