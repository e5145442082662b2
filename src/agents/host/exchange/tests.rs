//! The two ends, cut off anywhere.

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
            host: End::host(1, 9),
            host_splitter: Splitter::default(),
            host_writes: Vec::new(),
            daemon: End::daemon(1),
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
                fill(&mut self.daemon_writes, &mut self.down, *bytes, || self.daemon.transmit());
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
        // Nothing is known of what the host has acknowledged.
        let mark = Mark { have: self.committed.len() as u64, pushed: 0 };
        self.daemon = End::resumed(self.epoch, 9, mark);
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
        for bytes in [&mut self.down, &mut self.up, &mut self.host_writes, &mut self.daemon_writes]
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
        let mut host = HostEnd::host(1, 9);

        let mut splitter = Splitter::default();
        splitter.push(&noise, |line| assert_eq!(host.receive(line), Ok(None)));
    }
}

fn greeted() -> HostEnd {
    let mut host = HostEnd::host(1, 9);
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

    assert_eq!(HostEnd::host(1, 9).receive(hello), Err(Broken::Version(2)));
    let gap = Err(Broken::Gap { had: 0, got: 3 });
    assert_eq!(greeted().receive(br#"{"item":[3,"c"]}"#), gap);
}

fn hello(have: u64, host: u64) -> Vec<u8> {
    let hello = Hello { version: VERSION, epoch: 7, have, pid: Some(1), host: Some(host) };
    encode::<String>(&Frame::Hello(hello))
}

#[test]
fn a_conversation_is_resumed_with_its_own_host_only() {
    let resumed = || DaemonEnd::resumed(7, 9, Mark { have: 3, pushed: 5 });

    assert_eq!(resumed().receive(&hello(5, 9)), Ok(None));
    assert_eq!(resumed().receive(&hello(5, 8)), Err(Broken::Stranger));
    // One that has what it was never told, or lacks what it had acknowledged, is not the same.
    assert_eq!(resumed().receive(&hello(6, 9)), Err(Broken::Astray { have: 6 }));
    assert_eq!(resumed().receive(&hello(4, 9)), Err(Broken::Astray { have: 4 }));
}

#[test]
fn what_is_guarded_is_neither_sent_nor_acknowledged_before_it_is_durable() {
    let mut daemon = DaemonEnd::daemon(7);
    daemon.receive(&hello(0, 9)).unwrap();
    daemon.guard();
    daemon.push(&"a".to_owned());
    daemon.receive(br#"{"item":[1,"x"]}"#).unwrap();
    daemon.done(1);
    let mark = daemon.mark();
    daemon.push(&"b".to_owned());

    let mut before = Vec::new();
    while let Some(line) = daemon.transmit() {
        before.extend(line);
    }
    daemon.durable(mark);
    let mut after = Vec::new();
    while let Some(line) = daemon.transmit() {
        after.extend(line);
    }

    let before = String::from_utf8(before).unwrap();
    assert!(!before.contains("item") && !before.contains("{\"ack\":1}"), "{before}");
    assert_eq!(after, b"{\"ack\":1}\n{\"item\":[1,\"a\"]}\n");
}

#[test]
fn an_end_that_claims_what_there_can_not_be_is_heard_no_longer() {
    for line in [
        r#"{"hello":{"version":1,"epoch":1,"have":18446744073709551615}}"#,
        r#"{"ack":18446744073709551615}"#,
    ] {
        let mut daemon = DaemonEnd::daemon(1);
        daemon.push(&"one".to_owned());

        assert_eq!(daemon.receive(line.as_bytes()), Err(Broken::Claim(u64::MAX)), "{line}");

        assert_eq!(daemon.push(&"two".to_owned()), 2);
    }
}
