//! Work that is published on request, and what becomes of it at the end.

use std::{fs, path::Path};

use serde_json::{Value, json};

use super::{
    Fleet, builder,
    repositories::{fleet_on, git, repository},
};
use crate::support::eventually;

/// Runs what an answer says is to be run, in a clone of the project; answers a file of the work.
fn fetched(clone: &Path, fetch: &Value, file: &str) -> String {
    let words: Vec<_> = fetch.as_str().unwrap().split(' ').collect();
    let ["git", "fetch", _, branch] = words[..] else { panic!("{fetch}") };
    assert!(branch.starts_with("fleet/"));
    git(clone, &words[1..]);
    git(clone, &["show", &format!("FETCH_HEAD:{file}")])
}

fn publish(fleet: &Fleet, name: &str) -> Value {
    let published = fleet.tool("publish_agent", &json!({"agent_name": name}));
    let text = |field: &str| published[field].as_str().unwrap();
    assert_eq!(text("branch"), format!("fleet/{name}"));
    assert_eq!(text("fetch"), format!("git fetch {} fleet/{name}", text("repository")));
    assert!(text("message").ends_with(text("fetch")), "{published}");
    let tip = git(Path::new(text("repository")), &["rev-parse", text("branch")]);
    assert_eq!(tip, text("commit"));
    published
}

#[test]
fn an_agents_work_is_published_on_request_and_the_agent_goes_on() {
    let source = repository();
    let fleet = fleet_on(source.path());
    fleet.create_on("site", "sony", "demo", "the first version");
    assert_eq!(fleet.outcome("sony"), ["idle", "done", ""]);
    let host = fleet.processes();

    let first = publish(&fleet, "sony");
    assert_eq!(fetched(source.path(), &first["fetch"], "demo.txt"), "the first version");
    assert_eq!(fleet.processes(), host);
    fleet.assign("sony", "the second version");
    assert_eq!(fleet.outcome("sony"), ["idle", "done", ""]);
    let said = fleet.fleetctl(&["agent", "publish", "sony"]);
    let fetch = json!(said.trim().split_once("get it with: ").unwrap().1);
    assert_eq!(fetched(source.path(), &fetch, "demo.txt"), "the second version");
    assert_eq!(git(source.path(), &["rev-parse", "FETCH_HEAD~1"]), first["commit"]);
    fleet.ends_clean(&["sony"]);
}

#[test]
fn what_a_running_task_has_committed_is_published_and_what_it_has_not_is_left_out() {
    let source = repository();
    let fleet = fleet_on(source.path());
    fleet.create_on("site", "sony", "demo", "the first version");
    assert_eq!(fleet.outcome("sony"), ["idle", "done", ""]);
    let first = publish(&fleet, "sony");
    fleet.assign("sony", "slow second version");
    fleet.until_it_says("sony", "0… ");
    let clone = fleet.workspace("sony").join("repo");
    fs::write(clone.join("half"), "half a thought").unwrap();

    let second = publish(&fleet, "sony");

    assert_eq!(second["commit"], first["commit"]);
    assert!(second["message"].as_str().unwrap().contains("left out"), "{second}");
    assert_eq!(fleet.show("sony")["status"], "busy");
    assert_eq!(git(&clone, &["status", "--porcelain"]), "?? half");
    fleet.cancel("sony");
    assert_eq!(fleet.outcome("sony")[1], "canceled");
    let third = publish(&fleet, "sony");
    assert_eq!(fetched(source.path(), &third["fetch"], "half"), "half a thought");
    fleet.ends_clean(&["sony"]);
}

#[test]
fn an_agent_without_a_program_is_published_and_leaves_no_process() {
    let source = repository();
    let fleet = fleet_on(source.path());
    fleet.create_on("site", "sony", "demo", "the first version");
    assert_eq!(fleet.outcome("sony"), ["idle", "done", ""]);
    let fleet = fleet.restart();
    assert_eq!(fleet.processes(), []);

    let published = publish(&fleet, "sony");

    assert_eq!(fetched(source.path(), &published["fetch"], "demo.txt"), "the first version");
    eventually("its host is gone", || fleet.processes().is_empty().then_some(()));
    assert_eq!(fleet.show("sony")["status"], "idle");
    fleet.assign("sony", "the second version");
    assert_eq!(fleet.outcome("sony"), ["idle", "done", ""]);
    fleet.ends_clean(&["sony"]);
}

#[test]
fn an_agent_that_has_no_branch_is_a_conflict_that_says_why() {
    let fleet = Fleet::start(builder(""));
    fleet.create("sony", "demo", "work");
    assert_eq!(fleet.outcome("sony"), ["idle", "done", ""]);
    let refusal = |fleet: &Fleet, name: &str| {
        let refused = fleet.call("publish_agent", &json!({"agent_name": name}));
        (refused.status, refused.json()["error"]["message"].as_str().unwrap().to_owned())
    };

    let (status, why) = refusal(&fleet, "sony");
    let fleet = fleet.restart();

    assert_eq!(status, 409);
    assert!(why.contains("nothing to publish: it works in an empty directory"), "{why}");
    assert_eq!(refusal(&fleet, "sony"), (409, why));
    assert_eq!(refusal(&fleet, "papi").0, 404);
    let deleted = fleet.tool("delete_agent", &json!({"agent_name": "sony"}));
    let plain = json!({
        "agent_name": "sony", "deleted": true, "message": "Agent 'sony' deleted successfully"
    });
    assert_eq!(deleted, plain);
    fleet.is_empty();
    fleet.stops_clean();
}

#[test]
fn whoever_deletes_an_agent_is_told_how_to_fetch_its_work() {
    let source = repository();
    let fleet = fleet_on(source.path());
    for name in ["sony", "papi"] {
        fleet.create_on("site", name, "demo", &format!("the work of {name}"));
        assert_eq!(fleet.outcome(name), ["idle", "done", ""]);
    }

    let deleted = fleet.tool("delete_agent", &json!({"agent_name": "sony"}));
    assert_eq!(deleted["deleted"], true);
    let fetch = &deleted["published"]["fetch"];
    assert_eq!(fetched(source.path(), fetch, "demo.txt"), "the work of sony");
    assert!(deleted["message"].as_str().unwrap().ends_with(fetch.as_str().unwrap()), "{deleted}");
    let said = fleet.fleetctl(&["agent", "delete", "papi"]);
    let fetch = json!(said.trim().split_once("published: ").unwrap().1);
    assert_eq!(fetched(source.path(), &fetch, "demo.txt"), "the work of papi");
    fleet.is_empty();
    fleet.stops_clean();
}

#[test]
fn work_that_can_not_be_published_is_kept_and_everyone_is_told() {
    let source = repository();
    let fleet = fleet_on(source.path());
    fleet.create_on("site", "sony", "demo", "the only copy");
    assert_eq!(fleet.outcome("sony"), ["idle", "done", ""]);
    let workspace = fleet.workspace("sony");
    // No directory can be made where a file is.
    fs::write(fleet.daemon.state_dir().join("projects"), "in the way").unwrap();

    let refused = fleet.call("publish_agent", &json!({"agent_name": "sony"}));
    assert_eq!(refused.status, 503, "{}", refused.body);
    assert!(refused.body.contains("can't make"), "{}", refused.body);
    let deleted = fleet.tool("delete_agent", &json!({"agent_name": "sony"}));

    assert_eq!(deleted["kept_workspace"], workspace.to_str().unwrap());
    assert!(deleted.get("published").is_none());
    let told = deleted["message"].as_str().unwrap();
    assert!(told.contains("not published: can't make"), "{told}");
    assert_eq!(
        fs::read_to_string(workspace.join("repo/demo.txt")).unwrap().trim_end(),
        "the only copy"
    );
    let gone = eventually("the last event", || {
        let events = fleet.fleetctl(&["events"]);
        events.lines().find(|line| line.contains("is gone")).map(str::to_owned)
    });
    assert!(gone.contains("not published: can't make") && gone.contains("is kept"), "{gone}");
    fleet.daemon.log_line("is kept: its branch could not be published");
    assert_eq!(fleet.processes(), []);

    // Another agent of the name does not lose it either.
    fs::remove_file(fleet.daemon.state_dir().join("projects")).unwrap();
    fleet.create_on("site", "sony", "demo", "something else");
    assert_eq!(fleet.outcome("sony"), ["idle", "done", ""]);
    let aside = fleet.daemon.state_dir().join("agents/sony~1/repo/demo.txt");
    assert_eq!(fs::read_to_string(aside).unwrap().trim_end(), "the only copy");
}

#[test]
fn an_agent_whose_project_is_gone_from_the_configuration_loses_nothing() {
    let source = repository();
    let fleet = fleet_on(source.path());
    for name in ["sony", "papi"] {
        fleet.create_on("site", name, "demo", &format!("the work of {name}"));
        assert_eq!(fleet.outcome(name), ["idle", "done", ""]);
    }
    let Fleet { daemon, .. } = fleet;
    let without = daemon.how().clone().config("[projects.other]\n");
    drop(daemon);
    let fleet = Fleet::start(without);
    assert_eq!(fleet.tool("list_agent_projects", &json!({}))["projects"][0]["name"], "other");

    let published = publish(&fleet, "papi");
    let deleted = fleet.tool("delete_agent", &json!({"agent_name": "sony"}));

    assert_eq!(fetched(source.path(), &published["fetch"], "demo.txt"), "the work of papi");
    let fetch = &deleted["published"]["fetch"];
    assert_eq!(fetched(source.path(), fetch, "demo.txt"), "the work of sony");
    fleet.ends_clean(&["papi"]);
}
