//! Agents on repositories: their clone, their branch, and what becomes of it.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::json;
use tempfile::TempDir;

use super::{Fleet, builder};
use crate::support::eventually;

/// Runs git for a test; answers what it wrote.
pub(crate) fn git(directory: &Path, arguments: &[&str]) -> String {
    let out = Command::new("git")
        .args(["-c", "user.name=t", "-c", "user.email=t@t", "-c", "init.defaultBranch=main"])
        // It would go on in the background, in the directory of a test that looks for what is left.
        .args(["-c", "maintenance.auto=false"])
        .args(arguments)
        .current_dir(directory)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .output()
        .unwrap();
    assert!(out.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8(out.stdout).unwrap().trim_end().to_owned()
}

/// A repository with one commit.
pub(crate) fn repository() -> TempDir {
    let source = tempfile::tempdir().unwrap();
    git(source.path(), &["init", "--quiet"]);
    fs::write(source.path().join("README"), "read me\n").unwrap();
    git(source.path(), &["add", "--all"]);
    git(source.path(), &["commit", "--quiet", "--message=first"]);
    source
}

pub(super) fn fleet_on(source: &Path) -> Fleet {
    let config = format!("[projects.site]\nrepository = \"{}\"\n", source.display());
    Fleet::start(builder(&config))
}

/// What the log says how to get the work.
fn published(fleet: &Fleet, name: &str) -> Option<String> {
    let notices = fleet.log(name).into_iter().filter(|entry| entry.kind == "notice");
    let told = |text: String| Some(text.split_once("the work is published: ")?.1.to_owned());
    notices.rev().find_map(|entry| told(entry.content))
}

#[test]
fn an_agents_work_can_be_fetched_from_where_the_notice_says() {
    let source = repository();
    let first = git(source.path(), &["rev-parse", "HEAD"]);
    let fleet = fleet_on(source.path());
    fleet.create_on("site", "sony", "demo", "the first version");
    assert_eq!(fleet.outcome("sony"), ["idle", "done", ""]);
    assert_eq!(fleet.show("sony")["metadata"]["data"]["branch"]["value"], "fleet/sony");
    let clone = fleet.workspace("sony").join("repo");
    assert_eq!(git(&clone, &["symbolic-ref", "--short", "HEAD"]), "fleet/sony");
    assert_eq!(git(&clone, &["rev-parse", "HEAD"]), first);
    assert_eq!(fs::read_to_string(clone.join("README")).unwrap(), "read me\n");

    fleet.tool("restart_agent", &json!({"agent_name": "sony"}));
    let fetch = eventually("the work is published", || published(&fleet, "sony"));

    let words: Vec<_> = fetch.split(' ').collect();
    let ["git", "fetch", bare, "fleet/sony"] = words[..] else { panic!("{fetch}") };
    let (bare, place) = (PathBuf::from(bare), fleet.daemon.state_dir().join("projects"));
    assert_eq!(bare.parent(), Some(&*place));
    git(source.path(), &words[1..]);
    assert_eq!(git(source.path(), &["show", "FETCH_HEAD:demo.txt"]), "the first version");
    assert_eq!(git(source.path(), &["rev-parse", "FETCH_HEAD~1"]), first);
    assert_eq!(git(source.path(), &["branch", "--list", "fleet/*"]), "");

    eventually("it is idle again", || (fleet.show("sony")["status"] == "idle").then_some(()));
    fleet.assign("sony", "the second version");
    assert_eq!(fleet.outcome("sony"), ["idle", "done", ""]);
    fleet.delete("sony");
    fleet.until_deleted("sony");
    git(source.path(), &words[1..]);
    assert_eq!(git(source.path(), &["show", "FETCH_HEAD:demo.txt"]), "the second version");
    assert_eq!(git(source.path(), &["rev-parse", "FETCH_HEAD~2"]), first);
    assert_eq!(git(source.path(), &["rev-parse", "HEAD"]), first);
    fleet.is_empty();
    fleet.stops_clean();
}

#[test]
fn a_repository_that_can_not_be_cloned_fails_the_task_with_the_reason() {
    let empty = tempfile::tempdir().unwrap();
    let fleet = fleet_on(&empty.path().join("gone"));
    fleet.create_on("site", "a", "demo", "work");

    let [status, state, message] = fleet.outcome("a");
    assert_eq!([&*status, &*state], ["failed", "failed"]);
    assert!(message.contains("can't read the repository"), "{message}");
    fleet.ends_clean(&["a"]);
}

#[test]
fn work_is_published_when_its_agent_is_deleted_without_a_program() {
    let source = repository();
    let fleet = fleet_on(source.path());
    for name in ["a", "b"] {
        fleet.create_on("site", name, "demo", &format!("the work of {name}"));
        assert_eq!(fleet.outcome(name), ["idle", "done", ""]);
    }
    let fleet = fleet.restart();
    assert_eq!(fleet.processes(), []);

    fleet.delete("a");
    fleet.until_deleted("a");
    // Deleted while its program ends for another reason.
    fleet.assign("b", "slow");
    fleet.until_it_says("b", "0… ");
    fleet.tool("restart_agent", &json!({"agent_name": "b"}));
    fleet.delete("b");
    fleet.until_deleted("b");

    let projects = fs::read_dir(fleet.daemon.state_dir().join("projects")).unwrap();
    let bare = projects.last().unwrap().unwrap().path();
    for name in ["a", "b"] {
        let file = git(&bare, &["show", &format!("fleet/{name}:demo.txt")]);
        assert_eq!(file, format!("the work of {name}"));
    }
    fleet.is_empty();
    fleet.stops_clean();
}

fn program(path: &Path, proof: &Path) {
    let script = format!("#!/bin/sh\ntouch {}\n", proof.display());
    fs::write(path, script).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn a_hostile_repository_runs_nothing() {
    let source = repository();
    let path = source.path();
    // Where everyone may write, were it run by the daemon, its host or the agent.
    let proofs = tempfile::tempdir().unwrap();
    fs::set_permissions(proofs.path(), fs::Permissions::from_mode(0o777)).unwrap();
    let proof = |name: &str| proofs.path().join(name);
    for hook in ["post-checkout", "pre-commit", "post-commit", "pre-push", "upload-pack"] {
        program(&path.join(".git/hooks").join(hook), &proof(hook));
    }
    let tool = path.join("tool");
    program(&tool, &proof("tool"));
    for key in ["core.fsmonitor", "uploadpack.packObjectsHook", "filter.evil.smudge"] {
        git(path, &["config", key, tool.to_str().unwrap()]);
    }
    let helper = format!("ext::sh -c touch% {}", proof("submodule").display());
    let modules = format!("[submodule \"sub\"]\n\tpath = sub\n\turl = {helper}\n");
    fs::write(path.join(".gitmodules"), modules).unwrap();
    fs::write(path.join(".gitattributes"), "* filter=evil\n").unwrap();
    let head = git(path, &["rev-parse", "HEAD"]);
    let link = format!("160000,{head},sub");
    let quiet = ["-c", "core.hooksPath=/dev/null", "-c", "core.fsmonitor=false"];
    let quietly = |rest: &[&str]| git(path, &[&quiet, rest].concat());
    quietly(&["update-index", "--add", "--cacheinfo", &link]);
    quietly(&["add", ".gitmodules", ".gitattributes", "tool"]);
    quietly(&["commit", "--quiet", "--message=hostile"]);
    assert_eq!(fs::read_dir(proofs.path()).unwrap().count(), 0, "the test ran it");

    let fleet = fleet_on(path);
    fleet.create_on("site", "a", "demo", "work");
    assert_eq!(fleet.outcome("a"), ["idle", "done", ""]);
    assert!(fleet.workspace("a").join("repo/tool").exists());
    fleet.tool("restart_agent", &json!({"agent_name": "a"}));
    eventually("the work is published", || published(&fleet, "a"));
    fleet.ends_clean(&["a"]);

    let run: Vec<_> = fs::read_dir(proofs.path()).unwrap().map(|it| it.unwrap().path()).collect();
    assert!(run.is_empty(), "{run:?}");
}
