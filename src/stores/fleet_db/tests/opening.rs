//! What is found at the start, and what is made of it.

use std::{fs, os::unix::fs::symlink, path::Path};

use nix::{sys::stat::Mode, unistd::mkfifo};
use rusqlite::Connection;

use super::{
    super::{FleetDb, Location, file, schema},
    support::{agent, append, at, commit, create, everything, home, mode, page, put, wait},
};
use crate::{
    app::ports::{StoreError, fleet_store::FleetStore as _},
    fleet::{AgentId, TaskId, TaskStatus},
};

/// A database as version 1 wrote it: a dump that is never made anew.
const V1: &str = include_str!("v1_fixture.sql");

fn raw(dir: &Path) -> Connection {
    Connection::open(dir.join("fleet.db")).unwrap()
}

fn value<T: rusqlite::types::FromSql>(connection: &Connection, pragma: &str) -> T {
    connection.pragma_query_value(None, pragma, |row| row.get(0)).unwrap()
}

/// The error of opening, after which the database and its log are as before, byte for byte.
fn refused(dir: &Path) -> StoreError {
    let read = || ["fleet.db", "fleet.db-wal"].map(|name| fs::read(dir.join(name)).ok());
    let before = read();

    let error = FleetDb::open(dir).unwrap_err();

    let [database, wal] = read();
    assert_eq!(database, before[0], "the database was changed");
    // An empty log holds nothing.
    assert_eq!(wal.unwrap_or_default(), before[1].clone().unwrap_or_default());
    assert!(!error.help.is_empty());
    error
}

#[test]
fn files_are_0600_while_it_is_open_and_the_directory_0700() {
    let home = home();
    let state = home.path().join("a/state");

    let db = FleetDb::open(&state).unwrap();
    create(&db, 1);

    assert_eq!(mode(&state), 0o700);
    for name in ["fleet.db", "fleet.db-wal", "fleet.db-shm"] {
        assert_eq!(mode(&state.join(name)), 0o600, "{name}");
    }
}

#[test]
fn a_stop_leaves_one_file_to_back_up_also_if_it_was_read_meanwhile() {
    let home = home();
    let state = home.path().join("state");
    let db = FleetDb::open(&state).unwrap();
    create(&db, 1);
    db.load().unwrap();
    wait(db.task(TaskId(1))).unwrap();

    drop(db);

    let left: Vec<_> = fs::read_dir(&state).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(left, ["fleet.db"]);
}

#[test]
fn the_writer_waits_for_the_disk_and_checks_references() {
    let home = home();
    let location = Location::check(home.path()).unwrap();

    let writer = file::open(&location, schema::STEPS).unwrap();
    let reader = file::reader(&location.path).unwrap();

    const FULL: i64 = 2;
    assert_eq!(value::<i64>(&writer, "synchronous"), FULL);
    assert_eq!(value::<String>(&writer, "journal_mode"), "wal");
    assert!(value::<bool>(&writer, "foreign_keys"));
    assert!(value::<i64>(&writer, "busy_timeout") > 0);
    assert!(value::<i64>(&reader, "busy_timeout") > 0);
    let error = reader.execute("DELETE FROM agents", ()).unwrap_err();
    assert_eq!(error.sqlite_error_code(), Some(rusqlite::ErrorCode::ReadOnly));
}

#[test]
fn version_1_is_understood_for_ever() {
    let home = home();
    raw(home.path()).execute_batch(V1).unwrap();

    let db = FleetDb::open(home.path()).unwrap();

    let fleet = db.load().unwrap();
    assert_eq!((fleet.next_agent, fleet.next_task), (AgentId(8), TaskId(12)));
    let [stored] = fleet.agents.as_slice() else { panic!("{fleet:?}") };
    assert_eq!(stored.agent.name.as_str(), "sony");
    assert_eq!(stored.session.as_deref(), Some("6f1c"));
    assert_eq!(stored.log_bytes, 14);
    let task = stored.task.as_ref().unwrap();
    assert_eq!((task.id, task.status), (TaskId(11), TaskStatus::NeedsAttention));
    assert_eq!((task.created_at, task.usage.cost), (at(1_700_000_000_000_000), Some(0.25)));
    assert_eq!(task.question.as_ref().unwrap().choices[0].name, "Allow");
    assert_eq!(wait(db.history(AgentId(7), page(1, 9))).unwrap().total, 2);
    let log = wait(db.log(AgentId(7), page(1, 9))).unwrap();
    assert_eq!((log.total, log.items[0].content.as_str()), (2, "Hello"));
    commit(&db, vec![append(7, "next"), put(agent(8))]).unwrap();
}

#[test]
fn an_earlier_version_is_brought_up_to_date_step_by_step() {
    let home = home();
    raw(home.path()).execute_batch(V1).unwrap();
    let steps = [
        schema::STEPS[0],
        "ALTER TABLE agents ADD COLUMN colour TEXT NOT NULL DEFAULT 'red'",
        "UPDATE agents SET colour = 'blue'",
    ];
    let location = Location::check(home.path()).unwrap();

    let db = file::open(&location, &steps).unwrap();

    let colour: String = db.query_row("SELECT colour FROM agents", (), |row| row.get(0)).unwrap();
    assert_eq!(colour, "blue");
    assert_eq!(schema::version(&db).unwrap(), 3);
}

#[test]
fn a_step_that_fails_leaves_the_version_before_it() {
    let home = home();
    raw(home.path()).execute_batch(V1).unwrap();
    let steps = [
        schema::STEPS[0],
        "ALTER TABLE agents ADD COLUMN colour TEXT",
        "UPDATE agents SET colour = 'blue'; DELETE FROM nowhere",
    ];
    let location = Location::check(home.path()).unwrap();

    file::open(&location, &steps).unwrap_err();

    let db = raw(home.path());
    assert_eq!(schema::version(&db).unwrap(), 2);
    let colour: Option<String> =
        db.query_row("SELECT colour FROM agents", (), |row| row.get(0)).unwrap();
    assert_eq!(colour, None);
}

#[test]
fn a_newer_version_is_refused_untouched() {
    let home = home();
    drop(FleetDb::open(home.path()).unwrap());
    raw(home.path()).pragma_update(None, "user_version", 7).unwrap();

    let error = refused(home.path());

    let words = error.to_string();
    let known = format!("up to {}", schema::STEPS.len());
    assert!(words.contains("has version 7") && words.ends_with(&known), "{words}");
}

/// A crash of the newer fleet-mcp leaves its version in the log beside the database.
#[test]
fn a_newer_version_that_is_still_in_the_log_is_refused_untouched() {
    let (home, copy) = (home(), home());
    drop(FleetDb::open(home.path()).unwrap());
    let newer = raw(home.path());
    newer.pragma_update(None, "user_version", 7).unwrap();
    for name in ["fleet.db", "fleet.db-wal"] {
        fs::copy(home.path().join(name), copy.path().join(name)).unwrap();
    }

    let error = refused(copy.path());

    assert!(error.to_string().contains("has version 7"), "{error}");
}

#[test]
fn another_programs_database_is_refused_untouched() {
    let changes: [fn(&Connection); 3] = [
        |db| db.execute_batch("CREATE TABLE songs (name TEXT)").unwrap(),
        |db| db.pragma_update(None, "application_id", 1).unwrap(),
        |db| db.pragma_update(None, "user_version", 1).unwrap(),
    ];
    for change in changes {
        let home = home();
        change(&raw(home.path()));

        let error = refused(home.path());

        assert!(error.to_string().ends_with("is the database of another program"), "{error}");
    }
}

#[test]
fn a_damaged_database_is_refused_untouched() {
    let damages: [fn(&mut Vec<u8>); 6] = [
        |file| file.truncate(100),
        |file| file.truncate(file.len() / 2),
        |file| file.truncate(file.len() - 1),
        |file| file[..16].fill(b'x'),
        |file| file[100..4096].fill(0xff),
        |file| {
            let middle = file.len() / 2 / 4096 * 4096;
            file[middle..middle + 512].fill(0xff);
        },
    ];
    for (number, damage) in damages.iter().enumerate() {
        let home = home();
        let db = FleetDb::open(home.path()).unwrap();
        create(&db, 1);
        commit(&db, (0..500).map(|n| append(1, &"x".repeat(n))).collect()).unwrap();
        drop(db);
        let path = home.path().join("fleet.db");
        let mut bytes = fs::read(&path).unwrap();
        damage(&mut bytes);
        fs::write(&path, bytes).unwrap();

        let error = refused(home.path());

        assert!(error.to_string().contains("` is damaged: "), "{number}: {error}");
        assert!(error.help.contains("fleet.db.bad"), "{}", error.help);
    }
}

#[test]
fn a_word_without_meaning_is_told_and_not_replaced() {
    let home = home();
    create(&FleetDb::open(home.path()).unwrap(), 1);
    raw(home.path()).execute("UPDATE agents SET status = 'dancing'", ()).unwrap();

    let error = FleetDb::open(home.path()).unwrap().load().unwrap_err();

    assert!(error.to_string().contains("unknown status `dancing`"), "{error}");
}

#[test]
fn a_log_without_its_database_is_refused_untouched() {
    for empty in [false, true] {
        let home = home();
        fs::write(home.path().join("fleet.db-wal"), "not yet in the database").unwrap();
        if empty {
            fs::write(home.path().join("fleet.db"), "").unwrap();
        }

        let error = refused(home.path());

        assert!(error.to_string().contains("missing or empty"), "{error}");
    }
}

#[test]
fn an_empty_file_of_a_first_start_that_was_cut_short_is_used() {
    let home = home();
    fs::write(home.path().join("fleet.db"), "").unwrap();

    let db = FleetDb::open(home.path()).unwrap();

    create(&db, 1);
    assert_eq!(mode(&home.path().join("fleet.db")), 0o600);
}

#[test]
fn links_pipes_and_directories_are_refused() {
    for name in ["fleet.db", "fleet.db-wal", "fleet.db-shm", "fleet.db-journal"] {
        let makers: [fn(&Path); 4] = [
            |path| symlink("precious", path).unwrap(),
            |path| fs::hard_link(path.with_file_name("precious"), path).unwrap(),
            |path| mkfifo(path, Mode::S_IRWXU).unwrap(),
            |path| fs::create_dir(path).unwrap(),
        ];
        for make in makers {
            let home = home();
            fs::write(home.path().join("precious"), "kept").unwrap();
            make(&home.path().join(name));

            let error = FleetDb::open(home.path()).unwrap_err();

            assert!(error.to_string().contains(name), "{error}");
            assert_eq!(fs::read_to_string(home.path().join("precious")).unwrap(), "kept");
        }
    }
}

#[test]
fn a_state_directory_behind_a_link_is_used() {
    let home = home();
    fs::create_dir(home.path().join("private")).unwrap();
    symlink("private", home.path().join("state")).unwrap();

    create(&FleetDb::open(&home.path().join("state")).unwrap(), 1);

    let db = FleetDb::open(&home.path().join("private")).unwrap();
    assert_eq!(everything(&db).0.agents.len(), 1);
}
