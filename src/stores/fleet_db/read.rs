//! What is read: the fleet at the start, pages while it runs.

use rusqlite::{Connection, OptionalExtension as _, Row, params};

use super::rows::{self, AGENT_COLUMNS, agent_columns, entry_columns, task_columns};
use super::sessions;
use crate::{
    app::ports::fleet_store::{Page, Paged, StoredAgent, StoredFleet},
    fleet::{AgentId, LogEntry, Task, TaskId},
};

/// All agents with the size of their log and their newest task.
pub(super) const AGENTS: &str = concat!(
    "SELECT ",
    agent_columns!(),
    ", n.log_bytes, ",
    task_columns!(),
    " FROM agents a JOIN totals n ON n.agent_id = a.id \
      LEFT JOIN tasks t ON t.id = (SELECT max(id) FROM tasks WHERE agent_id = a.id) \
      ORDER BY a.id"
);
/// A page of an agent's tasks.
pub(super) const HISTORY: &str = concat!(
    "SELECT ",
    task_columns!(),
    " FROM tasks t WHERE t.agent_id = ?1 ORDER BY t.id DESC LIMIT ?2 OFFSET ?3"
);
/// A page of an agent's log.
pub(super) const LOG: &str = concat!(
    "SELECT ",
    entry_columns!(),
    " FROM log WHERE agent_id = ?1 ORDER BY id DESC LIMIT ?2 OFFSET ?3"
);
/// The log after an entry.
pub(super) const LOG_AFTER: &str = concat!(
    "SELECT ",
    entry_columns!(),
    " FROM log WHERE agent_id = ?1 AND id > ?2 ORDER BY id LIMIT ?3"
);
/// One task.
pub(super) const TASK: &str = concat!("SELECT ", task_columns!(), " FROM tasks t WHERE t.id = ?1");
/// What an agent said last in a task.
pub(super) const LAST_MESSAGE: &str = "SELECT content FROM log \
     WHERE task_id = ?1 AND kind = 'message' ORDER BY id DESC LIMIT 1";
/// How many tasks an agent has.
pub(super) const TASKS_TOTAL: &str = "SELECT tasks FROM totals WHERE agent_id = ?1";
/// How many entries its log has.
pub(super) const ENTRIES_TOTAL: &str = "SELECT entries FROM totals WHERE agent_id = ?1";

pub(super) fn load(db: &mut Connection) -> rusqlite::Result<StoredFleet> {
    // One transaction: both queries see the same moment.
    let db = db.transaction()?;
    let highest = "SELECT agent_id, task_id FROM highest";
    let (agent, task): (i64, i64) =
        db.query_row(highest, (), |row| Ok((row.get(0)?, row.get(1)?)))?;
    let mut agents: Vec<_> =
        db.prepare(AGENTS)?.query_map((), stored_agent)?.collect::<Result<_, _>>()?;
    let mut open = sessions::load(&db)?;
    for stored in &mut agents {
        stored.open = open.remove(&stored.agent.id.0);
    }
    Ok(StoredFleet { agents, next_agent: AgentId(agent + 1), next_task: TaskId(task + 1) })
}

fn stored_agent(row: &Row<'_>) -> rusqlite::Result<StoredAgent> {
    let first = AGENT_COLUMNS + 1;
    let has_task = row.get::<_, Option<i64>>(first)?.is_some();
    Ok(StoredAgent {
        agent: rows::agent(row)?,
        session: rows::session(row)?,
        standing: rows::standing(row)?,
        open: None,
        task: if has_task { Some(rows::task(row, first)?) } else { None },
        log_bytes: row.get::<_, i64>(AGENT_COLUMNS)?.cast_unsigned(),
    })
}

pub(super) fn task(db: &Connection, id: TaskId) -> rusqlite::Result<Option<Task>> {
    db.prepare_cached(TASK)?.query_row([id.0], |row| rows::task(row, 0)).optional()
}

pub(super) fn last_message(db: &Connection, task: TaskId) -> rusqlite::Result<Option<String>> {
    db.prepare_cached(LAST_MESSAGE)?.query_row([task.0], |row| row.get(0)).optional()
}

pub(super) fn history(
    db: &mut Connection,
    agent: AgentId,
    page: Page,
) -> rusqlite::Result<Paged<Task>> {
    paged(db, HISTORY, TASKS_TOTAL, agent, page, |row| rows::task(row, 0))
}

pub(super) fn log(
    db: &mut Connection,
    agent: AgentId,
    page: Page,
) -> rusqlite::Result<Paged<LogEntry>> {
    paged(db, LOG, ENTRIES_TOTAL, agent, page, rows::entry)
}

pub(super) fn log_after(
    db: &Connection,
    agent: AgentId,
    after: i64,
    limit: usize,
) -> rusqlite::Result<Vec<LogEntry>> {
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let mut select = db.prepare_cached(LOG_AFTER)?;
    select.query_map([agent.0, after, limit], rows::entry)?.collect()
}

fn paged<T>(
    db: &mut Connection,
    items: &str,
    total: &str,
    agent: AgentId,
    page: Page,
    item: fn(&Row<'_>) -> rusqlite::Result<T>,
) -> rusqlite::Result<Paged<T>> {
    // One transaction: the total is that of the moment of the page.
    let db = db.transaction()?;
    let total: Option<i64> =
        db.prepare_cached(total)?.query_row([agent.0], |row| row.get(0)).optional()?;
    let before = u64::from(page.number.saturating_sub(1)) * u64::from(page.size);
    // SQLite walks over what comes before the page in the index, without reading the rows.
    let offset = i64::try_from(before).unwrap_or(i64::MAX);
    let items = db
        .prepare_cached(items)?
        .query_map(params![agent.0, page.size, offset], item)?
        .collect::<Result<_, _>>()?;
    Ok(Paged { items, total: total.unwrap_or(0).cast_unsigned() })
}
