//! Settings end to end: where they come from, which wins, and what is said about wrong ones.

mod reload;

use std::{fs, os::unix::fs::PermissionsExt as _, process::Output};

use crate::support::{
    Builder, NOBODY, TestDaemon, left_out_without_root, stderr, stdout, unprivileged,
};

const FLEET_MCP: &str = env!("CARGO_BIN_EXE_fleet-mcp");

/// A daemon that nobody tells anything by the environment.
fn bare() -> Builder {
    let names = ["FLEET_MCP_LISTEN", "FLEET_MCP_AUTH_ENABLED", "FLEET_MCP_LOG"];
    names.into_iter().fold(TestDaemon::builder(), Builder::without_env)
}

fn check(builder: &Builder, arguments: &[&str]) -> Output {
    builder.command(FLEET_MCP).arg("check-config").args(arguments).output().unwrap()
}

fn drop_in(builder: &Builder, name: &str, toml: &str) {
    let dir = builder.home().join(".config/fleet-mcp/conf.d");
    fs::create_dir_all(&dir).unwrap();
    fs::write(dir.join(name), toml).unwrap();
}

#[test]
fn good_configuration_is_summed_up_and_nothing_is_made() {
    let builder = bare().config("listen = [\"127.0.0.1:8123\"]\n[projects.web]\n[roles.coder]\n");
    drop_in(&builder, "10-auth.toml", "auth.enabled = true\n");

    let checked = check(&builder, &[]);

    assert_eq!((checked.status.code(), stderr(&checked)), (Some(0), ""));
    let home = builder.home();
    let (home, state) = (home.display(), builder.state_dir());
    let state_shown = state.display();
    let expected = format!(
        "The configuration is good.\n\
         Files read:      {home}/.config/fleet-mcp/config.toml, {home}/.config/fleet-mcp/conf.d/10-auth.toml\n\
         Listening:       127.0.0.1:8123\n\
         Authentication:  on, token file {state_shown}/auth_token\n\
         State directory: {state_shown}\n\
         Control socket:  {state_shown}/run/control.sock\n\
         Agent programs:  demo\n\
         Agents run:      as child processes of the daemon\n\
         Projects: 1, roles: 1\n\
         auth.enabled is set by {home}/.config/fleet-mcp/conf.d/10-auth.toml:1\n\
         listen is set by {home}/.config/fleet-mcp/config.toml:1\n"
    );
    assert_eq!(stdout(&checked), expected);
    assert!(!state.exists(), "check-config made something");
}

#[test]
fn all_problems_are_told_at_once_with_file_line_and_key() {
    let builder = bare()
        .config("listn = []\n[http]\nmax_connections = 0\nheader_timeout = \"soon\"\n")
        .env("FLEET_MCP_AUTH_ENABLED", "yess")
        .env("FLEET_MCP_LOGG", "info");
    drop_in(&builder, "20.toml", "[auth]\ntoken_file = 7\n");

    let checked = check(&builder, &["--http-max-requests", "many"]);
    let started = builder.fails();

    assert_eq!((checked.status.code(), stdout(&checked)), (Some(78), ""));
    let dir = builder.home().join(".config/fleet-mcp");
    let file = |rest: &str| format!("error: {}/{rest}", dir.display());
    for line in [
        file("config.toml:1: listn: unknown key; did you mean `listen`?\n"),
        file("config.toml:3: http.max_connections: `0` is not a whole number from 1 to 1000000\n"),
        file("config.toml:4: http.header_timeout: `soon` is not a duration from 100ms to 10m"),
        file("conf.d/20.toml:2: auth.token_file: `7` is not a path\n"),
        "error: FLEET_MCP_AUTH_ENABLED: `yess` is not a boolean; use `true` or `false`\n".into(),
        "error: FLEET_MCP_LOGG: unknown variable; did you mean `FLEET_MCP_LOG`?\n".into(),
    ] {
        assert!(stderr(&checked).contains(&line), "no {line} in:\n{}", stderr(&checked));
        assert!(started.stderr.contains(&line), "no {line} in:\n{}", started.stderr);
    }
    assert!(stderr(&checked).contains("error: --http-max-requests: `many` is not a whole number"));
    assert_eq!((stderr(&checked).lines().count(), started.stderr.lines().count()), (7, 6));
    assert_eq!(started.code, Some(78));
    assert!(!builder.state_dir().exists());
}

#[test]
fn odd_value_for_authentication_never_means_off() {
    for odd in
        ["yess", "", " true", "tru", "2", "enabled", "ture", "null", "\"true\"", "true false"]
    {
        let failed = TestDaemon::builder().env("FLEET_MCP_AUTH_ENABLED", odd).fails();

        assert_eq!(failed.code, Some(78), "{odd:?}: {}", failed.stderr);
        let words = "error: FLEET_MCP_AUTH_ENABLED: ";
        assert!(failed.stderr.starts_with(words), "{odd:?}: {}", failed.stderr);
        assert!(failed.stderr.contains("use `true` or `false`"), "{odd:?}: {}", failed.stderr);
    }
    for on in ["true", "TRUE", "1", "yes", "on", "True"] {
        let daemon = TestDaemon::builder().env("FLEET_MCP_AUTH_ENABLED", on).start();

        assert_eq!(daemon.get("/mcp/list_agents").send().status, 401, "{on:?}");
    }
}

#[test]
fn flags_outweigh_the_environment_then_dotenv_then_drop_ins_then_the_file() {
    // Each source says it, and each loses the one setting fewer than the source below it.
    let file = "http.max_requests = 1\nhttp.max_connections = 1\nhttp.idle_timeout = \"1s\"\n\
                http.body_timeout = \"1s\"\nhttp.header_timeout = \"1s\"\n";
    let builder = bare()
        .config(file)
        .env("FLEET_MCP_HTTP_MAX_REQUESTS", "4")
        .env("FLEET_MCP_HTTP_MAX_CONNECTIONS", "4");
    let later = "http.max_requests = 2\nhttp.max_connections = 2\nhttp.idle_timeout = \"2s\"\n";
    drop_in(&builder, "10.toml", &format!("{later}http.body_timeout = \"2s\"\n"));
    drop_in(&builder, "20.toml", "http.body_timeout = \"3s\"\n");
    let dotenv = "FLEET_MCP_HTTP_MAX_REQUESTS=3\nFLEET_MCP_HTTP_MAX_CONNECTIONS=3\n\
                  FLEET_MCP_HTTP_IDLE_TIMEOUT=3s\n";
    fs::write(builder.home().join(".env"), dotenv).unwrap();

    let checked = check(&builder, &["--http-max-requests", "5"]);

    let dir = builder.home();
    let at = |file: &str| format!("{}/.config/fleet-mcp/{file}", dir.display());
    for (key, origin) in [
        ("http.max_requests", "command line".to_owned()),
        ("http.max_connections", "environment".to_owned()),
        ("http.idle_timeout", format!("{}/.env:3", dir.display())),
        ("http.body_timeout", at("conf.d/20.toml:1")),
        ("http.header_timeout", at("config.toml:5")),
    ] {
        let line = format!("{key} is set by {origin}\n");
        assert!(stdout(&checked).contains(&line), "no {line} in:\n{checked:?}");
    }
}

#[test]
fn what_wins_is_what_is_in_force() {
    let builder = TestDaemon::builder()
        .config("http.public_url = \"https://file\"\nlisten = \"127.0.0.1:1\"\n")
        .env("FLEET_MCP_HTTP_PUBLIC_URL", "https://environment");

    let environment = builder.clone().start();
    let flag = builder.clone().arg("--http-public-url=https://flag");
    let flag = flag.env("FLEET_MCP_STATE_DIR", builder.home().join("second")).start();

    assert_eq!(environment.status()["public_url"], "https://environment");
    assert_eq!(flag.status()["public_url"], "https://flag");
    assert_ne!(environment.address().port(), 1);
}

#[test]
fn named_file_is_read_instead_of_the_usual_one_and_must_exist() {
    let builder = bare().config("nonsense");
    let named = builder.home().join("other.toml");
    fs::write(&named, "http.public_url = \"https://other\"\n").unwrap();
    let argument = format!("--config={}", named.display());

    let good = check(&builder, &[&argument]);
    let missing = check(&builder, &["--config=/nowhere/x.toml"]);

    assert_eq!(good.status.code(), Some(0), "{}", stderr(&good));
    let line = format!("http.public_url is set by {}:1\n", named.display());
    assert!(stdout(&good).contains(&line), "{}", stdout(&good));
    assert_eq!(missing.status.code(), Some(78));
    let words = "error: /nowhere/x.toml: can't be read";
    assert!(stderr(&missing).starts_with(words), "{}", stderr(&missing));
}

#[test]
fn dotenv_of_the_working_directory_turns_authentication_on() {
    let builder = TestDaemon::builder().without_env("FLEET_MCP_AUTH_ENABLED");
    fs::write(builder.home().join(".env"), "# as specified\nFLEET_MCP_AUTH_ENABLED=true\n")
        .unwrap();

    let daemon = builder.start();

    assert_eq!(daemon.get("/mcp/list_agents").send().status, 401);
    assert_eq!(daemon.get("/mcp/list_agents").bearer(&daemon.token()).send().status, 200);
}

#[test]
fn dotenv_of_ours_that_others_can_write_stops_the_start() {
    for mode in [0o666, 0o620, 0o602] {
        let builder = TestDaemon::builder();
        let dotenv = builder.home().join(".env");
        fs::write(&dotenv, "FLEET_MCP_AUTH_ENABLED=false\n").unwrap();
        fs::set_permissions(&dotenv, fs::Permissions::from_mode(mode)).unwrap();

        let failed = builder.fails();

        assert_eq!(failed.code, Some(78), "{}", failed.stderr);
        assert!(failed.stderr.contains("others can write it"), "{}", failed.stderr);
        assert!(failed.stderr.contains("chmod go-w"), "{}", failed.stderr);
    }
}

#[test]
fn dotenv_of_another_user_is_ignored_with_a_warning() {
    if left_out_without_root("a .env of another owner") {
        return;
    }
    let builder = unprivileged();
    let dotenv = builder.home().join(".env");
    fs::write(&dotenv, "FLEET_MCP_HTTP_PUBLIC_URL=http://evil\n").unwrap();

    let checked = check(&builder, &[]);

    assert_eq!(checked.status.code(), Some(0));
    let words = format!(".env is ignored: it belongs to uid 0, but this is uid {NOBODY}");
    assert!(stderr(&checked).contains(&words), "{}", stderr(&checked));
    assert!(!stdout(&checked).contains("public_url"));
}

#[test]
fn dotenv_is_not_read_by_the_system_service() {
    let builder = TestDaemon::builder();
    fs::write(builder.home().join(".env"), "FLEET_MCP_HTTP_PUBLIC_URL=http://evil\n").unwrap();
    let state = builder.home().join("state");
    let configuration = builder.home().join("etc");

    let checked = check(
        &builder
            .env("STATE_DIRECTORY", state.as_os_str())
            .env("CONFIGURATION_DIRECTORY", configuration.as_os_str()),
        &[],
    );

    assert!(!stdout(&checked).contains("public_url"), "{}", stdout(&checked));
    assert!(stdout(&checked).contains(&format!("State directory: {}\n", state.display())));
}

#[test]
fn help_names_every_setting_with_its_variable_and_default() {
    let help = TestDaemon::builder().command(FLEET_MCP).arg("--help").output().unwrap();

    assert_eq!(help.status.code(), Some(0));
    let flat = stdout(&help).split_whitespace().collect::<Vec<_>>().join(" ");
    for key in fleet_mcp::config::KEYS {
        for part in [key.flag(), key.variable.to_owned(), format!("[default: {}]", key.default)] {
            assert!(flat.contains(&part), "{}: no `{part}` in:\n{}", key.path, stdout(&help));
        }
    }
    for words in ["check-config", "--print-token", "FLEET_MCP_AUTH_ENABLED=true fleet-mcp"] {
        assert!(flat.contains(words), "no `{words}` in:\n{}", stdout(&help));
    }
    let wrong = TestDaemon::builder().command(FLEET_MCP).arg("--prot=1").output().unwrap();
    assert_eq!((wrong.status.code(), stdout(&wrong)), (Some(2), ""));
    let version = TestDaemon::builder().command(FLEET_MCP).arg("--version").output().unwrap();
    assert_eq!(stdout(&version), format!("fleet-mcp {}\n", env!("CARGO_PKG_VERSION")));
}
