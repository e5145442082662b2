//! One change at a time, inside the transaction of [`super::write`].

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension as _, params};

use super::{
    rows::{micros, question_column},
    sessions,
    words::Trouble,
};
use crate::{
    app::ports::{
        StoreError,
        fleet_store::{Change, MAX_JOINED_BYTES, MAX_TRIMMED_ENTRIES},
    },
    fleet::{Agent, AgentId, Entry, Slot, Task, TaskId, lifecycle::Standing},
    stores::refusal::refused,
};

/// Why a change was not made.
#[derive(Debug)]
pub(super) enum Failure {
    /// It contradicts what is there.
    Refused(StoreError),
    /// SQLite would not.
    Trouble(Trouble),
}

impl From<rusqlite::Error> for Failure {
    fn from(error: rusqlite::Error) -> Self {
        Self::Trouble(error.into())
    }
}

/// Makes one change.
pub(super) fn apply(db: &Connection, change: &Change) -> Result<(), Failure> {
    match change {
        Change::PutAgent { agent, session, standing } => {
            put_agent(db, agent, session.as_deref(), standing)
        }
        Change::RemoveAgent(agent) => remove_agent(db, *agent),
        Change::PutTask(task) => put_task(db, task),
        Change::Append { agent, task, time, entry } => append(db, *agent, *task, *time, entry),
        Change::Trim { agent, max_bytes } => trim(db, *agent, *max_bytes),
        Change::PutSession { agent, time, checkpoint } => {
            sessions::put(db, *agent, *time, checkpoint)
        }
        Change::PutOrder { agent, number, order } => {
            sessions::put_order(db, *agent, *number, order)
        }
        Change::RemoveSession(agent) => sessions::remove(db, *agent),
    }
}

fn put_agent(
    db: &Connection,
    agent: &Agent,
    session: Option<&str>,
    standing: &Standing,
) -> Result<(), Failure> {
    const REPLACE: &str = "UPDATE agents SET name = ?2, status = ?3, role = ?4, project = ?5, \
         last_task = ?6, session = ?7, created_at = ?8, updated_at = ?9, slot = ?10, \
         since = ?11, verdict = ?12, verdict_words = ?13, restarts = ?14 WHERE id = ?1";
    const INSERT: &str = "INSERT INTO agents (id, name, status, role, project, last_task, session, \
         created_at, updated_at, slot, since, verdict, verdict_words, restarts) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)";
    let verdict = standing.verdict.as_ref();
    let columns = params![
        agent.id.0,
        agent.name.as_str(),
        agent.status.as_str(),
        agent.role,
        agent.project,
        agent.last_task,
        session,
        micros(agent.created_at),
        micros(agent.updated_at),
        agent.slot.as_ref().map(Slot::as_str),
        micros(standing.since),
        verdict.map(|(status, _)| status.as_str()),
        verdict.map(|(_, words)| words),
        standing.restarts,
    ];
    let named = |e: rusqlite::Error| match e.sqlite_error() {
        Some(e) if e.extended_code == rusqlite::ffi::SQLITE_CONSTRAINT_UNIQUE => name_taken(agent),
        _ => e.into(),
    };
    if db.prepare_cached(REPLACE)?.execute(columns).map_err(named)? == 1 {
        return Ok(());
    }
    let unused = "UPDATE highest SET agent_id = ?1 WHERE agent_id < ?1";
    if db.prepare_cached(unused)?.execute([agent.id.0])? == 0 {
        return Err(id_used(&agent.id.to_string()));
    }
    db.prepare_cached(INSERT)?.execute(columns).map_err(named)?;
    db.prepare_cached("INSERT INTO totals (agent_id) VALUES (?1)")?.execute([agent.id.0])?;
    Ok(())
}

/// Its tasks, log and totals go with it.
fn remove_agent(db: &Connection, agent: AgentId) -> Result<(), Failure> {
    db.prepare_cached("DELETE FROM agents WHERE id = ?1")?.execute([agent.0])?;
    Ok(())
}

fn put_task(db: &Connection, task: &Task) -> Result<(), Failure> {
    const REPLACE: &str = "UPDATE tasks SET description = ?3, status = ?4, message = ?5, \
         created_at = ?6, ended_at = ?7, context_tokens = ?8, input_tokens = ?9, \
         output_tokens = ?10, cost = ?11, currency = ?12, question = ?13 \
         WHERE id = ?1 AND agent_id = ?2";
    const INSERT: &str = "INSERT INTO tasks (id, agent_id, description, status, message, \
         created_at, ended_at, context_tokens, input_tokens, output_tokens, cost, currency, \
         question) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)";
    let usage = &task.usage;
    let columns = params![
        task.id.0,
        task.agent.0,
        task.description,
        task.status.as_str(),
        task.message,
        micros(task.created_at),
        task.ended_at.map(micros),
        usage.context_tokens.map(u64::cast_signed),
        usage.input_tokens.map(u64::cast_signed),
        usage.output_tokens.map(u64::cast_signed),
        usage.cost,
        usage.currency,
        task.question.as_ref().map(question_column).transpose()?,
    ];
    if db.prepare_cached(REPLACE)?.execute(columns)? == 1 {
        return Ok(());
    }
    let unused = "UPDATE highest SET task_id = ?1 WHERE task_id < ?1";
    if db.prepare_cached(unused)?.execute([task.id.0])? == 0 {
        return Err(id_used(&format!("task {}", task.id.0)));
    }
    let count = "UPDATE totals SET tasks = tasks + 1 WHERE agent_id = ?1";
    if db.prepare_cached(count)?.execute([task.agent.0])? == 0 {
        return Err(no_agent(task.agent));
    }
    db.prepare_cached(INSERT)?.execute(columns)?;
    Ok(())
}

fn append(
    db: &Connection,
    agent: AgentId,
    task: Option<TaskId>,
    time: Timestamp,
    entry: &Entry,
) -> Result<(), Failure> {
    let joined = if entry.joins { newest_to_join(db, agent, task, entry)? } else { None };
    let count = "UPDATE totals SET entries = entries + ?2, log_bytes = log_bytes + ?3 \
                 WHERE agent_id = ?1";
    let counted = db.prepare_cached(count)?.execute(params![
        agent.0,
        i64::from(joined.is_none()),
        length(&entry.content),
    ])?;
    if counted == 0 {
        return Err(no_agent(agent));
    }
    match joined {
        Some(id) => db
            .prepare_cached("UPDATE log SET content = content || ?2 WHERE id = ?1")?
            .execute(params![id, entry.content])?,
        None => db
            .prepare_cached(
                "INSERT INTO log (agent_id, task_id, time, kind, content) \
                 VALUES (?1, ?2, ?3, ?4, ?5)",
            )?
            .execute(params![
                agent.0,
                task.map(|task| task.0),
                micros(time),
                entry.kind.as_str(),
                entry.content,
            ])?,
    };
    Ok(())
}

/// The entry that this one goes on with.
fn newest_to_join(
    db: &Connection,
    agent: AgentId,
    task: Option<TaskId>,
    entry: &Entry,
) -> Result<Option<i64>, Failure> {
    // `octet_length` does not read the content.
    const NEWEST: &str = "SELECT id, task_id, kind, octet_length(content) FROM log \
         WHERE agent_id = ?1 ORDER BY id DESC LIMIT 1";
    let newest = db.prepare_cached(NEWEST)?.query_row([agent.0], |row| {
        let like_this = row.get::<_, Option<i64>>(1)? == task.map(|task| task.0)
            && row.get_ref(2)?.as_str()? == entry.kind.as_str();
        let whole = row.get::<_, i64>(3)?.saturating_add(length(&entry.content));
        let fits = whole.cast_unsigned() <= MAX_JOINED_BYTES;
        Ok((like_this && fits).then_some(row.get(0)?))
    });
    Ok(newest.optional()?.flatten())
}

fn trim(db: &Connection, agent: AgentId, max_bytes: u64) -> Result<(), Failure> {
    let total = "SELECT log_bytes FROM totals WHERE agent_id = ?1";
    let total: Option<i64> =
        db.prepare_cached(total)?.query_row([agent.0], |row| row.get(0)).optional()?;
    let total = total.ok_or_else(|| no_agent(agent))?;
    // Gone once not more than this is left to go.
    let excess = total.saturating_sub(i64::try_from(max_bytes).unwrap_or(i64::MAX));
    if excess <= 0 {
        return Ok(());
    }
    let Some(oldest) = oldest(db, agent, excess)? else { return Ok(()) };
    let remove = "DELETE FROM log WHERE agent_id = ?1 AND id <= ?2";
    db.prepare_cached(remove)?.execute([agent.0, oldest.last])?;
    let count = "UPDATE totals SET entries = entries - ?2, log_bytes = log_bytes - ?3 \
                 WHERE agent_id = ?1";
    db.prepare_cached(count)?.execute([agent.0, oldest.entries, oldest.bytes])?;
    Ok(())
}

/// A run of an agent's oldest entries.
struct Oldest {
    last: i64,
    entries: i64,
    bytes: i64,
}

/// As many as make up `excess` bytes, but no more than one change removes.
fn oldest(db: &Connection, agent: AgentId, excess: i64) -> Result<Option<Oldest>, Failure> {
    const OLDEST: &str = "SELECT id, octet_length(content) FROM log \
         WHERE agent_id = ?1 ORDER BY id LIMIT ?2";
    let mut select = db.prepare_cached(OLDEST)?;
    let mut rows = select.query(params![agent.0, MAX_TRIMMED_ENTRIES])?;
    let mut found = Oldest { last: 0, entries: 0, bytes: 0 };
    while found.bytes < excess
        && let Some(row) = rows.next()?
    {
        found.last = row.get(0)?;
        found.entries += 1;
        found.bytes += row.get::<_, i64>(1)?;
    }
    Ok((found.entries > 0).then_some(found))
}

/// In bytes, as a column holds it.
fn length(text: &str) -> i64 {
    text.len().try_into().unwrap_or(i64::MAX)
}

fn name_taken(agent: &Agent) -> Failure {
    Failure::Refused(refused(
        format!("another agent is named `{}`", agent.name),
        "choose another name, or delete that agent first",
    ))
}

fn id_used(id: &str) -> Failure {
    Failure::Refused(refused(
        format!("the id of {id} was used before"),
        "this is a bug: report it with this message",
    ))
}

fn no_agent(agent: AgentId) -> Failure {
    Failure::Refused(refused(
        format!("the fleet has no {agent}"),
        "it may just have been deleted: list the agents",
    ))
}
