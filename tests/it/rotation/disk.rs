//! A disk that does not take the new token: nothing changes, and the operator is told.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path};

use crate::support::{
    SmallDisk, TestDaemon, left_out_without_root, mount, stderr, stdout, unmount, unprivileged,
};

/// The same directory once more on top of itself, read-only, while the value lives. The file system
/// itself can't be made so: the daemon has its lock's file open.
struct ReadOnly<'a>(&'a Path);

impl<'a> ReadOnly<'a> {
    fn make(path: &'a Path) -> Self {
        mount(&["--bind", path.to_str().unwrap()], path);
        let read_only = Self(path);
        mount(&["-o", "remount,bind,ro"], path);
        read_only
    }
}

impl Drop for ReadOnly<'_> {
    fn drop(&mut self) {
        unmount(self.0);
    }
}

fn names(dir: &Path) -> Vec<String> {
    let names = fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap());
    // The fleet has its own tests.
    let of_tokens = |name: &String| {
        let others = ["filler", "tokens.json"];
        !others.contains(&name.as_str())
            && !name.starts_with("fleet.db")
            && name != "agents"
            && name != "hosts"
    };
    let mut names: Vec<_> = names.filter(of_tokens).collect();
    names.sort();
    names
}

/// Rotation fails with these words and changes nothing.
fn rotation_fails(daemon: &TestDaemon, words: &[&str]) {
    let old = daemon.token();
    let content = fs::read(daemon.token_file()).unwrap();

    let output = daemon.fleetctl(&["rotate"]);

    assert_eq!((output.status.code(), stdout(&output)), (Some(1), ""));
    let said = stderr(&output);
    assert!(said.starts_with("error: the access token was not changed; the present one stays"));
    for word in words {
        assert!(said.contains(word), "no `{word}` in: {said}");
    }
    assert!(said.contains("\nhelp: "), "{said}");
    assert_eq!(fs::read(daemon.token_file()).unwrap(), content);
    assert_eq!(names(&daemon.state_dir()), ["auth_token", "lock", "run"]);
    assert_eq!(daemon.get("/mcp/list_agents").bearer(&old).send().status, 200);
    assert_eq!(daemon.status()["auth"]["token_file_state"], "current");
}

/// No named token can be made, rotated or revoked, and each answer says what holds.
fn named_tokens_stay(daemon: &TestDaemon, token: &str) {
    for (command, words) in [
        (&["token", "create", "new"][..], "error: the token was not made\n"),
        (&["token", "rotate", "ci"], "error: the token was not rotated; the present secret stays"),
        (&["token", "revoke", "ci"], "error: the token was not revoked; it stays valid\n"),
        (&["rotate", "--grace", "1m"], "error: the access token was not changed; the present one"),
    ] {
        let output = daemon.fleetctl(command);

        assert_eq!((output.status.code(), stdout(&output)), (Some(1), ""), "{command:?}");
        let said = stderr(&output);
        assert!(said.starts_with(words) && said.contains("make room (`df -h "), "{said}");
    }
    assert_eq!(daemon.get("/mcp/list_agents").bearer(token).send().status, 200);
}

fn rotation_works(daemon: &TestDaemon) {
    let new = daemon.rotate();
    assert_eq!(daemon.token(), new);
    assert_eq!(daemon.get("/mcp/list_agents").bearer(&new).send().status, 200);
    assert_eq!(names(&daemon.state_dir()), ["auth_token", "lock", "run"]);
}

#[test]
fn full_disk_leaves_the_old_token_in_force_until_there_is_room() {
    if left_out_without_root("a full disk (mounts a small tmpfs)") {
        return;
    }
    let disk = SmallDisk::mount();
    let daemon = TestDaemon::builder().env("FLEET_MCP_STATE_DIR", disk.path()).start();

    let named = daemon.create_token("ci", &[]);
    let kept = fs::read(disk.path().join("tokens.json")).unwrap();
    let filler = disk.fill();

    named_tokens_stay(&daemon, &named);
    assert_eq!(fs::read(disk.path().join("tokens.json")).unwrap(), kept);
    rotation_fails(&daemon, &["No space left on device", "the disk is full: make room (`df -h "]);
    fs::remove_file(filler).unwrap();
    rotation_works(&daemon);
}

#[test]
fn read_only_file_system_leaves_the_old_token_in_force() {
    if left_out_without_root("a read-only file system (mounts a small tmpfs)") {
        return;
    }
    let disk = SmallDisk::mount();
    let daemon = TestDaemon::builder().env("FLEET_MCP_STATE_DIR", disk.path()).start();

    let read_only = ReadOnly::make(disk.path());

    rotation_fails(&daemon, &["Read-only file system", "ReadWritePaths="]);
    drop(read_only);
    rotation_works(&daemon);
}

#[test]
fn full_disk_stops_a_first_start_and_leaves_nothing_behind() {
    if left_out_without_root("a full disk (mounts a small tmpfs)") {
        return;
    }
    let disk = SmallDisk::mount();
    let builder = TestDaemon::builder().env("FLEET_MCP_STATE_DIR", disk.path());
    let filler = disk.fill();

    let failed = builder.fails();

    assert_eq!(failed.code, Some(78), "{}", failed.stderr);
    assert!(failed.stderr.contains("the disk is full"), "{}", failed.stderr);
    assert_eq!(names(disk.path()), ["lock"]);
    fs::remove_file(filler).unwrap();
    let daemon = builder.start();
    rotation_works(&daemon);
}

#[test]
fn read_only_directory_leaves_the_old_token_in_force() {
    let daemon = unprivileged().start();
    let set_mode = |mode| {
        fs::set_permissions(daemon.state_dir(), fs::Permissions::from_mode(mode)).unwrap();
    };

    set_mode(0o500);

    rotation_fails(&daemon, &["could not create", "Permission denied", "namei -l "]);
    set_mode(0o700);
    rotation_works(&daemon);
}
