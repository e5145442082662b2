//! The host's loop: one task that owns the connection, the program and the work.

use std::{collections::VecDeque, io, time::Duration};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{
        UnixStream,
        unix::{OwnedReadHalf, OwnedWriteHalf},
    },
    signal::unix::{Signal, SignalKind, signal},
    sync::mpsc,
    time::{Instant, sleep_until},
};

use super::{
    exchange::End,
    frames::{FromHost, Splitter, ToHost},
    program::Program,
    slot::Slot,
    work::{self, Done, Work},
    workspace::Ready,
};
use crate::agents::processes;

/// Most lines that wait for the daemon before the program is no longer listened to.
pub const MAX_WAITING_LINES: usize = 1000;
/// Most bytes of them.
pub const MAX_WAITING_BYTES: usize = 4 * 1024 * 1024;
/// How long the program may take to end by itself when the daemon is gone.
const ABANDONED_GRACE: Duration = Duration::from_secs(1);
const LOOK_AGAIN: Duration = Duration::from_millis(5);

pub(super) struct Host {
    link: End<FromHost, ToHost>,
    connection: Option<Connection>,
    /// Where others may knock in vain while the connection lasts.
    slot: Option<Slot>,
    workspace: Option<Ready>,
    program: Option<Program>,
    queue: VecDeque<Work>,
    work: Option<mpsc::Receiver<Done>>,
    children: Signal,
    terminate: Signal,
}

struct Connection {
    reader: OwnedReadHalf,
    writer: OwnedWriteHalf,
    splitter: Splitter,
    incoming: Vec<u8>,
    outgoing: Vec<u8>,
    written: usize,
}

enum Event {
    Read(io::Result<usize>),
    Wrote(io::Result<usize>),
    Work(Option<Done>),
    Terminate,
    Child,
    /// Somebody else has connected.
    Knock(io::Result<()>),
    /// A stream of the program has moved, or a time has come.
    Moved,
}

impl Host {
    pub(super) fn new(connection: UnixStream, slot: Option<Slot>) -> io::Result<Self> {
        let (reader, writer) = connection.into_split();
        Ok(Self {
            link: End::host(std::process::id(), rand::random()),
            connection: Some(Connection {
                reader,
                writer,
                splitter: Splitter::default(),
                incoming: Vec::with_capacity(8 * 1024),
                outgoing: Vec::new(),
                written: 0,
            }),
            slot,
            workspace: None,
            program: None,
            queue: VecDeque::new(),
            work: None,
            children: signal(SignalKind::child())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    /// Serves the connection until it hangs up. Nothing of the agent is left then.
    pub(super) async fn run(mut self) -> io::Result<()> {
        loop {
            self.settle()?;
            if self.connection.is_none() && self.program.is_none() {
                break;
            }
            let event = self.next().await;
            self.handle(event);
        }
        // Also what jobs have started: nobody waits for them any more.
        let me = std::process::id().cast_signed();
        while processes::kill_all(&processes::descendants(&processes::all()?, me, &[])) {
            tokio::time::sleep(LOOK_AGAIN).await;
        }
        Ok(())
    }

    /// Whether the daemon is behind: then the program waits.
    fn is_held_up(&self) -> bool {
        let (lines, bytes) = self.link.unacknowledged();
        self.connection.is_some() && (lines >= MAX_WAITING_LINES || bytes >= MAX_WAITING_BYTES)
    }

    fn tell(&mut self, what: &FromHost) {
        if self.connection.is_some() {
            self.link.push(what);
        }
    }

    /// Does all that can be done without waiting.
    fn settle(&mut self) -> io::Result<()> {
        self.hear();
        let held_up = self.is_held_up();
        if let Some(program) = &mut self.program {
            while let Some(number) = program.input.finished() {
                self.link.done(number);
            }
            program.step(Instant::now(), !held_up);
            if let Some(end) = program.end() {
                // What it did not read is done with, too.
                while let Some(number) = program.input.finished() {
                    self.link.done(number);
                }
                self.program = None;
                self.tell(&FromHost::End(end));
            }
        }
        if self.work.is_none()
            && let Some(work) = self.queue.pop_front()
        {
            self.work = Some(work::begin(work)?);
        }
        if let Some(connection) = &mut self.connection
            && connection.outgoing.is_empty()
        {
            connection.outgoing = self.link.transmit().unwrap_or_default();
            connection.written = 0;
        }
        Ok(())
    }

    /// Takes what was read from the program, as far as the daemon keeps up.
    fn hear(&mut self) {
        while !self.is_held_up()
            && let Some(program) = &mut self.program
            && let Some(line) = program.out.next().or_else(|| program.err.next())
        {
            // All of them, even if that is more than is allowed to wait: the daemon is done with a
            // line once it has it whole.
            for piece in line {
                self.tell(&piece);
            }
        }
    }

    async fn next(&mut self) -> Event {
        let held_up = self.is_held_up();
        let Self { connection, slot, program, work, children, terminate, .. } = self;
        // After the connection, the next one is for the next host.
        let slot = slot.as_ref().filter(|_| connection.is_some());
        let (reader, writer, incoming, outgoing) = match connection {
            Some(c) => (
                Some(&mut c.reader),
                Some(&mut c.writer),
                Some(&mut c.incoming),
                &c.outgoing[c.written..],
            ),
            None => (None, None, None, &[][..]),
        };
        let due = program.as_ref().and_then(Program::due);
        let (input, out, err) = match program {
            Some(p) => (Some(&mut p.input), Some(&mut p.out), Some(&mut p.err)),
            None => (None, None, None),
        };
        tokio::select! {
            read = async {
                match (reader, incoming) {
                    (Some(reader), Some(buffer)) => reader.read_buf(buffer).await,
                    _ => std::future::pending().await,
                }
            } => Event::Read(read),
            wrote = async {
                match writer {
                    Some(writer) => writer.write(outgoing).await,
                    None => std::future::pending().await,
                }
            }, if !outgoing.is_empty() => Event::Wrote(wrote),
            done = async {
                match work {
                    Some(work) => work.recv().await,
                    None => std::future::pending().await,
                }
            }, if !held_up => Event::Work(done),
            () = async {
                match input {
                    Some(input) => input.write().await,
                    None => std::future::pending().await,
                }
            } => Event::Moved,
            () = async {
                match out {
                    Some(out) => out.read().await,
                    None => std::future::pending().await,
                }
            }, if !held_up => Event::Moved,
            () = async {
                match err {
                    Some(err) => err.read().await,
                    None => std::future::pending().await,
                }
            }, if !held_up => Event::Moved,
            () = async {
                match due {
                    Some(due) => sleep_until(due).await,
                    None => std::future::pending().await,
                }
            } => Event::Moved,
            _ = children.recv() => Event::Child,
            _ = terminate.recv() => Event::Terminate,
            knock = async {
                match slot {
                    Some(slot) => slot.turn_away().await,
                    None => std::future::pending().await,
                }
            } => Event::Knock(knock),
        }
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Moved | Event::Knock(Ok(())) => {}
            // Who can't be turned away waits.
            Event::Knock(Err(_)) => self.slot = None,
            Event::Child => {
                // Orphans that came to us. The program's own end is seen when it is stepped.
                let program = self.program.as_ref().map(|program| program.pid().cast_signed());
                let _ = processes::reap_orphans(program);
            }
            Event::Read(Ok(1..)) => self.read(),
            Event::Wrote(Ok(written @ 1..)) => {
                if let Some(connection) = &mut self.connection {
                    connection.written += written;
                    if connection.written == connection.outgoing.len() {
                        connection.outgoing = Vec::new();
                    }
                }
            }
            Event::Read(_) | Event::Wrote(_) | Event::Terminate => self.hang_up(),
            Event::Work(done) => self.worked(done),
        }
    }

    /// The daemon is gone for good: so is the agent.
    fn hang_up(&mut self) {
        self.connection = None;
        self.queue.clear();
        if let Some(program) = &mut self.program {
            program.stop(ABANDONED_GRACE, Instant::now());
        }
    }

    fn read(&mut self) {
        let Some(connection) = &mut self.connection else { return };
        let mut items = Vec::new();
        let mut broken = false;
        let link = &mut self.link;
        connection.splitter.push(&connection.incoming, |line| match link.receive(line) {
            Ok(item) => items.extend(item),
            Err(_) => broken = true,
        });
        connection.incoming.clear();
        for (number, item) in items {
            self.apply(number, item);
        }
        if broken {
            self.hang_up();
        }
    }

    fn apply(&mut self, number: u64, item: ToHost) {
        match (item, &mut self.program) {
            (ToHost::Line { data, more }, Some(program)) => {
                let mut bytes = data.into_bytes();
                if !more {
                    bytes.push(b'\n');
                }
                // Done once it is written.
                program.input.push(number, bytes);
                return;
            }
            (ToHost::CloseInput, Some(program)) => program.input.close(),
            (ToHost::Stop { grace_ms }, Some(program)) => {
                program.stop(Duration::from_millis(grace_ms), Instant::now());
            }
            // It has ended meanwhile, and its end is on its way.
            (ToHost::Line { .. } | ToHost::CloseInput | ToHost::Stop { .. }, None) => {}
            (ToHost::Start(_), Some(_)) => {
                self.tell(&FromHost::Failed("a program runs already".to_owned()));
            }
            (ToHost::Start(start), None) => {
                let started = match &self.workspace {
                    Some(ready) => Program::start(ready, &start),
                    None => Err("there is no workspace".to_owned()),
                };
                match started {
                    Ok(program) => {
                        self.tell(&FromHost::Started { pid: program.pid() });
                        self.program = Some(program);
                    }
                    Err(error) => self.tell(&FromHost::Failed(error)),
                }
            }
            (ToHost::Prepare(workspace), _) => self.queue.push_back(Work::Prepare(workspace)),
            (ToHost::Job { id, job }, _) => {
                self.queue.push_back(Work::Job { id, job });
            }
        }
        self.link.done(number);
    }

    fn worked(&mut self, done: Option<Done>) {
        let what = match done {
            Some(Done::Part(part)) => return self.tell(&part),
            Some(Done::Ready(ready, what)) => {
                self.workspace = Some(ready);
                what
            }
            Some(Done::Last(what)) => what,
            None => FromHost::Failed("the host has failed: it has a bug".to_owned()),
        };
        self.work = None;
        self.tell(&what);
    }
}
