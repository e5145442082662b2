//! Both ends of an agent host's conversation, with streams that break anywhere, daemons that are killed, and
//! lines that neither end has sent: every item arrives once and in order, and nothing is acknowledged that is
//! not dealt with.

#![no_main]

use std::collections::VecDeque;

use fleet_mcp::agents::host::exchange::{End, Mark};
use fleet_mcp_fuzz::byte;
use libfuzzer_sys::fuzz_target;

/// Both ends, what is on its way, and what each has dealt with for good.
struct World {
    host: End<u32, u32>,
    daemon: End<u32, u32>,
    up: VecDeque<Vec<u8>>,
    down: VecDeque<Vec<u8>>,
    epoch: u64,
    /// What the agent has said, and what the daemon has committed of it.
    said: u32,
    heard: VecDeque<(u64, u32)>,
    committed: Vec<u32>,
    /// What the daemon has wanted, which is durable, and what the host has applied of it.
    wanted: u32,
    applied: Vec<u32>,
}

impl World {
    fn new() -> Self {
        Self {
            host: End::host(1, 9),
            daemon: End::daemon(1),
            up: VecDeque::new(),
            down: VecDeque::new(),
            epoch: 1,
            said: 0,
            heard: VecDeque::new(),
            committed: Vec::new(),
            wanted: 0,
            applied: Vec::new(),
        }
    }

    fn take(&mut self, step: u8) {
        match step % 9 {
            0 => {
                self.said += 1;
                self.host.push(&self.said);
            }
            1 => {
                self.wanted += 1;
                self.daemon.push(&self.wanted);
            }
            2 | 3 => self.move_down(),
            4 | 5 => self.move_up(),
            6 => self.commit(),
            7 => self.cut(),
            _ => self.kill(),
        }
    }

    fn move_down(&mut self) {
        self.down.extend(self.daemon.transmit());
        let Some(lines) = self.down.pop_front() else { return };
        for line in lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            if let Some((number, item)) = self.host.receive(line).expect("no gap") {
                self.applied.push(item);
                self.host.done(number);
            }
        }
    }

    fn move_up(&mut self) {
        self.up.extend(self.host.transmit());
        let Some(lines) = self.up.pop_front() else { return };
        for line in lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            self.heard.extend(self.daemon.receive(line).expect("no gap"));
        }
    }

    fn commit(&mut self) {
        if let Some((number, item)) = self.heard.pop_front() {
            self.committed.push(item);
            self.daemon.done(number);
        }
    }

    /// The stream is lost with all that is on its way.
    fn cut(&mut self) {
        self.epoch += 1;
        self.up.clear();
        self.down.clear();
        self.host.disconnected(self.epoch);
        self.daemon.disconnected(self.epoch);
    }

    /// The daemon is killed, and the next one finds the stream as it was.
    fn kill(&mut self) {
        self.epoch += 1;
        self.heard.clear();
        let unsure = self.wanted.saturating_sub(4);
        let mark = Mark { have: self.committed.len() as u64, pushed: unsure.into() };
        self.daemon = End::resumed(self.epoch, 9, mark);
        for item in unsure + 1..=self.wanted {
            self.daemon.push(&item);
        }
    }

    fn check(&self) {
        assert!(self.committed.iter().copied().eq(1..=self.committed.len() as u32));
        assert!(self.applied.iter().copied().eq(1..=self.applied.len() as u32));
        // What the host has let go is committed.
        let (kept, _) = self.host.unacknowledged();
        assert!(self.said as usize - kept <= self.committed.len());
    }
}

fuzz_target!(|data: &[u8]| {
    let mut data = data;
    if byte(&mut data) % 4 == 0 {
        return hostile(data);
    }
    let mut world = World::new();
    for step in data.iter().take(4096) {
        // A daemon that was killed says again what it isn't sure of: no more than it remembers.
        let forgets = step % 9 == 8 && world.wanted as usize > world.applied.len() + 4;
        if !forgets {
            world.take(*step);
        }
        world.check();
    }
    for _ in 0..4 * (world.said + world.wanted) + 64 {
        world.move_down();
        world.move_up();
        world.commit();
        world.check();
    }
    assert_eq!(world.committed.len(), world.said as usize);
    assert_eq!(world.applied.len(), world.wanted as usize);
    assert_eq!(world.host.unacknowledged(), (0, 0));
});

/// What is received has numbers without gaps, whatever the other end sends.
fn hostile(data: &[u8]) {
    for mut end in [End::<u32, u32>::host(1, 9), End::daemon(1)] {
        end.push(&1);
        let mut last = 0;
        for line in data.split(|byte| *byte == b'\n') {
            match end.receive(line) {
                Ok(None) => {}
                Ok(Some((number, _))) => {
                    assert_eq!(number, last + 1);
                    last = number;
                    end.done(number);
                }
                Err(_) => break,
            }
            // At most a hello, an acknowledgement and the one item follow a line.
            for _ in 0..3 {
                end.transmit();
            }
            assert!(end.transmit().is_none());
        }
    }
}
