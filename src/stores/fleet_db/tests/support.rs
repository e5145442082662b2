//! What the tests of the database share.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path};

use jiff::Timestamp;
use tempfile::TempDir;

use super::super::FleetDb;
use crate::{
    app::ports::{
        StoreError,
        fleet_store::{Change, FleetStore as _, Page, Stored, StoredFleet},
    },
    fleet::{
        Agent, AgentId, Entry, EntryKind, Life, LogEntry, Status, Task, TaskId, TaskStatus, Usage,
    },
};

/// Its mode depends on no umask.
pub(super) fn home() -> TempDir {
    let home = tempfile::tempdir().unwrap();
    fs::set_permissions(home.path(), fs::Permissions::from_mode(0o700)).unwrap();
    home
}

pub(super) fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

/// Waits for an answer, with a runtime of its own.
pub(super) fn wait<T>(stored: Stored<T>) -> Result<T, StoreError> {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(stored)
}

pub(super) fn commit(db: &FleetDb, changes: Vec<Change>) -> Result<(), StoreError> {
    wait(db.commit(changes))
}

pub(super) fn create(db: &FleetDb, id: i64) {
    commit(db, vec![put(agent(id))]).unwrap();
}

pub(super) fn page(number: u32, size: u32) -> Page {
    Page { number, size }
}

pub(super) fn at(micros: i64) -> Timestamp {
    Timestamp::from_microsecond(micros).unwrap()
}

pub(super) fn agent(id: i64) -> Agent {
    Agent {
        slot: None,
        name: format!("a{id}").parse().unwrap(),
        id: AgentId(id),
        status: Status::Idle,
        role: "coder".into(),
        project: "scratch".into(),
        last_task: None,
        created_at: at(1),
        updated_at: at(2),
    }
}

pub(super) fn named(id: i64, name: &str) -> Agent {
    Agent { name: name.parse().unwrap(), ..agent(id) }
}

pub(super) fn put(agent: Agent) -> Change {
    let standing = Life::new(agent.clone()).standing();
    Change::PutAgent { agent, session: Some("session".into()), standing }
}

pub(super) fn task(id: i64, agent: i64) -> Task {
    Task {
        id: TaskId(id),
        agent: AgentId(agent),
        description: format!("task {id}"),
        status: TaskStatus::Running,
        message: None,
        created_at: at(id),
        ended_at: None,
        usage: Usage::default(),
        question: None,
    }
}

pub(super) fn append(agent: i64, content: &str) -> Change {
    piece(agent, content, false)
}

pub(super) fn joining(agent: i64, content: &str) -> Change {
    piece(agent, content, true)
}

fn piece(agent: i64, content: &str, joins: bool) -> Change {
    Change::Append {
        agent: AgentId(agent),
        task: None,
        time: at(1),
        entry: Entry { kind: EntryKind::Message, content: content.into(), joins },
    }
}

/// All that a store holds.
pub(super) fn everything(db: &FleetDb) -> (StoredFleet, Vec<Vec<Task>>, Vec<Vec<LogEntry>>) {
    let fleet = db.load().unwrap();
    let ids: Vec<AgentId> = fleet.agents.iter().map(|stored| stored.agent.id).collect();
    let all = page(1, 1_000_000);
    let tasks = ids.iter().map(|id| wait(db.history(*id, all)).unwrap().items).collect();
    let logs = ids.iter().map(|id| wait(db.log(*id, all)).unwrap().items).collect();
    (fleet, tasks, logs)
}
