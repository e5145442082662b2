//! The versions of the database and the steps between them.

use rusqlite::{Connection, TransactionBehavior};

/// Step n leads to version n + 1. Released ones are never changed.
pub(super) const STEPS: &[&str] = &[
    include_str!("v1.sql"),
    include_str!("v2.sql"),
    include_str!("v3.sql"),
    include_str!("v4.sql"),
    include_str!("v5.sql"),
    include_str!("v6.sql"),
];

/// Marks the file as ours: `FMCP`.
pub(super) const APPLICATION_ID: i32 = 0x464d_4350;

/// Whose database it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Found {
    /// Nobody's yet.
    Empty,
    /// This program's.
    Ours,
    /// Another program's.
    Foreign,
}

/// Tells whose database it is. Changes nothing.
pub(super) fn look(connection: &Connection) -> rusqlite::Result<Found> {
    let id: i32 = connection.pragma_query_value(None, "application_id", |row| row.get(0))?;
    let tables: i64 =
        connection.query_row("SELECT count(*) FROM sqlite_schema", (), |row| row.get(0))?;
    Ok(match id {
        APPLICATION_ID => Found::Ours,
        0 if tables == 0 && version(connection)? == 0 => Found::Empty,
        _ => Found::Foreign,
    })
}

/// The steps that were taken. A number that no step leads to counts as later than all.
pub(super) fn version(connection: &Connection) -> rusqlite::Result<usize> {
    let version: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    Ok(usize::try_from(version).unwrap_or(usize::MAX))
}

/// Takes the missing steps, each in a transaction: a crash leaves a whole version.
pub(super) fn migrate(connection: &mut Connection, steps: &[&str]) -> rusqlite::Result<()> {
    let present = version(connection)?;
    for (step, next) in steps.iter().zip(1_i32..).skip(present) {
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        transaction.execute_batch(step)?;
        transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
        transaction.pragma_update(None, "user_version", next)?;
        transaction.commit()?;
        if present > 0 {
            tracing::info!(version = next, "the fleet's database has version {next} now");
        }
    }
    Ok(())
}
