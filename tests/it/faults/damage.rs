//! `fleet.db` and its log as a broken disk, or a hand that slipped, leaves them.

use std::{collections::BTreeMap, fs, path::Path};

use rusqlite::Connection;

use crate::{
    fleet::{Fleet, builder},
    support::eventually,
};

const FRAME: usize = 24 + 4096;
const NAMES: [&str; 3] = ["first", "second", "third"];

/// What files are done to, and what they are called.
type Damage = (&'static str, fn(&mut Vec<u8>));

/// A fleet whose agents have worked, and which was stopped or killed.
fn left_behind(is_killed: bool) -> Fleet {
    let mut fleet = Fleet::start(builder(""));
    for name in NAMES {
        fleet.create(name, "demo", "stream 300");
        assert_eq!(fleet.outcome(name), ["idle", "done", ""]);
    }
    if is_killed {
        fleet.daemon.kill();
        // What descends from it ends by itself, and works in the state directory until then.
        eventually("its hosts end", || fleet.processes().is_empty().then_some(()));
    } else {
        fleet.daemon.signal(nix::sys::signal::Signal::SIGTERM);
        fleet.daemon.wait();
        // All of it, whatever the log has kept.
        let database = Connection::open(fleet.daemon.state_dir().join("fleet.db")).unwrap();
        database.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)").unwrap();
    }
    fleet
}

fn database(state: &Path) -> BTreeMap<&'static str, Vec<u8>> {
    let read = |name| (name, fs::read(state.join(name)).unwrap_or_default());
    // An empty log holds nothing: whether it is there makes no difference.
    let files = ["fleet.db", "fleet.db-wal"].map(read).into_iter();
    files.filter(|(_, bytes)| !bytes.is_empty()).collect()
}

fn put_back(state: &Path, files: &BTreeMap<&str, Vec<u8>>) {
    // It belongs to the log that it was made from.
    let _ = fs::remove_file(state.join("fleet.db-shm"));
    files.iter().for_each(|(name, bytes)| fs::write(state.join(name), bytes).unwrap());
}

/// Each damage stops the start, with words that say what to do; nothing is written; and with the files
/// put back as they were, everything is there.
fn assert_refused(fleet: Fleet, file: &'static str, damages: &[Damage]) {
    let state = fleet.daemon.state_dir();
    let whole = database(&state);
    for (name, damage) in damages {
        let mut damaged = whole.clone();
        damage(damaged.get_mut(file).unwrap());
        put_back(&state, &damaged);

        let failed = fleet.daemon.how().fails();

        assert_eq!(failed.code, Some(78), "{name}: {}", failed.stderr);
        assert!(failed.stderr.contains("is damaged: "), "{name}: {}", failed.stderr);
        assert!(failed.stderr.contains(" a backup"), "{name}: {}", failed.stderr);
        assert!(database(&state) == damaged, "{name}: it was overwritten");
    }
    put_back(&state, &whole);
    let fleet = fleet.restart();
    for name in NAMES {
        assert_eq!(fleet.show(name)["task"]["state"], "done");
        assert!(fleet.messages(name).contains("299"), "{name}");
    }
    fleet.ends_clean(&NAMES);
}

#[test]
fn a_damaged_database_stops_the_start_and_is_not_overwritten() {
    let fleet = left_behind(false);

    assert_refused(
        fleet,
        "fleet.db",
        &[
            ("garbage for a header", |file| file[..100].fill(0xa5)),
            ("its second half is missing", |file| file.truncate(file.len() / 2 / 4096 * 4096)),
            ("its end is missing", |file| file.truncate(file.len() - 100)),
            ("zeros for a page in the middle", |file| {
                let middle = file.len() / 2 / 4096 * 4096;
                file[middle..middle + 4096].fill(0);
            }),
        ],
    );
}

#[test]
fn a_damaged_log_of_the_database_stops_the_start_and_is_not_overwritten() {
    let fleet = left_behind(true);

    assert_refused(
        fleet,
        "fleet.db-wal",
        &[
            ("garbage for a header", |log| log[..32].fill(0xa5)),
            ("nothing but garbage", |log| log.fill(0xa5)),
            ("garbage for the first page", |log| log[32 + 24..32 + FRAME].fill(0xa5)),
            ("a bit in the middle", |log| {
                let middle = 32 + (log.len() - 32) / FRAME / 2 * FRAME;
                log[middle + 1000] ^= 1;
            }),
            ("zeros for some pages in the middle", |log| {
                let middle = 32 + (log.len() - 32) / FRAME / 2 * FRAME;
                log[middle..middle + 3 * FRAME].fill(0);
            }),
        ],
    );
}
