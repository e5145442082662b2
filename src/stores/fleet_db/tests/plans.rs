//! Pages come from an index, in its order, however much there is.

use rusqlite::Connection;

use super::super::{read, schema};

/// What SQLite would do, a line a step.
fn plan(sql: &str) -> String {
    let db = Connection::open_in_memory().unwrap();
    for step in schema::STEPS {
        db.execute_batch(step).unwrap();
    }
    let mut explain = db.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
    let steps = explain.raw_query().mapped(|row| row.get::<_, String>(3));
    steps.collect::<Result<Vec<_>, _>>().unwrap().join("\n")
}

#[test]
fn pages_come_from_an_index_in_its_order() {
    for (sql, expected) in [
        (read::HISTORY, "SEARCH t USING INDEX tasks_of_agent (agent_id=?)"),
        (read::LOG, "SEARCH log USING INDEX log_of_agent (agent_id=?)"),
        (read::LOG_AFTER, "SEARCH log USING INDEX log_of_agent (agent_id=? AND rowid>?)"),
        (read::TASKS_TOTAL, "SEARCH totals USING INTEGER PRIMARY KEY (rowid=?)"),
        (read::ENTRIES_TOTAL, "SEARCH totals USING INTEGER PRIMARY KEY (rowid=?)"),
    ] {
        assert_eq!(plan(sql), expected, "{sql}");
    }
}

#[test]
fn the_start_reads_each_agent_and_its_newest_task_only() {
    let plan = plan(read::AGENTS);

    for table in ["tasks", "t "] {
        assert!(!plan.contains(&format!("SCAN {table}")), "{plan}");
    }
    assert!(plan.contains("SEARCH tasks USING COVERING INDEX tasks_of_agent"), "{plan}");
    assert!(!plan.contains("TEMP B-TREE"), "{plan}");
}

#[test]
fn removing_and_trimming_read_the_agents_rows_only() {
    for (sql, expected) in [
        ("DELETE FROM log WHERE agent_id = ?1 AND id <= ?2", "(agent_id=? AND rowid<?)"),
        ("DELETE FROM log WHERE agent_id = ?1", "(agent_id=?)"),
        ("DELETE FROM tasks WHERE agent_id = ?1", "(agent_id=?)"),
    ] {
        let plan = plan(sql);

        assert!(plan.contains(expected) && !plan.contains("SCAN"), "{sql}: {plan}");
    }
}
