//! Sessions that outlive the daemon: where they can be taken up, and what they are still to be told.

use std::collections::BTreeMap;

use jiff::Timestamp;
use rusqlite::{Connection, Row, params};
use serde::{Deserialize, Serialize};

use super::{
    changes::Failure,
    rows::{micros, senseless, time},
};
use crate::{
    app::ports::{
        fleet_store::StoredSession,
        sessions::{Checkpoint, Order},
    },
    fleet::AgentId,
};

/// An order as its column holds it.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Content {
    Prompt(String),
    Cancel,
    Answer { question: String, choice: String },
}

pub(super) fn put(
    db: &Connection,
    agent: AgentId,
    now: Timestamp,
    checkpoint: &Checkpoint,
) -> Result<(), Failure> {
    const PUT: &str = "INSERT INTO sessions (agent_id, time, obeyed, state) VALUES (?1, ?2, ?3, ?4) \
         ON CONFLICT (agent_id) DO UPDATE SET time = ?2, obeyed = ?3, state = ?4";
    let obeyed = checkpoint.obeyed.cast_signed();
    db.prepare_cached(PUT)?.execute(params![agent.0, micros(now), obeyed, checkpoint.state])?;
    let forget = "DELETE FROM orders WHERE agent_id = ?1 AND number <= ?2";
    db.prepare_cached(forget)?.execute([agent.0, obeyed])?;
    Ok(())
}

pub(super) fn put_order(
    db: &Connection,
    agent: AgentId,
    number: u64,
    order: &Order,
) -> Result<(), Failure> {
    let content = match order.clone() {
        Order::Prompt { text } => Content::Prompt(text),
        Order::Cancel => Content::Cancel,
        Order::Answer { question, choice } => Content::Answer { question, choice },
        // They are not counted.
        Order::Close { .. } | Order::Publish { .. } => return Ok(()),
    };
    let content = serde_json::to_string(&content)
        .map_err(|e| rusqlite::Error::ToSqlConversionFailure(e.into()))?;
    db.prepare_cached("INSERT INTO orders (agent_id, number, content) VALUES (?1, ?2, ?3)")?
        .execute(params![agent.0, number.cast_signed(), content])?;
    Ok(())
}

pub(super) fn remove(db: &Connection, agent: AgentId) -> Result<(), Failure> {
    db.prepare_cached("DELETE FROM sessions WHERE agent_id = ?1")?.execute([agent.0])?;
    db.prepare_cached("DELETE FROM orders WHERE agent_id = ?1")?.execute([agent.0])?;
    Ok(())
}

/// All sessions, by agent.
pub(super) fn load(db: &Connection) -> rusqlite::Result<BTreeMap<i64, StoredSession>> {
    let mut select = db.prepare("SELECT agent_id, time, obeyed, state FROM sessions")?;
    let mut sessions: BTreeMap<_, _> = select.query_map((), session)?.collect::<Result<_, _>>()?;
    let orders = "SELECT agent_id, number, content FROM orders ORDER BY agent_id, number";
    let mut select = db.prepare(orders)?;
    let mut rows = select.query(())?;
    while let Some(row) = rows.next()? {
        if let Some(session) = sessions.get_mut(&row.get(0)?) {
            session.orders.push((row.get::<_, i64>(1)?.cast_unsigned(), order(row)?));
        }
    }
    Ok(sessions)
}

fn session(row: &Row<'_>) -> rusqlite::Result<(i64, StoredSession)> {
    let checkpoint =
        Checkpoint { obeyed: row.get::<_, i64>(2)?.cast_unsigned(), state: row.get(3)? };
    Ok((row.get(0)?, StoredSession { time: time(row, 1)?, checkpoint, orders: Vec::new() }))
}

fn order(row: &Row<'_>) -> rusqlite::Result<Order> {
    let content: String = row.get(2)?;
    Ok(match serde_json::from_str(&content).map_err(|e| senseless(2, e))? {
        Content::Prompt(text) => Order::Prompt { text },
        Content::Cancel => Order::Cancel,
        Content::Answer { question, choice } => Order::Answer { question, choice },
    })
}
