//! One end of the conversation between the daemon and an agent host, as a pure state machine.
//!
//! Items are numbered and kept until the other end acknowledges them. Whatever happens to the stream
//! or to the daemon in between, each item arrives once and in order: after each `hello` all that the
//! other end does not have is sent again, and what it has already is dropped by number.

use std::{
    collections::{BTreeSet, VecDeque},
    marker::PhantomData,
};

use serde::{Serialize, de::DeserializeOwned};

use super::frames::{Frame, Hello, VERSION, decode, encode};

/// Why a conversation can't go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    /// The other end speaks another version.
    #[error("the other end speaks version {0} of the agent host's protocol, this one {VERSION}")]
    Version(u32),
    /// An item is missing.
    #[error("item {got} came after item {had}")]
    Gap {
        /// The newest before it.
        had: u64,
        /// What came.
        got: u64,
    },
}

/// Which end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Daemon { epoch: u64 },
    Host { epoch: u64, pid: u32 },
}

/// An end that sends `Out` and receives `In`.
#[derive(Debug)]
pub struct End<Out, In> {
    side: Side,
    outbox: Outbox,
    received: u64,
    /// Dealt with, without a gap.
    done: u64,
    /// Dealt with, after a gap.
    done_early: BTreeSet<u64>,
    /// The other end has said hello.
    greeted: bool,
    hello_due: bool,
    ack_due: bool,
    items: PhantomData<(Out, In)>,
}

/// What was pushed and is not acknowledged, encoded.
#[derive(Debug, Default)]
struct Outbox {
    kept: VecDeque<Vec<u8>>,
    bytes: usize,
    /// The number of the newest item that was pushed.
    last: u64,
    /// The number of the newest item that was handed to the stream.
    sent: u64,
}

impl<Out: Serialize, In: DeserializeOwned> End<Out, In> {
    /// The host's end.
    pub fn host(pid: u32) -> Self {
        Self::new(Side::Host { epoch: 0, pid }, 0)
    }

    /// The daemon's end, on a stream that is new, or that another daemon has used before.
    ///
    /// `epoch` must differ from that of each earlier daemon on this stream. `have` is the newest
    /// item that is durable here. Items that may not have arrived are to be pushed again, in order,
    /// after [`End::renumber`].
    pub fn daemon(epoch: u64, have: u64) -> Self {
        let mut end = Self::new(Side::Daemon { epoch }, have);
        end.hello_due = true;
        end
    }

    fn new(side: Side, have: u64) -> Self {
        Self {
            side,
            outbox: Outbox::default(),
            received: have,
            done: have,
            done_early: BTreeSet::new(),
            greeted: false,
            hello_due: false,
            ack_due: false,
            items: PhantomData,
        }
    }

    /// The next item pushed will have the number after `last`.
    pub fn renumber(&mut self, last: u64) {
        self.outbox.last = last;
        self.outbox.sent = last;
    }

    /// The stream was lost; another one follows.
    pub fn disconnected(&mut self, epoch: u64) {
        self.greeted = false;
        self.ack_due = false;
        if let Side::Daemon { epoch: current } = &mut self.side {
            *current = epoch;
            self.hello_due = true;
        }
    }

    /// Keeps an item and sends it as soon as it can be. Answers its number.
    pub fn push(&mut self, item: &Out) -> u64 {
        let number = self.outbox.last + 1;
        let line = encode(&Frame::Item(number, item));
        self.outbox.bytes += line.len();
        self.outbox.kept.push_back(line);
        self.outbox.last = number;
        number
    }

    /// How many items are not acknowledged, and their bytes.
    pub fn unacknowledged(&self) -> (usize, usize) {
        (self.outbox.kept.len(), self.outbox.bytes)
    }

    /// Whether the other end has said hello on this stream.
    pub fn is_greeted(&self) -> bool {
        self.greeted
    }

    /// Takes a line from the stream. Answers an item that was not here before, with its number.
    ///
    /// # Errors
    /// When the conversation can't go on.
    pub fn receive(&mut self, line: &[u8]) -> Result<Option<(u64, In)>, Broken> {
        match decode(line) {
            None => Ok(None),
            Some(Frame::Hello(hello)) => self.greet(&hello).map(|()| None),
            // Meant for the daemon that was here before.
            Some(_) if !self.greeted => Ok(None),
            Some(Frame::Ack(number)) => {
                self.outbox.acknowledged(number);
                Ok(None)
            }
            Some(Frame::Item(number, item)) => self.accept(number, item),
        }
    }

    fn greet(&mut self, hello: &Hello) -> Result<(), Broken> {
        if hello.version != VERSION {
            return Err(Broken::Version(hello.version));
        }
        match &mut self.side {
            Side::Daemon { epoch } if *epoch != hello.epoch => return Ok(()),
            // What the host has is safe: it lives as long as the agent.
            Side::Daemon { .. } => self.outbox.acknowledged(hello.have),
            Side::Host { epoch, .. } => {
                *epoch = hello.epoch;
                self.hello_due = true;
            }
        }
        self.greeted = true;
        self.ack_due = true;
        self.outbox.send_after(hello.have);
        Ok(())
    }

    fn accept(&mut self, number: u64, item: In) -> Result<Option<(u64, In)>, Broken> {
        if number <= self.received {
            self.ack_due = true;
            return Ok(None);
        }
        if number != self.received + 1 {
            return Err(Broken::Gap { had: self.received, got: number });
        }
        self.received = number;
        Ok(Some((number, item)))
    }

    /// An item that was received is dealt with: durable, or applied. It is acknowledged once all
    /// before it are, too.
    pub fn done(&mut self, number: u64) {
        self.done_early.insert(number);
        while self.done_early.remove(&(self.done + 1)) {
            self.done += 1;
            self.ack_due = true;
        }
    }

    /// The next bytes to write, whole lines, or `None` if there is nothing to say.
    pub fn transmit(&mut self) -> Option<Vec<u8>> {
        if self.hello_due {
            self.hello_due = false;
            return Some(self.hello());
        }
        if !self.greeted {
            return None;
        }
        if self.ack_due {
            self.ack_due = false;
            return Some(encode::<Out>(&Frame::Ack(self.done)));
        }
        self.outbox.next()
    }

    fn hello(&self) -> Vec<u8> {
        let (epoch, pid) = match self.side {
            Side::Daemon { epoch } => (epoch, None),
            Side::Host { epoch, pid } => (epoch, Some(pid)),
        };
        let hello = Hello { version: VERSION, epoch, have: self.received, pid };
        // The line end before it finishes what a daemon before us may have left half-written.
        let mut line = if pid.is_none() { vec![b'\n'] } else { Vec::new() };
        line.extend(encode::<Out>(&Frame::Hello(hello)));
        line
    }
}

impl Outbox {
    fn first(&self) -> u64 {
        self.last + 1 - self.kept.len() as u64
    }

    fn acknowledged(&mut self, number: u64) {
        while self.first() <= number
            && let Some(line) = self.kept.pop_front()
        {
            self.bytes -= line.len();
        }
        // A daemon that has forgotten what it had sent goes on behind it.
        if self.kept.is_empty() && self.last < number {
            self.last = number;
        }
        if self.kept.is_empty() {
            self.kept.shrink_to(16);
        }
        self.sent = self.sent.max(number.min(self.last));
    }

    fn send_after(&mut self, number: u64) {
        self.sent = number.clamp(self.first() - 1, self.last);
    }

    fn next(&mut self) -> Option<Vec<u8>> {
        let index = usize::try_from(self.sent + 1 - self.first()).ok()?;
        let line = self.kept.get(index)?.clone();
        self.sent += 1;
        Some(line)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::frames::Splitter;
    use super::*;

    type HostEnd = End<String, String>;
    type DaemonEnd = End<String, String>;

    #[derive(Debug, Clone)]
    enum Step {
        /// The agent writes a line.
        AgentSays,
        /// The daemon has something for the agent, and has written it down.
        DaemonSays,
        /// This many bytes go from the daemon to the host.
        Down(usize),
        /// This many bytes go from the host to the daemon.
        Up(usize),
        /// The daemon commits its oldest uncommitted item.
        Commit,
        /// The daemon is killed; the next finds the same stream.
        Restart,
        /// The stream breaks; the daemon connects anew.
        Reconnect,
        /// The daemon is killed, and the stream with it.
        RestartReconnect,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => Just(Step::AgentSays),
            3 => Just(Step::DaemonSays),
            8 => (1..200_usize).prop_map(Step::Down),
            8 => (1..200_usize).prop_map(Step::Up),
            4 => Just(Step::Commit),
            1 => Just(Step::Restart),
            1 => Just(Step::Reconnect),
            1 => Just(Step::RestartReconnect),
        ]
    }

    /// Both ends, the stream between them, and what each has on its disk or has done for good.
    struct World {
        host: HostEnd,
        host_splitter: Splitter,
        host_writes: Vec<u8>,
        daemon: DaemonEnd,
        daemon_splitter: Splitter,
        daemon_writes: Vec<u8>,
        down: Vec<u8>,
        up: Vec<u8>,
        epoch: u64,
        /// Durable at the daemon.
        committed: Vec<String>,
        /// At the daemon, not durable yet.
        heard: VecDeque<(u64, String)>,
        /// Durable at the daemon: what it has to say.
        wanted: Vec<String>,
        said: usize,
        applied: Vec<String>,
    }

    impl World {
        fn new() -> Self {
            Self {
                host: End::host(1),
                host_splitter: Splitter::default(),
                host_writes: Vec::new(),
                daemon: End::daemon(1, 0),
                daemon_splitter: Splitter::default(),
                daemon_writes: Vec::new(),
                down: Vec::new(),
                up: Vec::new(),
                epoch: 1,
                committed: Vec::new(),
                heard: VecDeque::new(),
                wanted: Vec::new(),
                said: 0,
                applied: Vec::new(),
            }
        }

        fn take(&mut self, step: &Step) {
            match step {
                Step::AgentSays => {
                    self.said += 1;
                    self.host.push(&format!("agent {}\n{{\"ack\":9}}", self.said));
                }
                Step::DaemonSays => {
                    let text = format!("daemon {}", self.wanted.len() + 1);
                    self.daemon.push(&text);
                    self.wanted.push(text);
                }
                Step::Down(bytes) => {
                    fill(&mut self.daemon_writes, &mut self.down, *bytes, || {
                        self.daemon.transmit()
                    });
                    let came = drain(&mut self.down, *bytes);
                    let mut lines = Vec::new();
                    self.host_splitter.push(&came, |line| lines.push(line.to_vec()));
                    for line in lines {
                        if let Some((n, item)) = self.host.receive(&line).unwrap() {
                            self.applied.push(item);
                            self.host.done(n);
                        }
                    }
                }
                Step::Up(bytes) => {
                    fill(&mut self.host_writes, &mut self.up, *bytes, || self.host.transmit());
                    let came = drain(&mut self.up, *bytes);
                    let mut lines = Vec::new();
                    self.daemon_splitter.push(&came, |line| lines.push(line.to_vec()));
                    for line in lines {
                        self.heard.extend(self.daemon.receive(&line).unwrap());
                    }
                }
                Step::Commit => {
                    if let Some((n, item)) = self.heard.pop_front() {
                        self.committed.push(item);
                        self.daemon.done(n);
                    }
                }
                Step::Restart => self.new_daemon(),
                Step::Reconnect => {
                    self.epoch += 1;
                    self.daemon.disconnected(self.epoch);
                    self.new_stream();
                }
                Step::RestartReconnect => {
                    self.new_daemon();
                    self.new_stream();
                }
            }
        }

        fn new_daemon(&mut self) {
            self.epoch += 1;
            self.daemon = End::daemon(self.epoch, self.committed.len() as u64);
            for text in &self.wanted {
                self.daemon.push(text);
            }
            // What it had read but not understood is gone, and so is what it had not written.
            self.daemon_splitter = Splitter::default();
            self.daemon_writes.clear();
            self.heard.clear();
        }

        fn new_stream(&mut self) {
            self.host.disconnected(0);
            self.host_splitter = Splitter::default();
            self.daemon_splitter = Splitter::default();
            for bytes in
                [&mut self.down, &mut self.up, &mut self.host_writes, &mut self.daemon_writes]
            {
                bytes.clear();
            }
        }

        fn settle(&mut self) {
            for _ in 0..10_000 {
                for step in [Step::Down(1000), Step::Up(1000), Step::Commit] {
                    self.take(&step);
                }
                let kept = (self.host.unacknowledged(), self.daemon.unacknowledged());
                if self.committed.len() == self.said && kept == ((0, 0), (0, 0)) {
                    return;
                }
            }
            panic!("the ends do not come to rest");
        }
    }

    /// Writes at most so many bytes: a writer may be cut off anywhere.
    fn fill(
        writes: &mut Vec<u8>,
        stream: &mut Vec<u8>,
        bytes: usize,
        mut next: impl FnMut() -> Option<Vec<u8>>,
    ) {
        while writes.len() < bytes
            && let Some(more) = next()
        {
            writes.extend(more);
        }
        stream.extend(drain(writes, bytes));
    }

    fn drain(bytes: &mut Vec<u8>, most: usize) -> Vec<u8> {
        bytes.drain(..most.min(bytes.len())).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn each_item_arrives_once_and_in_order_wherever_the_stream_or_the_daemon_is_cut(
            steps in prop::collection::vec(step(), 1..200)
        ) {
            let mut world = World::new();

            for step in &steps {
                world.take(step);
            }
            world.settle();

            let said: Vec<_> =
                (1..=world.said).map(|n| format!("agent {n}\n{{\"ack\":9}}")).collect();
            prop_assert_eq!(&world.committed, &said);
            prop_assert_eq!(&world.applied, &world.wanted);
        }

        #[test]
        fn noise_is_no_frame(noise in prop::collection::vec(any::<u8>(), 0..200)) {
            let mut host = HostEnd::host(1);

            let mut splitter = Splitter::default();
            splitter.push(&noise, |line| assert_eq!(host.receive(line), Ok(None)));
        }
    }

    fn greeted() -> HostEnd {
        let mut host = HostEnd::host(1);
        host.receive(br#"{"hello":{"version":1,"epoch":7,"have":0}}"#).unwrap();
        host
    }

    #[test]
    fn acknowledgements_wait_for_the_items_before() {
        let mut host = greeted();
        host.transmit();
        host.transmit();
        for line in [br#"{"item":[1,"a"]}"#, br#"{"item":[2,"b"]}"#] {
            assert!(host.receive(line).unwrap().is_some());
        }

        host.done(2);
        assert_eq!(host.transmit(), None);
        host.done(1);

        assert_eq!(host.transmit().unwrap(), b"{\"ack\":2}\n");
    }

    #[test]
    fn another_version_or_a_gap_ends_the_conversation() {
        let hello = br#"{"hello":{"version":2,"epoch":7,"have":0}}"#;

        assert_eq!(HostEnd::host(1).receive(hello), Err(Broken::Version(2)));
        let gap = Err(Broken::Gap { had: 0, got: 3 });
        assert_eq!(greeted().receive(br#"{"item":[3,"c"]}"#), gap);
    }

    #[test]
    fn a_daemon_that_has_forgotten_what_it_sent_goes_on_behind_it() {
        let mut daemon = DaemonEnd::daemon(7, 0);

        daemon.receive(br#"{"hello":{"version":1,"epoch":7,"have":5,"pid":1}}"#).unwrap();

        assert_eq!(daemon.push(&"next".to_owned()), 6);
    }
}
