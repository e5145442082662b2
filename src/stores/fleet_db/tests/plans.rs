//! Pages come from an index, in its order, however much there is.

use rusqlite::Connection;

use super::super::{events, read, schema};

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
        (read::TASK, "SEARCH t USING INTEGER PRIMARY KEY (rowid=?)"),
        (read::LAST_MESSAGE, "SEARCH log USING INDEX messages_of_task (task_id=?)"),
        (read::TASKS_TOTAL, "SEARCH totals USING INTEGER PRIMARY KEY (rowid=?)"),
        (read::ENTRIES_TOTAL, "SEARCH totals USING INTEGER PRIMARY KEY (rowid=?)"),
    ] {
        assert_eq!(plan(sql), expected, "{sql}");
    }
}

#[test]
fn events_come_from_an_index_in_its_order_whatever_is_asked() {
    for (sql, expected) in [
        (events::FLEET, "SEARCH events USING INDEX events_of_trail (trail=? AND rowid>?)"),
        (events::OF_AGENT, "SEARCH events USING INDEX events_of_agent (agent=? AND rowid>?)"),
        (events::OF_TOKEN, "SEARCH events USING INDEX events_of_token (token=? AND rowid>?)"),
        (events::OF_BOTH, "SEARCH events USING INDEX events_of_token (token=? AND rowid>?)"),
    ] {
        assert_eq!(sql.map(plan), [expected; 2], "{sql:?}");
    }
    for sql in events::AUDIT {
        let plan = plan(sql);
        let one = "SEARCH events USING INDEX events_of_trail (trail=? AND rowid>?)";
        assert!(plan.starts_with("MERGE (UNION ALL)"), "{plan}");
        assert_eq!(plan.matches(one).count(), 2, "{plan}");
        assert!(!plan.contains("TEMP B-TREE"), "{plan}");
    }
    assert_eq!(plan(events::SINCE), "SEARCH events USING COVERING INDEX events_by_time (time>?)");
}

#[test]
fn expiring_reads_what_goes_and_no_more() {
    for (sql, index) in [
        (events::EXPIRE_OLD, "USING COVERING INDEX events_by_time (time<?)"),
        (events::OLDEST, "USING INDEX events_of_trail (trail=?)"),
        (events::EXPIRE_UP_TO, "USING INDEX events_of_trail (trail=? AND rowid<?)"),
    ] {
        let plan = plan(sql);

        assert!(plan.contains(index) && !plan.contains("SCAN events"), "{sql}: {plan}");
        assert!(!plan.contains("TEMP B-TREE"), "{plan}");
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
