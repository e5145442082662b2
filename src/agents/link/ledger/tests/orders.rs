//! Every order in which a session, its host, the disk and kills can take turns, up to a size.

use std::{
    collections::{HashMap, hash_map::Entry as Known},
    hash::{DefaultHasher, Hash, Hasher},
};

use super::*;

/// How much happens besides what follows from it by itself.
#[derive(Clone, Copy)]
struct Size {
    lines: usize,
    orders: usize,
    kills: u64,
}

/// The smallest thing that one of them does.
#[derive(Debug, Clone, Copy)]
enum Turn {
    Says,
    Orders,
    /// As the daemon's task for a link: a step, a report that is due without one, a commit.
    Steps,
    Checkpoints,
    Commits,
    /// One line is written, or read.
    DaemonWrites,
    HostReads,
    HostWrites,
    DaemonReads,
    /// The daemon is killed, maybe in the middle of a line that it writes, and of one that it reads.
    Killed {
        half_written: bool,
        half_read: bool,
    },
}

const TURNS: [Turn; 13] = [
    Turn::Says,
    Turn::Orders,
    Turn::Steps,
    Turn::Checkpoints,
    Turn::Commits,
    Turn::DaemonWrites,
    Turn::HostReads,
    Turn::HostWrites,
    Turn::DaemonReads,
    Turn::Killed { half_written: false, half_read: false },
    Turn::Killed { half_written: true, half_read: false },
    Turn::Killed { half_written: false, half_read: true },
    Turn::Killed { half_written: true, half_read: true },
];

/// Most reports on their way, as in the daemon.
const MAX_FLYING: usize = 2;

impl World {
    /// The world after this turn; `None` if it is not the moment for it.
    fn after(&self, turn: Turn, size: Size) -> Option<Self> {
        let mut next = self.clone();
        let may_report = self.flying.len() < MAX_FLYING;
        let takes_place = match turn {
            Turn::Says => self.said < size.lines && next.did(&Move::Says),
            Turn::Orders => self.store.orders.len() < size.orders && next.did(&Move::Orders),
            Turn::Steps => {
                let ordered = self.store.orders.len() as u64 > self.obeyed;
                may_report && (ordered || !self.heard.is_empty()) && next.did(&Move::Steps)
            }
            Turn::Checkpoints => {
                let due = may_report && self.ledger.is_due();
                if due {
                    let (checkpoint, flight) = next.ledger.checkpoint();
                    next.flying.push_back((Vec::new(), checkpoint, flight));
                }
                due
            }
            Turn::Commits => !self.flying.is_empty() && next.did(&Move::Commits),
            Turn::DaemonWrites => {
                next.ledger.transmit().map(|line| next.down.extend(line)).is_some()
            }
            Turn::HostWrites => next.host.transmit().map(|line| next.up.extend(line)).is_some(),
            Turn::HostReads => {
                let line = first_line(&mut next.down);
                next.reach_host(&line);
                !line.is_empty()
            }
            Turn::DaemonReads => {
                let line = first_line(&mut next.up);
                next.reach_daemon(&line);
                !line.is_empty()
            }
            Turn::Killed { half_written, half_read } => {
                self.epoch <= size.kills && {
                    let written = if half_written { next.ledger.transmit() } else { None };
                    let read = if half_read { first_line(&mut next.up) } else { Vec::new() };
                    let happens = written.is_some() == half_written && read.is_empty() != half_read;
                    let written = written.unwrap_or_default();
                    next.down.extend(&written[..written.len() / 2]);
                    next.up.splice(..0, read[read.len() / 2..].iter().copied());
                    happens && next.did(&Move::Killed)
                }
            }
        };
        takes_place.then_some(next)
    }

    fn did(&mut self, a_move: &Move) -> bool {
        self.take(a_move);
        true
    }

    /// What holds at any moment.
    fn check(&self) {
        let said: Vec<_> = (1..=self.store.log.len()).map(|n| format!("line {n}")).collect();
        assert_eq!(self.store.log, said, "each line once, and in order");
        let (kept, _) = self.host.unacknowledged();
        assert!(self.said - kept <= said.len(), "the host forgot what is not durable");
        assert!(self.store.orders.starts_with(&self.applied), "each order once, and in order");
        let obeyed = self.store.checkpoint.as_ref().map_or(0, |checkpoint| checkpoint.obeyed);
        assert!(self.applied.len() as u64 <= obeyed, "the host was told what is not durable");
    }

    /// What holds once nothing goes on by itself.
    fn check_rest(&self) {
        assert_eq!(self.store.log.len(), self.said, "a line waits for ever");
        assert_eq!(self.applied, self.store.orders, "an order waits for ever");
        assert_eq!(self.host.unacknowledged(), (0, 0), "an acknowledgement waits for ever");
        assert_eq!(self.ledger.unwritten(), 0, "an acknowledgement waits for ever");
    }

    fn fingerprint(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        format!("{self:?}").hash(&mut hasher);
        hasher.finish()
    }
}

/// With its end.
fn first_line(bytes: &mut Vec<u8>) -> Vec<u8> {
    let end = bytes.iter().position(|&byte| byte == b'\n').map_or(0, |end| end + 1);
    bytes.drain(..end).collect()
}

/// The worlds that were reached; whether all that follows from one is looked at.
type Reached = HashMap<u64, bool>;

fn explore(world: &World, size: Size, reached: &mut Reached) {
    let here = world.fingerprint();
    match reached.entry(here) {
        Known::Occupied(known) => return assert!(known.get(), "it goes round and round"),
        Known::Vacant(place) => place.insert(false),
    };
    world.check();
    let mut rests = true;
    for turn in TURNS {
        let Some(next) = world.after(turn, size) else { continue };
        rests &= matches!(turn, Turn::Says | Turn::Orders | Turn::Killed { .. });
        explore(&next, size, reached);
    }
    if rests {
        world.check_rest();
    }
    reached.insert(here, true);
}

#[test]
fn each_line_and_each_order_arrives_once_and_nothing_waits_for_ever_in_any_order_of_turns() {
    let size = match std::env::var_os("MODELS") {
        None => Size { lines: 1, orders: 1, kills: 2 },
        Some(_) => Size { lines: 2, orders: 2, kills: 2 },
    };
    let mut reached = Reached::new();
    explore(&World::open(), size, &mut reached);
    println!("{} worlds", reached.len());
}
