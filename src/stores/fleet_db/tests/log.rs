//! The log beside the database: what crashes leave of it is taken up, damage is told.

use std::{fs, path::Path};

use tempfile::TempDir;

use super::{
    super::FleetDb,
    support::{agent, append, commit, create, everything, home, put},
};
use crate::app::ports::fleet_store::Change;

/// The database and its log, as a kill leaves them.
#[derive(Clone, PartialEq)]
struct Files {
    database: Vec<u8>,
    log: Vec<u8>,
}

impl Files {
    fn of(dir: &Path) -> Self {
        let read = |name| fs::read(dir.join(name)).unwrap();
        Self { database: read("fleet.db"), log: read("fleet.db-wal") }
    }

    fn put(&self) -> TempDir {
        let home = home();
        fs::write(home.path().join("fleet.db"), &self.database).unwrap();
        fs::write(home.path().join("fleet.db-wal"), &self.log).unwrap();
        home
    }

    /// What they are after these changes, and another kill.
    fn after(&self, changes: Vec<Change>) -> Self {
        let home = self.put();
        let db = FleetDb::open(home.path()).unwrap();
        commit(&db, changes).unwrap();
        Self::of(home.path())
    }

    fn agents(&self) -> usize {
        everything(&FleetDb::open(self.put().path()).unwrap()).0.agents.len()
    }

    fn is_refused(&self) -> bool {
        let home = self.put();
        let opened = FleetDb::open(home.path());
        opened.is_err_and(|error| error.to_string().contains("fleet.db-wal` of the fleet's"))
            && *self == Self::of(home.path())
    }
}

/// With one agent, and nothing brought into the database itself.
fn one_agent() -> Files {
    let home = home();
    let db = FleetDb::open(home.path()).unwrap();
    create(&db, 1);
    Files::of(home.path())
}

#[test]
fn a_log_that_was_broken_off_is_taken_up_to_there() {
    let before = one_agent();
    let after = before.after(vec![put(agent(2))]);

    for missing in 1..after.log.len() - before.log.len() {
        if missing % 997 == 1 {
            let mut torn = after.clone();
            torn.log.truncate(after.log.len() - missing);
            assert_eq!(torn.agents(), 1, "{missing}");
            torn.log.resize(after.log.len(), 0);
            assert_eq!(torn.agents(), 1, "{missing}, and zeros for it");
        }
    }
    assert_eq!(after.agents(), 2);
}

/// A disk that fails to sync leaves what was refused then, until something is written over it.
#[test]
fn what_was_refused_earlier_is_no_damage() {
    let before = one_agent();
    let long = |length: usize| (0..length).map(|_| append(1, &"x".repeat(4000))).collect();
    let [longest, long] = [40, 20].map(|length| before.after(long(length)));
    let after = before.after(vec![put(agent(2))]);
    assert!(after.log.len() < long.log.len() && long.log.len() < longest.log.len());

    let mut left = after.clone();
    left.log.extend(&long.log[after.log.len()..]);
    left.log.extend(&longest.log[long.log.len()..]);

    assert_eq!(left.agents(), 2);
}

#[test]
fn damage_before_what_was_committed_is_refused_untouched() {
    let one = one_agent();
    let whole = (2..6).fold(one.clone(), |files, number| files.after(vec![put(agent(number))]));
    assert_eq!(whole.agents(), 5);

    for at in (0..one.log.len()).step_by(509) {
        let mut damaged = whole.clone();
        damaged.log[at] ^= 0x10;
        assert!(damaged.is_refused(), "byte {at}");
    }
}
