//! What is installed beside the programs agrees with them. Whether it works on a real systemd is
//! what `tests/systemd/run` shows.

use std::{fs, path::Path, process::Command};

use fleet_mcp::exit::Exit;

fn read(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

/// The values of a directive in a unit.
fn values<'a>(unit: &'a str, directive: &str) -> Vec<&'a str> {
    let of = |line: &'a str| line.strip_prefix(directive)?.strip_prefix('=');
    unit.lines().filter_map(of).collect()
}

#[test]
fn packaged_configuration_is_good_with_authentication_on_and_loopback_only() {
    let home = tempfile::tempdir().unwrap();
    let config = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/config.toml");
    let checked = |config: &Path| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_fleet-mcp"));
        command.env_clear().env("HOME", home.path()).current_dir(&home);
        let output = command.args(["check-config", "--config"]).arg(config).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };

    let said = checked(&config);
    // Lines that an operator takes the # from.
    let opened = home.path().join("opened.toml");
    fs::write(
        &opened,
        read("packaging/config.toml").replace("\nlisten", "\n#").replace("\n#listen", "\nlisten"),
    )
    .unwrap();
    let said_opened = checked(&opened);

    assert!(said.contains("Listening:       127.0.0.1:8000, [::1]:8000"), "{said}");
    assert!(said.contains("Authentication:  on"), "{said}");
    assert!(said_opened.contains("Listening:       0.0.0.0:8000, [::]:8000"), "{said_opened}");
    assert!(said_opened.contains("Authentication:  on"), "{said_opened}");
}

#[test]
fn wrong_settings_are_not_tried_again() {
    let unit = read("systemd/fleet-mcp.service");

    let expected = (Exit::Config as u8).to_string();
    assert_eq!(values(&unit, "RestartPreventExitStatus"), [expected]);
}

#[test]
fn sixteen_places_wait_for_agents() {
    let target = read("systemd/fleet-agents.target");

    let places: Vec<_> = (1..=16).map(|n| format!("fleet-agent@{n:02}.socket")).collect();
    assert_eq!(values(&target, "Wants"), places);
}
