//! Hosts that outlive daemons, and the daemon's ends of their sessions, as the port promises them.

use std::collections::{BTreeMap, VecDeque};

use super::*;
use crate::app::ports::sessions::Checkpoint;

#[derive(Default)]
pub(super) struct Hosts(Mutex<State>);

#[derive(Default)]
struct State {
    hosts: BTreeMap<AgentId, Host>,
    sessions: BTreeMap<AgentId, Session>,
    /// What is in checkpoints.
    saved: Vec<Saved>,
    names: BTreeMap<AgentId, String>,
    said: BTreeMap<AgentId, Vec<String>>,
}

/// What lives on.
#[derive(Default)]
struct Host {
    in_turn: bool,
    /// How many orders it has, and all that it told.
    applied: u64,
    told: Vec<Item>,
    /// How much of that it has forgotten.
    forgotten: usize,
}

enum Item {
    Said(String),
    TurnEnded(Outcome),
}

/// What the next daemon has to know of a session.
#[derive(Clone)]
struct Saved {
    heard: usize,
    outbox: Vec<(u64, Order)>,
}

/// Most reports on their way, as in the daemon.
const MAX_FLYING: usize = 2;

/// What goes with the daemon.
struct Session {
    agent: AgentId,
    orders: mpsc::Receiver<Order>,
    reports: mpsc::Sender<Report>,
    phase: Phase,
    obeyed: u64,
    now: Saved,
    /// Reports on their way, with what holds once they are durable.
    flying: VecDeque<(oneshot::Receiver<()>, Saved)>,
}

#[derive(PartialEq)]
enum Phase {
    Opening,
    Open,
    /// It was hung up on.
    Ending,
}

impl Hosts {
    pub(super) fn says(&self, name: &str) {
        self.tell(name, false);
    }

    pub(super) fn finishes(&self, name: &str) {
        self.tell(name, true);
    }

    fn tell(&self, name: &str, ends: bool) {
        let mut state = self.0.lock().unwrap();
        let State { hosts, names, said, .. } = &mut *state;
        let host = hosts.iter_mut().find(|(id, host)| names[id] == name && host.in_turn);
        let Some((id, host)) = host else { return };
        if ends {
            host.in_turn = false;
            return host.told.push(Item::TurnEnded(Outcome::Done));
        }
        let said = said.entry(*id).or_default();
        said.push(format!("line {}", said.len()));
        host.told.extend(said.last().cloned().map(Item::Said));
    }

    /// Everything that an agent ever said.
    pub(super) fn said(&self, agent: AgentId) -> Vec<String> {
        self.0.lock().unwrap().said.get(&agent).cloned().unwrap_or_default()
    }

    pub(super) fn steps(&self, name: &str, disk: &Disk) {
        let mut state = self.0.lock().unwrap();
        let ids: Vec<_> =
            state.sessions.keys().filter(|id| state.names[id] == name).copied().collect();
        for id in ids {
            state.step(id, disk);
        }
    }

    /// The daemon is gone.
    pub(super) fn are_left(&self) {
        self.0.lock().unwrap().sessions.clear();
    }

    pub(super) fn check_rest(&self) {
        let state = self.0.lock().unwrap();
        for (id, host) in &state.hosts {
            assert!(!host.in_turn, "agent {id:?} is in a turn that nobody knows of");
            assert_eq!(host.forgotten, host.told.len(), "an acknowledgement waits for ever");
        }
        assert!(state.hosts.keys().eq(state.sessions.keys()), "a host that nobody speaks with");
    }
}

impl State {
    fn open(&mut self, agent: AgentId, reports: mpsc::Sender<Report>) -> mpsc::Sender<Order> {
        let now = Saved { heard: 0, outbox: Vec::new() };
        self.begin(agent, reports, Phase::Opening, 0, now)
    }

    fn begin(
        &mut self,
        agent: AgentId,
        reports: mpsc::Sender<Report>,
        phase: Phase,
        obeyed: u64,
        now: Saved,
    ) -> mpsc::Sender<Order> {
        let (line, orders) = mpsc::channel(64);
        let flying = VecDeque::new();
        let session = Session { agent, orders, reports, phase, obeyed, now, flying };
        assert!(self.sessions.insert(agent, session).is_none(), "two sessions of one agent");
        line
    }

    /// The daemon's end of a session hears what is durable, takes what there is, and reports it.
    fn step(&mut self, id: AgentId, disk: &Disk) {
        let Some(mut session) = self.sessions.remove(&id) else { return };
        let host = self.hosts.get_mut(&id).expect("it goes with its session");
        session.land(|durable| host.hear(id, durable, disk));
        if session.phase == Phase::Ending {
            self.hosts.remove(&id);
            return session.report(vec![News::Ended(Cause::Closed)], None);
        }
        if session.flying.len() == MAX_FLYING {
            self.sessions.insert(id, session);
            return;
        }
        let mut news = Vec::new();
        if session.phase == Phase::Opening {
            session.phase = Phase::Open;
            news.push(News::Opened { session: None });
        }
        let before = session.obeyed;
        let ends = session.obey();
        session.now.outbox.retain(|(number, _)| *number > host.applied);
        news.extend(host.told[session.now.heard..].iter().map(Item::news));
        session.now.heard = host.told.len();
        if ends {
            self.hosts.remove(&id);
            news.push(News::Ended(Cause::Closed));
            return session.report(news, None);
        }
        if !news.is_empty() || session.obeyed > before {
            let state = self.saved.len().to_be_bytes().to_vec();
            self.saved.push(session.now.clone());
            session.report(news, Some(Checkpoint { obeyed: session.obeyed, state }));
        }
        self.sessions.insert(id, session);
    }
}

impl Session {
    /// Reports that have become durable.
    fn land(&mut self, mut hear: impl FnMut(&Saved)) {
        while let Some((receipt, durable)) = self.flying.front_mut() {
            match receipt.try_recv() {
                Ok(()) => hear(durable),
                Err(oneshot::error::TryRecvError::Empty) => return,
                Err(oneshot::error::TryRecvError::Closed) => panic!("a report was dropped"),
            }
            self.flying.pop_front();
        }
    }

    /// Takes all orders. Whether it is to end.
    fn obey(&mut self) -> bool {
        loop {
            match self.orders.try_recv() {
                Ok(order) if order.is_counted() => {
                    self.obeyed += 1;
                    self.now.outbox.push((self.obeyed, order));
                }
                Err(mpsc::error::TryRecvError::Empty) => return false,
                // The line is dropped, or it is told to close.
                Ok(_) | Err(mpsc::error::TryRecvError::Disconnected) => return true,
            }
        }
    }

    fn report(&mut self, news: Vec<News>, checkpoint: Option<Checkpoint>) {
        let (receipt, durable) = oneshot::channel();
        let agent = self.agent;
        let report = Report { agent, news, checkpoint, receipt: Some(receipt) };
        self.reports.try_send(report).expect("there is room");
        self.flying.push_back((durable, self.now.clone()));
    }
}

impl Item {
    fn news(&self) -> News {
        match self {
            Self::Said(line) => {
                let (kind, content) = (EntryKind::Message, line.clone());
                News::Said(Entry { kind, content, joins: false })
            }
            Self::TurnEnded(outcome) => News::TurnEnded(outcome.clone()),
        }
    }
}

impl Host {
    /// What holds is durable: it is told the orders, and may forget what it told.
    fn hear(&mut self, id: AgentId, durable: &Saved, disk: &Disk) {
        for item in &self.told[self.forgotten..durable.heard.max(self.forgotten)] {
            if let Item::Said(line) = item {
                assert!(disk.log(id).contains(line), "acknowledged, but not durable");
            }
        }
        self.forgotten = self.forgotten.max(durable.heard);
        for (number, order) in &durable.outbox {
            if *number > self.applied {
                assert_eq!(*number, self.applied + 1, "an order is missing");
                self.applied = *number;
                self.obey(order);
            }
        }
    }

    fn obey(&mut self, order: &Order) {
        match order {
            Order::Prompt { .. } => {
                assert!(!self.in_turn, "a prompt in the middle of a turn");
                self.in_turn = true;
            }
            Order::Cancel if self.in_turn => {
                self.in_turn = false;
                self.told.push(Item::TurnEnded(Outcome::Canceled));
            }
            _ => {}
        }
    }
}

impl Sessions for Hosts {
    fn open(&self, spec: SessionSpec, reports: mpsc::Sender<Report>) -> mpsc::Sender<Order> {
        let mut state = self.0.lock().unwrap();
        let former = state.hosts.insert(spec.agent, Host::default());
        assert!(former.is_none(), "two hosts of one agent");
        state.names.insert(spec.agent, spec.name.to_string());
        state.open(spec.agent, reports)
    }

    fn publish(&self, _: Whose, _: mpsc::Sender<Report>) -> mpsc::Sender<Order> {
        unreachable!("nobody asks for it")
    }

    fn remove(&self, whose: Whose, reports: mpsc::Sender<Report>) {
        reports.try_send(Report::of(whose.agent, News::Ended(Cause::Closed))).unwrap();
    }

    fn outlive(&self) -> bool {
        true
    }

    fn retake(&self, agent: AgentId, how: Retake, reports: mpsc::Sender<Report>) -> Retaken {
        let mut state = self.0.lock().unwrap();
        if !state.hosts.contains_key(&agent) {
            return Retaken::Gone;
        }
        match how {
            Retake::GoOn(_, Checkpoint { obeyed, state: saved }) => {
                let saved = usize::from_be_bytes(saved.try_into().unwrap());
                let saved = state.saved[saved].clone();
                let line = state.begin(agent, reports, Phase::Open, obeyed, saved.clone());
                // It is durable, so the host is told all of it at once.
                let (receipt, durable) = oneshot::channel();
                receipt.send(()).unwrap();
                let session = state.sessions.get_mut(&agent).unwrap();
                session.flying.push_back((durable, saved));
                Retaken::GoesOn(line)
            }
            Retake::HangUp => {
                let now = Saved { heard: 0, outbox: Vec::new() };
                state.begin(agent, reports, Phase::Ending, 0, now);
                Retaken::Ends
            }
        }
    }

    fn release_rest(&self) {}

    fn let_go(&self) {}
}
