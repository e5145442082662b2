//! What of a conversation with a host the next daemon has to know, and the order in which things are
//! written down and done: first whatever the host is to be told or may forget, then the telling. No
//! I/O.
//!
//! An open session is guarded: what comes of a step waits until its checkpoint is durable. Before it
//! is open, once it closes, and where hosts end with the daemon, nothing waits.

use serde::{Deserialize, Serialize};

use crate::{
    agents::{
        host::{
            exchange::{self, Broken, Mark},
            frames::{self, End, Frame, FromHost, Start, ToHost, decode},
        },
        io::{Resumed, Say, Step},
    },
    app::ports::sessions::{Checkpoint, News},
};

/// The daemon's side of one conversation.
#[derive(Debug, Clone)]
pub(super) struct Ledger {
    end: exchange::End<ToHost, FromHost>,
    /// Whether there are checkpoints at all.
    keeps: bool,
    guarded: bool,
    closing: bool,
    /// What to start the program with; the arguments may differ from time to time.
    program: Option<Start>,
    obeyed: u64,
    heard: u64,
    /// The driver's state.
    state: String,
    /// A program was started, ever.
    started: bool,
    running: bool,
    /// How the program ended, and the number of that.
    over: Option<(u64, End)>,
    /// The newest moment that a checkpoint was made of.
    kept: Mark,
}

/// A report on its way to become durable.
#[derive(Debug, Clone, Copy)]
pub(super) struct Flight {
    mark: Mark,
    heard: u64,
    guarded: bool,
}

/// The first line of a checkpoint; the driver's state is the second.
#[derive(Serialize, Deserialize)]
struct Saved {
    host: u64,
    have: u64,
    heard: u64,
    /// The newest item that the host had acknowledged, and those after it, without their secrets.
    acknowledged: u64,
    outbox: Vec<ToHost>,
    running: bool,
    over: Option<(u64, End)>,
}

impl Ledger {
    /// A new conversation. `keeps` says that it may be taken up by another daemon.
    pub(super) fn new(epoch: u64, keeps: bool) -> Self {
        Self {
            end: exchange::End::daemon(epoch),
            keeps,
            guarded: false,
            closing: false,
            program: None,
            obeyed: 0,
            heard: 0,
            state: String::new(),
            started: false,
            running: false,
            over: None,
            kept: Mark::default(),
        }
    }

    /// A conversation as it was at a checkpoint, and where its driver was. `program` is what the
    /// program is started with.
    ///
    /// # Errors
    /// When the checkpoint can't be understood: says so.
    pub(super) fn restore(
        epoch: u64,
        checkpoint: &Checkpoint,
        program: Start,
    ) -> Result<(Self, Resumed), String> {
        let unknown = || "its checkpoint is of another version".to_owned();
        let text = std::str::from_utf8(&checkpoint.state).map_err(|_| unknown())?;
        let (first, state) = text.split_once('\n').ok_or_else(unknown)?;
        let saved: Saved = serde_json::from_str(first).map_err(|_| unknown())?;
        let mark = Mark { have: saved.have, pushed: saved.acknowledged };
        let mut ledger = Self::new(epoch, true);
        ledger.end = exchange::End::resumed(epoch, saved.host, mark);
        ledger.program = Some(program);
        for item in saved.outbox {
            let item = ledger.with_secrets(item);
            ledger.end.push(&item);
        }
        ledger.end.guard();
        ledger.guarded = true;
        ledger.obeyed = checkpoint.obeyed;
        ledger.heard = saved.heard;
        ledger.state = state.to_owned();
        ledger.started = true;
        ledger.running = saved.running;
        ledger.over = saved.over;
        ledger.kept = ledger.end.mark();
        let resumed =
            Resumed { obeyed: checkpoint.obeyed, heard: saved.heard, state: state.to_owned() };
        Ok((ledger, resumed))
    }

    /// What to start the program with.
    pub(super) fn set_program(&mut self, program: Start) {
        self.program = Some(program);
    }

    /// From here on the session is not to be taken up any more, so nothing waits.
    pub(super) fn close(&mut self) {
        self.closing = true;
        self.guarded = false;
        self.end.unguard();
    }

    /// Takes a step. Answers what is to be reported of it.
    pub(super) fn step(&mut self, step: Step) -> (Vec<News>, Option<Checkpoint>, Flight) {
        match step.state {
            Some(state) if self.keeps && !self.closing && self.end.peer().is_some() => {
                if !self.guarded {
                    self.guarded = true;
                    self.end.guard();
                }
                self.state = state;
            }
            // What closes is not taken up again.
            _ if self.guarded => self.close(),
            _ => {}
        }
        self.obeyed = step.obeyed;
        self.heard = self.heard.max(step.heard);
        for say in step.says {
            self.say(say);
        }
        if self.guarded {
            self.end.done_up_to(self.heard);
        }
        let (checkpoint, flight) = self.checkpoint();
        (step.news, checkpoint, flight)
    }

    /// A checkpoint of this moment, if there can be one.
    pub(super) fn checkpoint(&mut self) -> (Option<Checkpoint>, Flight) {
        let mark = self.end.mark();
        self.kept = mark;
        let flight = Flight { mark, heard: self.heard, guarded: self.guarded };
        let host = self.end.peer().filter(|_| self.guarded);
        let checkpoint = host.map(|host| {
            let (acknowledged, outbox) = self.end.outbox();
            let saved = Saved {
                host,
                have: mark.have,
                heard: self.heard,
                acknowledged,
                outbox: outbox.filter_map(without_secrets).collect(),
                running: self.running,
                over: self.over.filter(|(number, _)| *number <= mark.have),
            };
            // Plain data: this can't fail.
            let mut state = serde_json::to_vec(&saved).unwrap_or_default();
            state.push(b'\n');
            state.extend(self.state.as_bytes());
            Checkpoint { obeyed: self.obeyed, state }
        });
        (checkpoint, flight)
    }

    /// Whether something waits that no checkpoint was made of yet.
    pub(super) fn is_due(&self) -> bool {
        self.guarded && self.end.mark() != self.kept
    }

    /// A report is `committed`, or nobody cares for it.
    pub(super) fn durable(&mut self, flight: Flight, committed: bool) {
        if !flight.guarded {
            self.end.done_up_to(flight.heard);
        } else if committed {
            self.end.durable(flight.mark);
        }
    }

    /// Nobody wants to hear this, nor what is before it.
    pub(super) fn skip(&mut self, number: u64) {
        self.end.done_up_to(number);
    }

    fn say(&mut self, say: Say) {
        match say {
            Say::Line(line) => {
                for (data, more) in frames::pieces(&line) {
                    self.push(&ToHost::Line { data: data.to_owned(), more });
                }
            }
            Say::CloseInput => self.push(&ToHost::CloseInput),
            Say::Start(arguments) => {
                if let Some(program) = self.program.clone() {
                    self.push(&ToHost::Start(Start { arguments, ..program }));
                }
            }
            Say::Stop(grace) => self.push(&stop(grace)),
        }
    }

    /// Has the host told something.
    pub(super) fn push(&mut self, item: &ToHost) {
        if matches!(item, ToHost::Start(_)) {
            self.started = true;
            self.running = true;
            self.over = None;
        }
        self.end.push(item);
    }

    /// How many items the host has not taken yet.
    pub(super) fn unwritten(&self) -> usize {
        self.end.unacknowledged().0
    }

    /// Takes a line from the stream. Answers what it tells that was not here before.
    ///
    /// # Errors
    /// When the conversation can't go on.
    pub(super) fn receive(&mut self, line: &[u8]) -> Result<Option<(u64, FromHost)>, Broken> {
        let item = self.end.receive(line)?;
        match &item {
            Some((number, FromHost::End(end))) => {
                self.running = false;
                self.over = Some((*number, *end));
            }
            Some((_, FromHost::Failed(_))) => self.running = false,
            _ => {}
        }
        Ok(item)
    }

    /// Something that it told needs nothing more.
    pub(super) fn done(&mut self, number: u64) {
        self.end.done(number);
    }

    /// The next bytes for the stream.
    pub(super) fn transmit(&mut self) -> Option<Vec<u8>> {
        self.end.transmit()
    }

    /// Whether the host has said hello.
    pub(super) fn is_greeted(&self) -> bool {
        self.end.is_greeted()
    }

    /// Whether a program was started, ever.
    pub(super) fn has_started(&self) -> bool {
        self.started
    }

    /// Whether the driver has heard how the program ended, if it has.
    pub(super) fn has_heard_the_end(&self) -> bool {
        self.over.is_none_or(|(number, _)| number <= self.heard)
    }

    /// Whether the program was started and has not ended.
    pub(super) fn is_running(&self) -> bool {
        self.running
    }

    /// How the program ended, if the driver has heard that.
    pub(super) fn over(&self) -> Option<End> {
        self.over.filter(|(number, _)| *number <= self.heard).map(|(_, end)| end)
    }

    fn with_secrets(&self, item: ToHost) -> ToHost {
        match (item, &self.program) {
            (ToHost::Start(start), Some(program)) => {
                ToHost::Start(Start { arguments: start.arguments, ..program.clone() })
            }
            (item, _) => item,
        }
    }
}

/// Ends a program.
pub(super) fn stop(grace: std::time::Duration) -> ToHost {
    ToHost::Stop { grace_ms: u64::try_from(grace.as_millis()).unwrap_or(u64::MAX) }
}

/// An item of the outbox as it may be stored: variables and credentials stay in memory.
fn without_secrets(line: &[u8]) -> Option<ToHost> {
    let Some(Frame::Item(_, item)) = decode::<ToHost>(line) else { return None };
    Some(match item {
        ToHost::Start(start) => ToHost::Start(Start { environment: Vec::new(), ..start }),
        ToHost::Prepare(mut workspace) => {
            workspace.credentials.clear();
            ToHost::Prepare(workspace)
        }
        item => item,
    })
}

#[cfg(test)]
mod tests;
