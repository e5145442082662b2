//! What has happened: recorded, looked up, and removed once it is old or too much.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use rusqlite::{
    Connection, OptionalExtension as _, Row, params, params_from_iter,
    types::{Type, Value},
};
use serde_json::{Map, Value as Json};

use super::{
    changes::Failure,
    rows::{micros, senseless, time},
};
use crate::app::ports::event_store::{
    CATCH_UP, Event, Events, MAX_EXPIRED, Query, Recorded, Retention, Trail,
};

/// How often the time by which ages are counted is written down: less than what it may catch up between
/// two looks of the recorder, so that it keeps up.
const WRITE_DOWN: SignedDuration = SignedDuration::from_mins(10);

/// What a row takes besides its texts: numbers, headers, and its share of the indexes.
const ROW_BYTES: usize = 96;

/// What [`recorded`] reads, in its order.
macro_rules! columns {
    () => {
        "id, time, trail, event, agent, token, message, fields"
    };
}

/// What matches after an id (`?1`), at most `?2`, in both directions.
macro_rules! both_ways {
    ($condition:literal) => {
        [
            concat!(
                "SELECT ",
                columns!(),
                " FROM events WHERE ",
                $condition,
                " AND id > ?1 ORDER BY id LIMIT ?2"
            ),
            concat!(
                "SELECT ",
                columns!(),
                " FROM events WHERE ",
                $condition,
                " AND id > ?1 ORDER BY id DESC LIMIT ?2"
            ),
        ]
    };
}

/// What happened in the fleet.
pub(super) const FLEET: [&str; 2] = both_ways!("trail = 0");
/// Both other trails, merged.
pub(super) const AUDIT: [&str; 2] = [
    concat!(
        "SELECT ",
        columns!(),
        " FROM events WHERE trail = 1 AND id > ?1 UNION ALL \
         SELECT ",
        columns!(),
        " FROM events WHERE trail = 2 AND id > ?1 ORDER BY id LIMIT ?2"
    ),
    concat!(
        "SELECT ",
        columns!(),
        " FROM events WHERE trail = 1 AND id > ?1 UNION ALL \
         SELECT ",
        columns!(),
        " FROM events WHERE trail = 2 AND id > ?1 ORDER BY id DESC LIMIT ?2"
    ),
];
/// An agent's.
pub(super) const OF_AGENT: [&str; 2] = both_ways!("agent = ?3 AND (trail > 0) = ?4");
/// A token's.
pub(super) const OF_TOKEN: [&str; 2] = both_ways!("token = ?3");
/// A token's about an agent.
pub(super) const OF_BOTH: [&str; 2] = both_ways!("token = ?3 AND +agent = ?4");
/// The first event that is not older.
pub(super) const SINCE: &str = "SELECT id FROM events WHERE time >= ?1 ORDER BY time, id LIMIT 1";
/// What is too old.
pub(super) const EXPIRE_OLD: &str = "DELETE FROM events WHERE id IN (SELECT id FROM events \
     WHERE time < ?1 ORDER BY time LIMIT ?2) RETURNING trail, bytes";
/// The oldest of a trail that has too much.
pub(super) const OLDEST: &str =
    "SELECT id, bytes FROM events WHERE trail = ?1 ORDER BY id LIMIT ?2";
/// A trail up to an id.
pub(super) const EXPIRE_UP_TO: &str = "DELETE FROM events WHERE trail = ?1 AND id <= ?2";

pub(super) fn record(db: &Connection, events: &[Event]) -> Result<(), Failure> {
    const INSERT: &str = "INSERT INTO events (time, trail, event, agent, token, message, fields, \
         bytes) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
    let mut insert = db.prepare_cached(INSERT)?;
    let mut added = [0_i64; Trail::ALL.len()];
    for event in events {
        let fields = event.fields.iter().map(|(name, text)| (name.clone(), Json::from(&**text)));
        let fields = Json::Object(fields.collect::<Map<_, _>>()).to_string();
        let bytes = size(event, &fields);
        insert.execute(params![
            micros(event.time),
            number(event.trail),
            event.event,
            event.agent,
            event.token,
            event.message,
            fields,
            bytes,
        ])?;
        added[event.trail as usize] += bytes;
    }
    for (trail, bytes) in Trail::ALL.into_iter().zip(added).filter(|(_, bytes)| *bytes > 0) {
        grow(db, number(trail), bytes)?;
    }
    Ok(())
}

/// How many were removed.
pub(super) fn expire(
    db: &Connection,
    keep: Retention,
    now: Timestamp,
    passed: Duration,
) -> Result<u64, Failure> {
    let mut removed = 0;
    // Before the beginning of time there is nothing.
    if let Ok(oldest) = believed(db, now, passed)?.checked_sub(keep.max_age) {
        let old = db
            .prepare_cached(EXPIRE_OLD)?
            .query_map(params![micros(oldest), MAX_EXPIRED], |row| Ok((row.get(0)?, row.get(1)?)))?
            .collect::<rusqlite::Result<Vec<(i64, i64)>>>()?;
        removed += old.len() as u64;
        for (trail, bytes) in old {
            grow(db, trail, -bytes)?;
        }
    }
    let max_bytes = i64::try_from(keep.max_bytes).unwrap_or(i64::MAX);
    for trail in Trail::ALL {
        removed += cut(db, number(trail), max_bytes)?;
    }
    Ok(removed)
}

/// The time by which ages are counted: what the clock says, unless that is too far from what it was.
fn believed(db: &Connection, now: Timestamp, passed: Duration) -> rusqlite::Result<Timestamp> {
    let before: Option<Timestamp> = db
        .prepare_cached("SELECT time FROM aging")?
        .query_row((), |row| time(row, 0))
        .optional()?;
    let most = |before: Timestamp| before.saturating_add(passed.saturating_mul(CATCH_UP));
    let believed = before.map_or(now, |before| now.min(most(before).unwrap_or(Timestamp::MAX)));
    // Where it is the clock's anyway, writing it down now and then will do.
    let is_old = |before: Timestamp| believed.duration_since(before).abs() >= WRITE_DOWN;
    if before.is_none_or(is_old) || believed < now {
        db.prepare_cached("INSERT OR REPLACE INTO aging (only, time) VALUES (0, ?1)")?
            .execute([micros(believed)])?;
    }
    Ok(believed)
}

/// Removes the oldest of a trail until it fits.
fn cut(db: &Connection, trail: i64, max_bytes: i64) -> Result<u64, Failure> {
    let total: i64 = db
        .prepare_cached("SELECT bytes FROM trails WHERE trail = ?1")?
        .query_row([trail], |row| row.get(0))?;
    let (mut last, mut freed, mut removed) = (0, 0, 0);
    if total > max_bytes {
        let mut select = db.prepare_cached(OLDEST)?;
        let mut rows = select.query(params![trail, MAX_EXPIRED])?;
        while total - freed > max_bytes
            && let Some(row) = rows.next()?
        {
            last = row.get(0)?;
            freed += row.get::<_, i64>(1)?;
            removed += 1;
        }
    }
    if removed > 0 {
        db.prepare_cached(EXPIRE_UP_TO)?.execute([trail, last])?;
        grow(db, trail, -freed)?;
    }
    Ok(removed)
}

fn grow(db: &Connection, trail: i64, bytes: i64) -> rusqlite::Result<()> {
    let grow = "UPDATE trails SET bytes = bytes + ?2 WHERE trail = ?1";
    db.prepare_cached(grow)?.execute([trail, bytes]).map(drop)
}

pub(super) fn find(db: &mut Connection, query: &Query) -> rusqlite::Result<Events> {
    // One transaction: the highest id is that of the moment of the events.
    let db = db.transaction()?;
    let highest = "SELECT seq FROM sqlite_sequence WHERE name = 'events'";
    let highest: Option<i64> = db.query_row(highest, (), |row| row.get(0)).optional()?;
    let highest = highest.unwrap_or(0);
    let (after, newest_first) = match (query.after, query.since) {
        (Some(after), _) => (after, false),
        (None, Some(since)) => {
            let first: Option<i64> =
                db.query_row(SINCE, [micros(since)], |row| row.get(0)).optional()?;
            (first.map_or(highest, |first| first - 1), false)
        }
        (None, None) => (0, true),
    };
    let (sql, filter) = plan(query);
    let limit = i64::from(query.limit);
    let arguments = [after, limit + 1].into_iter().map(Value::from).chain(filter);
    let mut events = db
        .prepare_cached(sql[usize::from(newest_first)])?
        .query_map(params_from_iter(arguments), recorded)?
        .collect::<rusqlite::Result<Vec<_>>>()?;
    let beyond = events.len() > query.limit as usize;
    events.truncate(query.limit as usize);
    if newest_first {
        events.reverse();
    }
    let more = beyond && !newest_first;
    let last = events.last().filter(|_| more).map_or(highest, |event| event.id);
    Ok(Events { events, last, more })
}

/// Which statement finds it by an index, and what it needs besides id and limit.
fn plan(query: &Query) -> ([&'static str; 2], Vec<Value>) {
    let text = |text: &String| Value::from(text.clone());
    match (&query.token, &query.agent) {
        (Some(token), Some(agent)) => (OF_BOTH, vec![text(token), text(agent)]),
        (Some(token), None) => (OF_TOKEN, vec![text(token)]),
        (None, Some(agent)) => (OF_AGENT, vec![text(agent), Value::from(query.audit)]),
        (None, None) if query.audit => (AUDIT, Vec::new()),
        (None, None) => (FLEET, Vec::new()),
    }
}

fn recorded(row: &Row<'_>) -> rusqlite::Result<Recorded> {
    let fields: Map<String, Json> =
        serde_json::from_str(&row.get::<_, String>(7)?).map_err(|e| senseless(7, e))?;
    let field = |(name, value): (String, Json)| match value {
        Json::String(text) => (name, text),
        other => (name, other.to_string()),
    };
    let event = Event {
        time: time(row, 1)?,
        trail: trail(row.get(2)?)?,
        event: row.get(3)?,
        agent: row.get(4)?,
        token: row.get(5)?,
        message: row.get(6)?,
        fields: fields.into_iter().map(field).collect(),
    };
    Ok(Recorded { id: row.get(0)?, event })
}

fn number(trail: Trail) -> i64 {
    match trail {
        Trail::Fleet => 0,
        Trail::Audit => 1,
        Trail::Refusals => 2,
    }
}

fn trail(found: i64) -> rusqlite::Result<Trail> {
    let known = Trail::ALL.into_iter().find(|trail| number(*trail) == found);
    known.ok_or(rusqlite::Error::FromSqlConversionFailure(
        2,
        Type::Integer,
        format!("{found} is no trail").into(),
    ))
}

/// About what it takes on the disk.
fn size(event: &Event, fields: &str) -> i64 {
    let optional = |text: &Option<String>| text.as_ref().map_or(0, String::len);
    let texts = event.event.len() + event.message.len() + fields.len();
    let bytes = ROW_BYTES + texts + 2 * (optional(&event.agent) + optional(&event.token));
    bytes.try_into().unwrap_or(i64::MAX)
}
