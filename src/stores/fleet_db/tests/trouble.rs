//! Many callers at once, and disks that refuse.

use std::{
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

use rusqlite::Connection;
use tempfile::TempDir;
use tokio::sync::oneshot;

use super::{
    super::{
        Committed, FleetDb, Location, file, schema,
        write::{Call, Outcome, Work, Writer},
    },
    support::{agent, append, commit, create, home, page, put, task, wait},
};
use crate::{
    app::ports::{
        StoreError,
        fleet_store::{Change, FleetStore as _},
    },
    fleet::AgentId,
};

type Answer = oneshot::Receiver<Outcome>;

/// A writer without its thread, for batches that are made up.
struct Bench {
    home: TempDir,
    writer: Writer,
}

impl Bench {
    /// With agent 1; `prepare` gets the connection that writes.
    fn new(prepare: impl FnOnce(&Connection)) -> Self {
        let home = home();
        let location = Location::check(home.path()).unwrap();
        let connection = file::open(&location, schema::STEPS).unwrap();
        let path = location.path.clone();
        let writer = Writer::new(connection, path.clone(), Arc::default());
        let bench = Self { home, writer };
        bench.run([vec![put(agent(1))]])[0].as_ref().unwrap();
        drop(bench.writer);
        let connection = file::open(&location, schema::STEPS).unwrap();
        prepare(&connection);
        Self { home: bench.home, writer: Writer::new(connection, path, Arc::default()) }
    }

    /// The outcomes of calls that came while the disk was busy.
    fn run<const N: usize>(&self, calls: [Vec<Change>; N]) -> [Result<(), StoreError>; N] {
        let (mut batch, answers): (Vec<Call>, Vec<Answer>) = calls
            .into_iter()
            .map(|changes| {
                let (answer, answered) = oneshot::channel();
                (Call { work: Work::Changes(changes), answer }, answered)
            })
            .unzip();
        self.writer.commit(&mut batch);
        let outcome = |answer: Answer| answer.blocking_recv().unwrap().map(drop);
        let outcomes: Vec<_> = answers.into_iter().map(outcome).collect();
        outcomes.try_into().unwrap()
    }

    fn log(self) -> Vec<String> {
        drop(self.writer);
        let db = FleetDb::open(self.home.path()).unwrap();
        let log = wait(db.log_after(AgentId(1), 0, 1_000_000)).unwrap();
        log.into_iter().map(|entry| entry.content).collect()
    }
}

#[test]
fn one_failing_call_fails_alone() {
    let bench = Bench::new(|_| ());

    let outcomes = bench.run([
        vec![append(1, "first")],
        vec![append(1, "not made"), append(9, "nobody's")],
        vec![append(1, "not made"), Change::PutTask(task(0, 1))],
        vec![append(1, "last")],
    ]);

    assert!(matches!(outcomes, [Ok(()), Err(_), Err(_), Ok(())]), "{outcomes:?}");
    assert_eq!(bench.log(), ["first", "last"]);
}

#[test]
fn what_came_together_goes_to_the_disk_once() {
    let bench = Bench::new(|_| ());

    let outcomes = bench.run([vec![append(1, "a")], vec![append(9, "b")], vec![append(1, "c")]]);

    assert!(matches!(outcomes, [Ok(()), Err(_), Ok(())]), "{outcomes:?}");
    let committed: &Committed = bench.writer.committed();
    assert_eq!((committed.calls(), committed.transactions().total()), (2, 1));
}

#[test]
fn a_full_disk_refuses_the_batch_and_takes_the_next_once_there_is_room() {
    let pages = |db: &Connection, more: i64| {
        let now: i64 = db.pragma_query_value(None, "page_count", |row| row.get(0)).unwrap();
        db.pragma_update_and_check(None, "max_page_count", now + more, |_| Ok(())).unwrap();
    };
    let bench = Bench::new(|db| pages(db, 2));

    let outcomes = bench.run([vec![append(1, "small")], vec![append(1, &"x".repeat(100_000))]]);

    for outcome in outcomes {
        let error = outcome.unwrap_err();
        assert!(error.to_string().starts_with("could not write `"), "{error}");
        assert!(error.help.starts_with("the disk is full: make room (`df -h "), "{}", error.help);
    }
    bench.run([vec![append(1, "fits")]])[0].as_ref().unwrap();
    pages(bench.writer.connection(), 100);
    bench.run([vec![append(1, "fits now")]])[0].as_ref().unwrap();
    assert_eq!(bench.log(), ["fits", "fits now"]);
}

#[test]
fn a_read_only_disk_is_told() {
    let bench = Bench::new(|db| db.pragma_update(None, "query_only", true).unwrap());

    let [outcome] = bench.run([vec![append(1, "x")]]);

    assert!(outcome.unwrap_err().help.starts_with("the file system is read-only"));
    bench.writer.connection().pragma_update(None, "query_only", false).unwrap();
    bench.run([vec![append(1, "later")]])[0].as_ref().unwrap();
    assert_eq!(bench.log(), ["later"]);
}

#[test]
fn a_lock_of_another_process_is_told_and_waited_for_no_longer_than_it_holds() {
    let bench = Bench::new(|db| db.busy_timeout(Duration::ZERO).unwrap());
    let other = Connection::open(bench.home.path().join("fleet.db")).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();

    let [outcome] = bench.run([vec![append(1, "x")]]);

    let error = outcome.unwrap_err();
    assert!(error.to_string().starts_with("another process has locked"), "{error}");
    assert!(error.help.starts_with("`fuser -v "), "{}", error.help);
    other.execute_batch("ROLLBACK").unwrap();
    bench.run([vec![append(1, "later")]])[0].as_ref().unwrap();
    assert_eq!(bench.log(), ["later"]);
}

#[test]
fn commits_are_carried_out_in_the_order_of_their_calls() {
    const THREADS: i64 = 8;
    const EACH: usize = 200;
    let home = home();
    let db = FleetDb::open(home.path()).unwrap();
    create(&db, 1);
    let called = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for thread in 0..THREADS {
            let (db, called) = (&db, &called);
            scope.spawn(move || {
                for number in 0..EACH {
                    let content = format!("{thread}/{number}");
                    let stored = {
                        let mut called = called.lock().unwrap();
                        called.push(content.clone());
                        db.commit(vec![append(1, &content)])
                    };
                    // Every other one is not waited for.
                    if number % 2 == 0 {
                        wait(stored).unwrap();
                    }
                }
            });
        }
    });
    commit(&db, vec![]).unwrap();

    let log = wait(db.log_after(AgentId(1), 0, usize::MAX)).unwrap();

    let made: Vec<String> = log.into_iter().map(|entry| entry.content).collect();
    assert_eq!(made, *called.lock().unwrap());
}

#[test]
fn reading_goes_on_while_writing_and_sees_whole_commits() {
    let home = home();
    let db = FleetDb::open(home.path()).unwrap();
    create(&db, 1);
    thread::scope(|scope| {
        let writing = scope.spawn(|| {
            for _ in 0..200 {
                commit(&db, vec![append(1, "one"), append(1, "two"), append(1, "three")]).unwrap();
            }
        });
        let mut seen = 0;
        while !writing.is_finished() {
            let log = wait(db.log(AgentId(1), page(1, 3))).unwrap();
            assert_eq!(log.total % 3, 0);
            assert!(log.total >= seen);
            assert_eq!(log.items.len() as u64, log.total.min(3));
            seen = log.total;
        }
        writing.join().unwrap();
    });
    assert_eq!(wait(db.log(AgentId(1), page(1, 1))).unwrap().total, 600);
}

#[test]
fn whoever_was_answered_reads_what_it_wrote() {
    let home = home();
    let db = FleetDb::open(home.path()).unwrap();
    create(&db, 1);
    for number in 0..50 {
        commit(&db, vec![append(1, &number.to_string())]).unwrap();

        let newest = wait(db.log(AgentId(1), page(1, 1))).unwrap().items.pop().unwrap();
        assert_eq!(newest.content, number.to_string());
    }
}

#[test]
fn answers_may_be_awaited_on_any_thread() {
    fn sent_anywhere<T: Send + 'static>(_: T) {}
    let home = home();
    let db = FleetDb::open(home.path()).unwrap();

    sent_anywhere(db.commit(vec![]));
    sent_anywhere(db.log_after(AgentId(1), 0, 1));
}
