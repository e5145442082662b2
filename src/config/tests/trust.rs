//! Whose files are believed.

use super::*;

#[test]
fn files_that_somebody_else_could_have_written_are_refused() {
    let dir = "home/.config/fleet-mcp/conf.d";
    let file = "home/.config/fleet-mcp/config.toml";
    let machine = || Machine::new().config("auth.enabled = false").drop_in("a.toml", "");

    for (path, mode) in [(file, 0o666), (file, 0o620), (dir, 0o777), (dir, 0o1777)] {
        let machine = machine().mode(path, mode);
        let problems = machine.problems();
        let fix = format!("{path}: others can write it (mode {mode:04o}); run `chmod go-w {path}`");
        assert_eq!(problems.len(), 1, "{problems:?}");
        assert!(problems[0].starts_with(&fix), "{problems:?}");
    }
    let mut foreign = machine();
    if geteuid().is_root() {
        nix::unistd::chown(&foreign.path(file), Some(12345.into()), None).unwrap();
        assert!(foreign.problems()[0].contains("belongs to uid 12345"), "{:?}", foreign.problems());
        // Root may write anybody's configuration.
        nix::unistd::chown(&foreign.path(file), Some(0.into()), None).unwrap();
        foreign.euid = 12345;
        foreign.settings();
    } else {
        foreign.euid += 1;
        assert!(foreign.problems().iter().all(|problem| problem.contains("belongs to uid")));
    }
}

#[test]
fn dotenv_of_somebody_else_is_ignored_with_a_warning() {
    let warning = |machine: &Machine| {
        let loaded = machine.load().unwrap();
        assert!(!loaded.settings.auth.enabled);
        assert!(loaded.files.is_empty());
        loaded.warnings.join("\n")
    };
    for mode in [0o600, 0o666] {
        let mut foreign =
            Machine::new().dotenv("FLEET_MCP_AUTH_ENABLED=true").mode("work/.env", mode);
        foreign.euid += 1;
        fs::remove_dir(foreign.path("home/.config/fleet-mcp/conf.d")).unwrap();
        assert!(warning(&foreign).contains("it belongs to uid"));
    }
    let linked = Machine::new().file("elsewhere", "FLEET_MCP_AUTH_ENABLED=true");
    symlink(linked.path("elsewhere"), linked.path("work/.env")).unwrap();
    assert!(warning(&linked).contains("symbolic link"));
    let directory = Machine::new();
    fs::create_dir(directory.path("work/.env")).unwrap();
    assert!(warning(&directory).contains("not a regular file"));
}

#[test]
fn own_dotenv_that_others_could_have_written_is_refused_if_it_has_settings() {
    for mode in [0o620, 0o602, 0o666] {
        for text in [
            "FLEET_MCP_AUTH_ENABLED=true",
            "OTHER=1\n\texport FLEET_MCP_AUTH_ENABLED=true",
            "fleet_mcp_x=1",
        ] {
            let problems = Machine::new().dotenv(text).mode("work/.env", mode).problems();
            let expected = format!(
                "work/.env: has settings, but others can write it (mode {mode:04o}); run `chmod go-w` on it if you trust it"
            );
            assert_eq!(problems, [expected], "{text}");
        }
        let others = "OTHER=1\n # FLEET_MCP_AUTH_ENABLED=true";
        let loaded = Machine::new().dotenv(others).mode("work/.env", mode).load().unwrap();
        assert!(loaded.files.is_empty());
        assert!(loaded.warnings[0].contains("is ignored: others can write it"));
    }
}
