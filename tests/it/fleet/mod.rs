//! The fleet of a real daemon: real agent programs in real workspaces, over the tools and `fleetctl`.

mod assigning;
mod commands;
mod crowd;
mod kills;
pub(crate) mod misbehaving;
mod publishing;
pub(crate) mod repositories;
mod revocation;
mod untrusted;

use std::{
    collections::BTreeSet,
    fs,
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
};

use fleet_mcp::agents::processes::{self, Process};
use serde_json::{Value, json};

use crate::support::{Builder, Response, TestDaemon, eventually, stderr};

/// Entries on a page of a log.
const PAGE: usize = 100;

/// A daemon with its fleet, and a client of it.
pub(crate) struct Fleet {
    pub(crate) daemon: TestDaemon,
    pub(crate) token: String,
}

/// An entry of a log, as a client sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    id: i64,
    kind: String,
    content: String,
}

/// How many: a few for everyday, or as many as the fleet promises, with the variable `ENDURANCE`.
pub(crate) fn enough<T>(everyday: T, promised: T) -> T {
    if std::env::var_os("ENDURANCE").is_some() { promised } else { everyday }
}

/// A daemon whose own log is short, and whose fleet is configured so.
pub(crate) fn builder(config: &str) -> Builder {
    TestDaemon::builder().env("FLEET_MCP_LOG", "info").config(config)
}

impl Fleet {
    pub(crate) fn start(builder: Builder) -> Self {
        let daemon = builder.start();
        let token = daemon.token();
        Self { daemon, token }
    }

    /// Stops the daemon, unless it has ended, and starts the next one.
    pub(crate) fn restart(self) -> Self {
        let daemon = self.daemon.restart();
        let token = daemon.token();
        Self { daemon, token }
    }

    pub(crate) fn call(&self, tool: &str, arguments: &Value) -> Response {
        let request = self.daemon.post(&format!("/mcp/{tool}"), arguments.to_string());
        request.bearer(&self.token).send()
    }

    /// A tool's result.
    pub(crate) fn tool(&self, tool: &str, arguments: &Value) -> Value {
        let response = self.call(tool, arguments);
        assert_eq!(response.status, 200, "{tool} {arguments}: {}", response.body);
        response.json()
    }

    pub(crate) fn fleetctl(&self, arguments: &[&str]) -> String {
        let output = self.daemon.fleetctl(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", stderr(&output));
        String::from_utf8(output.stdout).unwrap()
    }

    /// A new agent in an empty directory.
    pub(crate) fn create(&self, name: &str, role: &str, task: &str) {
        self.create_on("scratch", name, role, task);
    }

    pub(crate) fn create_on(&self, project: &str, name: &str, role: &str, task: &str) {
        let new = json!({"name": name, "project": project, "role": role, "task": task});
        self.tool("create_agent", &new);
    }

    pub(crate) fn assign(&self, name: &str, task: &str) {
        self.tool("start_agent_task", &json!({"agent_name": name, "task_description": task}));
    }

    pub(crate) fn cancel(&self, name: &str) {
        self.tool("cancel_agent_task", &json!({"agent_name": name}));
    }

    pub(crate) fn show(&self, name: &str) -> Value {
        self.tool("show_agent", &json!({"agent_name": name}))["agent"].take()
    }

    /// Waits as clients do, until the task is over or a person is needed.
    pub(crate) fn wait(&self, name: &str) -> Value {
        let wait = json!({"agent_name": name, "timeout_seconds": 50});
        let waited = self.tool("wait_for_agent", &wait);
        assert_ne!(waited["state"], "running", "{waited}");
        waited
    }

    /// Waits for the end of the task: the agent's status, the task's state, and its message.
    pub(crate) fn outcome(&self, name: &str) -> [String; 3] {
        self.wait(name);
        let agent = self.show(name);
        let task = &agent["task"];
        [&agent["status"], &task["state"], &task["message"]]
            .map(|value| value.as_str().unwrap_or_default().to_owned())
    }

    /// The whole log, oldest entry first.
    fn log(&self, name: &str) -> Vec<Entry> {
        let mut entries = Vec::new();
        for number in 1.. {
            let page = json!({"agent_name": name, "page": number, "page_size": PAGE});
            let page = self.tool("show_agent_log", &page);
            let logs = page["logs"].as_array().unwrap();
            let at = (number - 1) * PAGE;
            entries.extend(
                logs.iter().zip(at + 1..).map(|(log, at)| self.whole(name, entry(log), at)),
            );
            if page["has_next_page"] != true {
                break;
            }
        }
        entries.reverse();
        entries
    }

    /// The entry at this place of the log: read alone, if there was no room for all of it.
    fn whole(&self, name: &str, entry: Entry, place: usize) -> Entry {
        if !entry.content.contains(" more characters: ") {
            return entry;
        }
        let alone = json!({"agent_name": name, "page": place, "max_chars": 100_000});
        let alone = self.tool("show_agent_log", &alone);
        let same = alone["logs"].as_array().unwrap().iter().map(self::entry);
        same.into_iter().find(|found| found.id == entry.id).unwrap_or(entry)
    }

    /// Whether an entry of this kind holds this.
    fn has_said(&self, name: &str, kind: &str, text: &str) -> bool {
        self.log(name).iter().any(|entry| entry.kind == kind && entry.content.contains(text))
    }

    /// All that the agent said, one piece after the other.
    pub(crate) fn messages(&self, name: &str) -> String {
        let said = self.log(name).into_iter().filter(|entry| entry.kind == "message");
        said.map(|entry| entry.content).collect()
    }

    pub(crate) fn until_it_says(&self, name: &str, text: &str) {
        eventually(text, || self.messages(name).contains(text).then_some(()));
    }

    pub(crate) fn delete(&self, name: &str) {
        self.tool("delete_agent", &json!({"agent_name": name}));
    }

    pub(crate) fn until_deleted(&self, name: &str) {
        let gone = || self.call("show_agent", &json!({"agent_name": name})).status == 404;
        eventually("the agent is gone", || gone().then_some(()));
    }

    fn workspace(&self, name: &str) -> PathBuf {
        self.daemon.state_dir().join("agents").join(name)
    }

    /// All processes of the fleet but the daemon.
    pub(crate) fn processes(&self) -> Vec<Process> {
        processes_in(&self.daemon.home(), self.daemon.pid())
    }

    /// Deletes this agent: nothing of it is left, and the daemon ends in order.
    pub(crate) fn ends_clean(self, names: &[&str]) {
        names.iter().for_each(|name| self.delete(name));
        names.iter().for_each(|name| self.until_deleted(name));
        self.is_empty();
        self.stops_clean();
    }

    /// No process, no workspace and no record of a host.
    fn is_empty(&self) {
        assert_eq!(self.processes(), []);
        for directory in ["agents", "hosts"] {
            let left = fs::read_dir(self.daemon.state_dir().join(directory)).unwrap();
            let left: Vec<_> = left.map(|entry| entry.unwrap().path()).collect();
            assert!(left.is_empty(), "{left:?}");
        }
    }

    /// Stops the daemon: no process is left.
    pub(crate) fn stops_clean(self) -> Builder {
        let (builder, pid) = (self.daemon.how().clone(), self.daemon.pid());
        drop(self);
        assert_eq!(processes_in(&builder.home(), pid), []);
        builder
    }
}

fn entry(value: &Value) -> Entry {
    let text = |name: &str| value[name].as_str().unwrap().to_owned();
    Entry { id: value["id"].as_i64().unwrap(), kind: text("kind"), content: text("content") }
}

/// Whatever has to do with a home directory, by its environment, its working directory, the records
/// of hosts, or because it descends from one that has; without the daemon.
pub(crate) fn processes_in(home: &Path, daemon: u32) -> Vec<Process> {
    let daemon = daemon.cast_signed();
    let needle = home.as_os_str().as_bytes();
    let hosts = fs::read_dir(home.join(".fleet-mcp/hosts")).into_iter().flatten();
    let hosts: BTreeSet<String> = hosts
        .filter_map(|host| {
            Some(fs::read_to_string(host.ok()?.path()).ok()?.rsplit_once(' ')?.0.to_owned())
        })
        .collect();
    let ours = |process: &Process| {
        let at = |what: &str| PathBuf::from(format!("/proc/{}/{what}", process.pid));
        let environ = fs::read(at("environ")).unwrap_or_default();
        let cwd = fs::read_link(at("cwd"));
        environ.windows(needle.len()).any(|window| window == needle)
            || cwd.is_ok_and(|cwd| cwd.starts_with(home))
            || hosts.contains(&format!("{} {}", process.pid, process.started))
    };
    let all = processes::all().unwrap();
    let mut found = processes::descendants(&all, daemon, &[]);
    for process in all.iter().filter(|process| ours(process)) {
        found.push(*process);
        found.extend(processes::descendants(&all, process.pid, &[]));
    }
    found.retain(|process| !process.ended && process.pid != daemon);
    found.sort_by_key(|process| process.pid);
    found.dedup();
    found
}
