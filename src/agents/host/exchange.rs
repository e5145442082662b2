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

/// No end has ever said so much; numbers beyond are nonsense, and would overflow ours.
const MAX_NUMBER: u64 = i64::MAX as u64;

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
    /// The other end claims to have what there can't be.
    #[error("the other end claims to have item {0}, which there can't be")]
    Claim(u64),
    /// The other end is not the one that this conversation was with.
    #[error("the host at the other end is another one")]
    Stranger,
    /// The other end has more than it was told, or less than it has acknowledged.
    #[error("the host has {have} of the items that it was told, which can't be")]
    Astray {
        /// How many it says it has.
        have: u64,
    },
}

/// Which end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    /// `host`: who must be at the other end.
    Daemon {
        epoch: u64,
        host: Option<u64>,
    },
    Host {
        epoch: u64,
        pid: u32,
        id: u64,
    },
}

/// An end that sends `Out` and receives `In`.
#[derive(Debug, Clone)]
pub struct End<Out, In> {
    side: Side,
    outbox: Outbox,
    /// Who is at the other end, if that is a host.
    peer: Option<u64>,
    received: u64,
    /// Dealt with, without a gap.
    done: u64,
    /// May be acknowledged.
    safe: u64,
    /// What was dealt with and what was pushed waits until [`End::durable`].
    guarded: bool,
    /// Dealt with, after a gap.
    done_early: BTreeSet<u64>,
    /// The other end has said hello.
    greeted: bool,
    hello_due: bool,
    ack_due: bool,
    items: PhantomData<(Out, In)>,
}

/// What was pushed and is not acknowledged, encoded.
#[derive(Debug, Default, Clone)]
struct Outbox {
    kept: VecDeque<Vec<u8>>,
    bytes: usize,
    /// The number of the newest item that was pushed.
    last: u64,
    /// The number of the newest item that was handed to the stream.
    sent: u64,
    /// The number of the newest item that may be, while others wait.
    released: u64,
}

/// How far a guarded end was at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Mark {
    /// The newest item that was dealt with, and all before it.
    pub have: u64,
    /// The newest item that was pushed.
    pub pushed: u64,
}

impl<Out: Serialize, In: DeserializeOwned> End<Out, In> {
    /// The host's end. `id` tells it from each other host.
    pub fn host(pid: u32, id: u64) -> Self {
        Self::new(Side::Host { epoch: 0, pid, id }, 0)
    }

    /// The daemon's end of a new conversation. `epoch` must differ from that of each earlier daemon
    /// on this stream.
    pub fn daemon(epoch: u64) -> Self {
        let mut end = Self::new(Side::Daemon { epoch, host: None }, 0);
        end.hello_due = true;
        end
    }

    /// The daemon's end of a conversation that an earlier daemon has begun with this host.
    ///
    /// `mark.have` is the newest item that is durable here, `mark.pushed` the newest that the host is
    /// known to have. Items that may not have arrived are to be pushed again, in order.
    pub fn resumed(epoch: u64, host: u64, mark: Mark) -> Self {
        let mut end = Self::new(Side::Daemon { epoch, host: Some(host) }, mark.have);
        end.peer = Some(host);
        end.outbox.last = mark.pushed;
        end.outbox.sent = mark.pushed;
        end.hello_due = true;
        end
    }

    fn new(side: Side, have: u64) -> Self {
        Self {
            side,
            outbox: Outbox::default(),
            peer: None,
            received: have,
            done: have,
            safe: have,
            guarded: false,
            done_early: BTreeSet::new(),
            greeted: false,
            hello_due: false,
            ack_due: false,
            items: PhantomData,
        }
    }

    /// From here on nothing is acknowledged, and nothing that is pushed is sent, before
    /// [`End::durable`] says so.
    ///
    /// What was sent before counts as acknowledged: to be called once the other end has answered it.
    pub fn guard(&mut self) {
        self.outbox.acknowledged(self.outbox.sent);
        self.outbox.released = self.outbox.last;
        self.guarded = true;
    }

    /// From here on everything goes at once, what had to wait too.
    pub fn unguard(&mut self) {
        self.guarded = false;
        self.advance();
    }

    /// How far it is.
    pub fn mark(&self) -> Mark {
        Mark { have: self.done, pushed: self.outbox.last }
    }

    /// What was the case at this mark is durable.
    pub fn durable(&mut self, mark: Mark) {
        self.outbox.released = self.outbox.released.max(mark.pushed);
        self.ack_due |= mark.have > self.safe;
        self.safe = self.safe.max(mark.have);
    }

    /// Who is at the other end: a host's identity, once it has said hello.
    pub fn peer(&self) -> Option<u64> {
        self.peer
    }

    /// The number of the newest item that the other end has acknowledged, and those after it,
    /// encoded.
    pub fn outbox(&self) -> (u64, impl Iterator<Item = &[u8]>) {
        (self.outbox.first() - 1, self.outbox.kept.iter().map(Vec::as_slice))
    }

    /// The stream was lost; another one follows.
    pub fn disconnected(&mut self, epoch: u64) {
        self.greeted = false;
        self.ack_due = false;
        if let Side::Daemon { epoch: current, .. } = &mut self.side {
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
            Some(Frame::Hello(Hello { have: number, .. }) | Frame::Ack(number))
                if number > MAX_NUMBER =>
            {
                Err(Broken::Claim(number))
            }
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
            Side::Daemon { epoch, .. } if *epoch != hello.epoch => return Ok(()),
            Side::Daemon { host, .. } => {
                if host.is_some() && *host != hello.host {
                    return Err(Broken::Stranger);
                }
                if hello.have > self.outbox.last || hello.have + 1 < self.outbox.first() {
                    return Err(Broken::Astray { have: hello.have });
                }
                *host = hello.host;
                self.peer = hello.host;
                // What the host has is safe: it lives as long as the agent.
                self.outbox.acknowledged(hello.have);
            }
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
        if number > self.done {
            self.done_early.insert(number);
        }
        while self.done_early.remove(&(self.done + 1)) {
            self.done += 1;
        }
        self.advance();
    }

    /// The same for this item and all before it.
    pub fn done_up_to(&mut self, number: u64) {
        self.done = self.done.max(number.min(self.received));
        self.done_early.retain(|early| *early > self.done);
        self.done(self.done);
    }

    /// What was dealt with is safe, unless it has to be made so.
    fn advance(&mut self) {
        if !self.guarded {
            self.durable(self.mark());
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
            return Some(encode::<Out>(&Frame::Ack(self.safe)));
        }
        self.outbox.next(self.guarded)
    }

    fn hello(&self) -> Vec<u8> {
        let (epoch, pid, host) = match self.side {
            Side::Daemon { epoch, .. } => (epoch, None, None),
            Side::Host { epoch, pid, id } => (epoch, Some(pid), Some(id)),
        };
        let hello = Hello { version: VERSION, epoch, have: self.received, pid, host };
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
        if self.kept.is_empty() {
            self.kept.shrink_to(16);
        }
        self.sent = self.sent.max(number.min(self.last));
    }

    fn send_after(&mut self, number: u64) {
        self.sent = number.clamp(self.first() - 1, self.last);
    }

    fn next(&mut self, guarded: bool) -> Option<Vec<u8>> {
        if guarded && self.sent >= self.released {
            return None;
        }
        let index = usize::try_from(self.sent + 1 - self.first()).ok()?;
        let line = self.kept.get(index)?.clone();
        self.sent += 1;
        Some(line)
    }
}

#[cfg(test)]
mod tests;
