//! A session whose daemon is killed anywhere: what its program says, and what it is told.

mod orders;

use proptest::prelude::*;

use super::*;
use crate::{
    agents::host::frames::Splitter,
    fleet::{Entry, EntryKind},
};

#[derive(Debug, Clone)]
enum Move {
    /// The program writes a line.
    Says,
    /// Somebody orders something: the driver has a line for the program.
    Orders,
    /// The driver takes what was heard and ordered, all of it.
    Steps,
    /// The oldest report becomes durable.
    Commits,
    /// So many bytes go each way.
    Moves(usize, usize),
    /// The daemon is killed; the next one finds the connection.
    Killed,
}

fn any_move() -> impl Strategy<Value = Move> {
    prop_oneof![
        4 => Just(Move::Says),
        2 => Just(Move::Orders),
        4 => Just(Move::Steps),
        4 => Just(Move::Commits),
        8 => (1..300_usize, 1..300_usize).prop_map(|(down, up)| Move::Moves(down, up)),
        2 => Just(Move::Killed),
    ]
}

/// What is durable.
#[derive(Debug, Default, Clone)]
struct Store {
    checkpoint: Option<Checkpoint>,
    log: Vec<String>,
    orders: Vec<String>,
}

#[derive(Debug, Clone)]
struct World {
    host: exchange::End<FromHost, ToHost>,
    ledger: Ledger,
    store: Store,
    /// At the daemon: heard and not stepped for.
    heard: Vec<(u64, String)>,
    /// Reports on their way: what they say, their checkpoint and their flight.
    flying: std::collections::VecDeque<(Vec<String>, Option<Checkpoint>, Flight)>,
    obeyed: u64,
    last: u64,
    down: Vec<u8>,
    up: Vec<u8>,
    splitters: [Splitter; 2],
    epoch: u64,
    said: usize,
    applied: Vec<String>,
}

fn program() -> Start {
    let environment = vec![("KEY".to_owned(), "a secret".to_owned())];
    Start { program: "p".into(), arguments: Vec::new(), environment }
}

fn text(news: &[News]) -> Vec<String> {
    let said = news.iter().map(|news| match news {
        News::Said(entry) => entry.content.clone(),
        news => format!("{news:?}"),
    });
    said.collect()
}

impl World {
    /// An open session, which is what is durable of it.
    fn open() -> Self {
        let mut world = Self {
            host: exchange::End::host(1, 9),
            ledger: Ledger::new(1, true),
            store: Store::default(),
            heard: Vec::new(),
            flying: std::collections::VecDeque::new(),
            obeyed: 0,
            last: 0,
            down: Vec::new(),
            up: Vec::new(),
            splitters: Default::default(),
            epoch: 1,
            said: 0,
            applied: Vec::new(),
        };
        world.ledger.set_program(program());
        world.take(&Move::Moves(1_000, 1_000));
        world.take(&Move::Moves(1_000, 1_000));
        world.take(&Move::Steps);
        world.take(&Move::Commits);
        assert!(world.store.checkpoint.is_some());
        world
    }

    fn take(&mut self, a_move: &Move) {
        match a_move {
            Move::Says => {
                self.said += 1;
                let data = format!("line {}", self.said);
                self.host.push(&FromHost::Out { err: false, data, more: false, cut: false });
            }
            Move::Orders => self.store.orders.push(format!("order {}", self.store.orders.len())),
            Move::Steps => {
                let news = self.heard.drain(..).map(|(number, content)| {
                    self.last = number;
                    News::Said(Entry { kind: EntryKind::Message, content, joins: false })
                });
                let news = news.collect();
                let due = self.store.orders.iter().skip(usize::try_from(self.obeyed).unwrap());
                let says: Vec<_> = due.cloned().map(Say::Line).collect();
                self.obeyed += says.len() as u64;
                let state = Some(format!("{{\"obeyed\":{}}}", self.obeyed));
                let step = Step { news, says, heard: self.last, obeyed: self.obeyed, state };
                let (news, checkpoint, flight) = self.ledger.step(step);
                self.flying.push_back((text(&news), checkpoint, flight));
            }
            Move::Commits => {
                if let Some((said, checkpoint, flight)) = self.flying.pop_front() {
                    self.store.log.extend(said);
                    if checkpoint.is_some() {
                        self.store.checkpoint = checkpoint;
                    }
                    self.ledger.durable(flight, true);
                }
            }
            Move::Moves(down, up) => {
                while let Some(line) = self.ledger.transmit() {
                    self.down.extend(line);
                }
                while let Some(line) = self.host.transmit() {
                    self.up.extend(line);
                }
                let came: Vec<u8> = self.down.drain(..(*down).min(self.down.len())).collect();
                self.reach_host(&came);
                let came: Vec<u8> = self.up.drain(..(*up).min(self.up.len())).collect();
                self.reach_daemon(&came);
            }
            Move::Killed => {
                self.epoch += 1;
                let checkpoint = self.store.checkpoint.clone().unwrap();
                let (ledger, from) = Ledger::restore(self.epoch, &checkpoint, program()).unwrap();
                assert_eq!(from.state, format!("{{\"obeyed\":{}}}", from.obeyed));
                self.ledger = ledger;
                (self.obeyed, self.last) = (from.obeyed, from.heard);
                self.heard.clear();
                self.flying.clear();
                // What it had read and not understood is gone.
                self.splitters[1] = Splitter::default();
            }
        }
    }

    fn reach_host(&mut self, came: &[u8]) {
        let (host, applied) = (&mut self.host, &mut self.applied);
        self.splitters[0].push(came, |line| {
            if let Some((number, item)) = host.receive(line).unwrap() {
                if let ToHost::Line { data, .. } = item {
                    applied.push(data);
                }
                host.done(number);
            }
        });
    }

    fn reach_daemon(&mut self, came: &[u8]) {
        let (ledger, heard) = (&mut self.ledger, &mut self.heard);
        self.splitters[1].push(came, |line| {
            if let Some((number, FromHost::Out { data, .. })) = ledger.receive(line).unwrap() {
                heard.push((number, data));
            }
        });
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn each_line_is_heard_once_and_each_order_applied_once_wherever_the_daemon_is_killed(
        moves in prop::collection::vec(any_move(), 1..200)
    ) {
        let mut world = World::open();

        for a_move in &moves {
            world.take(a_move);
        }
        for _ in 0..20 {
            for a_move in [Move::Moves(9_999, 9_999), Move::Steps, Move::Commits, Move::Commits] {
                world.take(&a_move);
            }
            while !world.flying.is_empty() {
                world.take(&Move::Commits);
            }
        }

        let said: Vec<_> = (1..=world.said).map(|n| format!("line {n}")).collect();
        prop_assert_eq!(&world.store.log, &said);
        prop_assert_eq!(&world.applied, &world.store.orders);
        prop_assert_eq!(world.host.unacknowledged(), (0, 0));
    }
}

#[test]
fn a_checkpoint_holds_no_secret_and_what_is_started_after_it_has_them() {
    let mut world = World::open();
    let says = vec![Say::Start(vec!["x".to_owned()])];
    let step = Step { says, state: Some("{}".to_owned()), ..Step::default() };

    let (_, checkpoint, _) = world.ledger.step(step);
    let checkpoint = checkpoint.unwrap();
    let (mut next, _) = Ledger::restore(2, &checkpoint, program()).unwrap();
    let hello = br#"{"hello":{"version":1,"epoch":2,"have":0,"pid":1,"host":9}}"#;
    next.receive(hello).unwrap();
    let told: Vec<u8> = std::iter::from_fn(|| next.transmit()).flatten().collect();

    assert!(!String::from_utf8(checkpoint.state).unwrap().contains("secret"));
    assert!(String::from_utf8(told).unwrap().contains("a secret"));
}
