//! Token files, and directories around them, that stop the start.

use std::{fs, net::TcpListener, os::unix::fs::symlink};

use super::{SAMPLE, mode, put, sample, set_mode, status_of};
use crate::support::{Builder, TestDaemon, is_root, left_out_without_root, sh, unprivileged};

/// The daemon does not start, exits with 78, and says all of this. Shows no sample.
fn stops(builder: &Builder, words: &[&str]) {
    let failed = builder.fails();
    assert_eq!(failed.code, Some(78), "{}", failed.stderr);
    for word in words {
        assert!(failed.stderr.contains(word), "no `{word}` in: {}", failed.stderr);
    }
    assert!(failed.stderr.contains("help: "), "no help in: {}", failed.stderr);
    assert!(!failed.stderr.contains(SAMPLE) && !failed.stdout.contains(SAMPLE));
}

#[test]
fn foreign_file_stops_the_start_with_the_chown_to_run() {
    if left_out_without_root("a token file of another owner") {
        return;
    }
    let builder = unprivileged();
    put(&builder, sample());
    let file = builder.token_file();
    std::os::unix::fs::chown(&file, Some(0), Some(0)).unwrap();

    stops(&builder, &["belongs to `root`", "chown nobody ", &file.display().to_string()]);

    builder.give(&file);
    assert_eq!(status_of(&builder.start(), SAMPLE), 200);
}

#[test]
fn foreign_state_directory_stops_the_start() {
    if left_out_without_root("a state directory of another owner") {
        return;
    }
    let builder = unprivileged();
    fs::create_dir(builder.state_dir()).unwrap();

    stops(&builder, &["the directory `", "belongs to `root`", "chown nobody "]);

    assert_eq!(fs::read_dir(builder.state_dir()).unwrap().count(), 0);
}

#[test]
fn symbolic_link_in_place_of_the_file_stops_the_start() {
    for target in ["elsewhere", "nowhere"] {
        let builder = unprivileged();
        put(&builder, sample());
        let elsewhere = builder.state_dir().join("elsewhere");
        fs::rename(builder.token_file(), &elsewhere).unwrap();
        symlink(target, builder.token_file()).unwrap();

        stops(&builder, &["auth_token` is a symbolic link", "put the file itself there"]);

        assert!(!builder.state_dir().join("nowhere").exists());
        assert_eq!(fs::read_to_string(&elsewhere).unwrap(), sample());
    }
}

#[test]
fn what_is_no_regular_file_stops_the_start() {
    let directory = unprivileged();
    put(&directory, "");
    fs::remove_file(directory.token_file()).unwrap();
    fs::create_dir(directory.token_file()).unwrap();
    let pipe = unprivileged();
    put(&pipe, "");
    fs::remove_file(pipe.token_file()).unwrap();
    let mkfifo = format!("mkfifo {}", pipe.token_file().display());
    assert!(sh(&mkfifo).status.success());
    let linked = unprivileged();
    put(&linked, sample());
    fs::hard_link(linked.token_file(), linked.state_dir().join("second name")).unwrap();

    stops(&directory, &["is a directory, not a regular file", "mv "]);
    stops(&pipe, &["is a named pipe, not a regular file", "mv "]);
    stops(&linked, &["has 2 names (hard links)", "cp -p "]);
}

#[test]
fn directory_that_others_can_write_stops_the_start_with_the_chmod_to_run() {
    for dir_mode in [0o770, 0o757, 0o1777] {
        let builder = unprivileged();
        let dir = builder.home().join("shared");
        fs::create_dir(&dir).unwrap();
        builder.give(&dir);
        set_mode(&dir, dir_mode);
        let builder = builder.env("FLEET_MCP_AUTH_TOKEN_FILE", dir.join("token.json"));

        stops(
            &builder,
            &["others can write in the directory", &format!("chmod go-w {}", dir.display())],
        );

        assert_eq!(mode(&dir), dir_mode, "changed a directory that is not ours alone");
        assert_eq!(fs::read_dir(&dir).unwrap().count(), 0);
    }
}

#[test]
fn permission_denied_is_told_and_its_chmod_mends_it() {
    let builder = unprivileged();
    put(&builder, sample());
    set_mode(&builder.token_file(), 0o000);
    let chmod = format!("chmod 600 {}", builder.token_file().display());

    stops(&builder, &["could not read", "Permission denied", &chmod]);

    assert_eq!(mode(&builder.token_file()), 0o000);
    assert!(sh(&chmod).status.success());
    assert_eq!(status_of(&builder.start(), SAMPLE), 200);
}

#[test]
fn file_that_is_not_understood_stops_the_start_and_is_kept() {
    let half = &sample()[..70];
    let faulty = format!(r#"{{"value": "{SAMPLE}!", "created_at": "2025-11-11T10:30:00Z"}}"#);
    let no_time = format!(r#"{{"value": "{SAMPLE}"}}"#);
    let bad_time = format!(r#"{{"value": "{SAMPLE}", "created_at": "{SAMPLE}"}}"#);
    let marked = format!("\u{feff}{}", sample());
    let large = format!("{}{}", sample(), " ".repeat(70_000));
    let table: [(&[u8], &str); 16] = [
        (b"", "it is empty"),
        (b" \n", "it is empty"),
        (b"[]", "an array instead of an object"),
        (b"null", "null instead of an object"),
        (half.as_bytes(), "it ends too early"),
        (b"invalid json{{{", "it is not JSON"),
        (SAMPLE.as_bytes(), "it is not JSON"),
        (b"\xff\xfe{}", "it is not UTF-8"),
        (marked.as_bytes(), "byte order mark"),
        (b"{}", "the member `value` is missing"),
        (br#"{"value": 7, "created_at": ""}"#, "the member `value` is not a text"),
        (br#"{"value": "short", "created_at": ""}"#, "43 to 128 characters"),
        (faulty.as_bytes(), "only the characters A-Z"),
        (no_time.as_bytes(), "`created_at` is missing"),
        (bad_time.as_bytes(), "`created_at` is no time"),
        (large.as_bytes(), "is larger than"),
    ];
    for (content, words) in table {
        let builder = TestDaemon::builder();
        put(&builder, content);

        stops(&builder, &[words, &format!("mv {}", builder.token_file().display())]);

        assert_eq!(fs::read(builder.token_file()).unwrap(), content, "{words}");
    }
}

#[test]
fn the_move_that_the_help_names_leads_to_a_new_token() {
    let builder = TestDaemon::builder();
    put(&builder, "");
    let help = builder.fails().stderr;

    let command = help.split('`').find(|part| part.starts_with("mv ")).unwrap();
    assert!(sh(command).status.success(), "{command}");

    let daemon = builder.start();
    assert_eq!(status_of(&daemon, &daemon.token()), 200);
    assert!(daemon.state_dir().join("auth_token.bad").exists());
}

#[test]
fn no_fault_at_the_start_shows_the_token() {
    let with = |change: fn(Builder) -> Builder| {
        let builder = unprivileged();
        put(&builder, sample());
        change(builder)
    };
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port_taken = with(|b| b).env("FLEET_MCP_LISTEN", taken.local_addr().unwrap().to_string());
    let in_dotenv = with(|b| b);
    let dotenv = in_dotenv.home().join(".env");
    fs::write(&dotenv, format!("FLEET_MCP_AUTH_ENABLED=true\n'{SAMPLE} =\n")).unwrap();
    in_dotenv.give(&dotenv);
    let socket_taken = with(|b| {
        let path = b.home().join("control.sock");
        fs::write(&path, "no socket").unwrap();
        let dir = b.home();
        b.env("FLEET_MCP_CONTROL_SOCKET", dir.join("control.sock"))
    });
    let mut faults = vec![
        ("port taken", port_taken, 1),
        ("socket taken", socket_taken, 78),
        ("line of .env", in_dotenv, 78),
        ("unknown variable", with(|b| b.env("FLEET_MCP_AUTH_TOKN", SAMPLE)), 78),
        (
            "variable's value",
            with(|b| b.env("FLEET_MCP_AUTH_ENABLED", "x").env("FLEET_MCP_TOKENS", SAMPLE)),
            78,
        ),
        ("key in a file", with(|b| b.config(&format!("[auth]\ntoken = \"{SAMPLE}\"\n"))), 78),
        ("broken file", with(|b| b.config(&format!("[auth\ntoken = \"{SAMPLE}\"\n"))), 78),
        (
            "project's URL",
            with(|b| b.config(&format!("[http]\npublic_url = \"https://u:{SAMPLE}@h\"\n"))),
            78,
        ),
        (
            "TLS",
            with(|b| {
                b.env("FLEET_MCP_HTTP_TLS_CERTIFICATE", "/nowhere")
                    .env("FLEET_MCP_HTTP_TLS_KEY", "/nowhere")
            }),
            78,
        ),
        ("access log", with(|b| b.env("FLEET_MCP_LOG_ACCESS_FILE", "/nowhere/x")), 1),
    ];
    let unreadable = with(|b| b);
    set_mode(&unreadable.token_file(), 0o000);
    faults.push(("unreadable", unreadable, 78));
    if is_root() {
        let foreign = with(|b| b);
        std::os::unix::fs::chown(foreign.token_file(), Some(0), None).unwrap();
        faults.push(("foreign", foreign, 78));
    }
    for (fault, builder, code) in faults {
        let failed = builder.fails();

        assert_eq!(failed.code, Some(code), "{fault}: {}", failed.stderr);
        for output in [failed.stdout, failed.stderr] {
            assert!(!output.contains(SAMPLE), "{fault}: {output}");
        }
    }
}
