//! The task that owns a connection: frames on one side, commands, events and streams on the other.
//!
//! It never waits for one side alone: what can't be handed on yet waits in queues, which the host's
//! bound on unacknowledged items keeps short.

use std::{collections::VecDeque, io, time::Duration};

use base64::Engine as _;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{
        UnixStream,
        unix::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::{mpsc, oneshot},
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;

use super::{Command, Event};
use crate::agents::{
    host::{
        exchange,
        frames::{self, End, FromHost, Made, Splitter, ToHost},
    },
    io::{AgentIo, AgentLine, Stream},
};

/// How long a host may take to say hello.
const HELLO_TIMEOUT: Duration = Duration::from_secs(30);
/// Most lines for the agent that its host has not written yet.
const MAX_UNWRITTEN: usize = 64;
const CUT: &str = " … (the line was too long; the rest was dropped)";

pub(super) struct Task {
    end: exchange::End<ToHost, FromHost>,
    reader: OwnedReadHalf,
    /// `None` once the task ends.
    writer: Option<OwnedWriteHalf>,
    let_go: CancellationToken,
    splitter: Splitter,
    incoming: Vec<u8>,
    outgoing: Vec<u8>,
    written: usize,
    commands: mpsc::Receiver<Command>,
    tell: mpsc::Sender<Event>,
    /// Events that wait to be taken, with the numbers to acknowledge then.
    events: VecDeque<(Option<u64>, Event)>,
    program: Option<Running>,
    jobs: u64,
    job: Option<JobParts>,
}

/// The daemon's side of a running program's streams.
struct Running {
    lines: Option<mpsc::Sender<AgentLine>>,
    input: Option<mpsc::Receiver<String>>,
    /// Lines that wait to be taken.
    waiting: VecDeque<(u64, AgentLine)>,
    /// Lines that are taken and not durable yet. The host frees them in order, so the first is
    /// waited for.
    receipts: VecDeque<(u64, oneshot::Receiver<()>)>,
    /// The beginnings of long lines.
    partial: [String; 2],
    /// What is to be told once all lines are taken.
    end: Option<(u64, End)>,
}

/// Where the parts of the running job go.
struct JobParts {
    to: Option<mpsc::Sender<Vec<u8>>>,
    waiting: VecDeque<(u64, Vec<u8>)>,
    done: Option<(u64, Result<Made, String>)>,
}

enum Step {
    Read(io::Result<usize>),
    Wrote(io::Result<usize>),
    Command(Option<Command>),
    Told,
    Input(Option<String>),
    LineTaken,
    Durable,
    PartTaken,
    Silent,
}

impl Task {
    pub(super) fn new(
        stream: UnixStream,
        let_go: CancellationToken,
        commands: mpsc::Receiver<Command>,
        tell: mpsc::Sender<Event>,
    ) -> Self {
        let (reader, writer) = stream.into_split();
        Self {
            end: exchange::End::daemon(rand::random(), 0),
            reader,
            writer: Some(writer),
            let_go,
            splitter: Splitter::default(),
            incoming: Vec::with_capacity(8 * 1024),
            outgoing: Vec::new(),
            written: 0,
            commands,
            tell,
            events: VecDeque::new(),
            program: None,
            jobs: 0,
            job: None,
        }
    }

    pub(super) async fn run(mut self) {
        let deadline = Instant::now() + HELLO_TIMEOUT;
        let lost = loop {
            self.settle();
            let step = self.next(deadline).await;
            if let Err(lost) = self.handle(step) {
                break lost;
            }
        };
        // What the program said before its host was lost is still to be heard.
        for (_, event) in std::mem::take(&mut self.events) {
            let _ = self.tell.send(event).await;
        }
        if let Some(Running { lines: Some(lines), waiting, .. }) = self.program.take() {
            for (_, line) in waiting {
                let _ = lines.send(line).await;
            }
        }
        let _ = self.tell.send(Event::Lost(lost)).await;
    }

    /// Does all that can be done without waiting.
    fn settle(&mut self) {
        if let Some(program) = &mut self.program
            && program.end.is_some()
            && program.waiting.is_empty()
            && let Some((number, end)) = program.end
        {
            // The receipts of its last lines still matter, in order.
            program.lines = None;
            if program.receipts.is_empty() {
                self.program = None;
                self.events.push_back((Some(number), Event::Ended(end)));
            }
        }
        if let Some(job) = &mut self.job
            && job.waiting.is_empty()
            && let Some((number, result)) = job.done.take()
        {
            self.job = None;
            self.events.push_back((Some(number), Event::JobDone(result)));
        }
        if self.written == self.outgoing.len() {
            self.outgoing = self.end.transmit().unwrap_or_default();
            self.written = 0;
        }
    }

    async fn next(&mut self, deadline: Instant) -> Step {
        let Self { end, reader, writer, incoming, outgoing, written, commands, tell, .. } = self;
        let (lines, input, first, receipt) = match &mut self.program {
            Some(p) => (
                p.lines.as_ref().filter(|_| !p.waiting.is_empty()),
                p.input.as_mut(),
                &mut p.waiting,
                p.receipts.front_mut(),
            ),
            None => (None, None, &mut VecDeque::new(), None),
        };
        let part = match &mut self.job {
            Some(JobParts { to: Some(to), waiting, .. }) if !waiting.is_empty() => {
                Some((to, waiting))
            }
            _ => None,
        };
        let events = &mut self.events;
        let (unwritten, _) = end.unacknowledged();
        tokio::select! {
            read = reader.read_buf(incoming) => Step::Read(read),
            wrote = async {
                match writer {
                    Some(writer) => writer.write(&outgoing[*written..]).await,
                    None => std::future::pending().await,
                }
            }, if *written < outgoing.len() => Step::Wrote(wrote),
            command = commands.recv() => Step::Command(command),
            permit = tell.reserve(), if !events.is_empty() => {
                if let Some((number, event)) = events.pop_front() {
                    if let Ok(permit) = permit {
                        permit.send(event);
                    }
                    if let Some(number) = number {
                        end.done(number);
                    }
                }
                Step::Told
            }
            line = async {
                match input {
                    Some(input) => input.recv().await,
                    None => std::future::pending().await,
                }
            }, if unwritten < MAX_UNWRITTEN => Step::Input(line),
            () = async {
                match lines {
                    Some(lines) => {
                        let permit = lines.reserve().await;
                        if let (Ok(permit), Some((_, line))) = (permit, first.pop_front()) {
                            permit.send(line);
                        }
                    }
                    None => std::future::pending().await,
                }
            } => Step::LineTaken,
            () = async {
                match receipt {
                    // Fired or dropped: nobody waits for it any more.
                    Some((_, receipt)) => drop(receipt.await),
                    None => std::future::pending().await,
                }
            } => Step::Durable,
            number = async {
                match part {
                    Some((to, waiting)) => {
                        let permit = to.reserve().await;
                        let (number, part) = waiting.pop_front()?;
                        if let Ok(permit) = permit {
                            permit.send(part);
                        }
                        Some(number)
                    }
                    None => std::future::pending().await,
                }
            } => {
                if let Some(number) = number {
                    end.done(number);
                }
                Step::PartTaken
            }
            () = sleep_until(deadline), if !end.is_greeted() => Step::Silent,
        }
    }

    fn handle(&mut self, step: Step) -> Result<(), String> {
        match step {
            Step::Read(Ok(0)) => Err("the agent's host has ended".to_owned()),
            Step::Read(Err(error)) | Step::Wrote(Err(error)) => {
                Err(format!("the connection with the agent's host broke: {error}"))
            }
            Step::Read(Ok(_)) => self.read(),
            Step::Wrote(Ok(written)) => {
                self.written += written;
                Ok(())
            }
            Step::Command(Some(command)) => {
                self.command(command);
                Ok(())
            }
            Step::Command(None) => Err("nobody speaks with it any more".to_owned()),
            Step::Input(line) => {
                match line {
                    Some(line) => {
                        for (data, more) in frames::pieces(&line) {
                            self.end.push(&ToHost::Line { data: data.to_owned(), more });
                        }
                    }
                    None => {
                        if let Some(program) = &mut self.program {
                            program.input = None;
                        }
                        self.end.push(&ToHost::CloseInput);
                    }
                }
                Ok(())
            }
            Step::Durable => {
                if let Some(program) = &mut self.program
                    && let Some((number, _)) = program.receipts.pop_front()
                {
                    self.end.done(number);
                }
                Ok(())
            }
            Step::Silent => Err("the agent's host says nothing".to_owned()),
            Step::Told | Step::LineTaken | Step::PartTaken => Ok(()),
        }
    }

    fn command(&mut self, command: Command) {
        let item = match command {
            Command::Prepare(workspace) => ToHost::Prepare(workspace),
            Command::Start(start) => ToHost::Start(start),
            Command::Stop(grace) => {
                let grace_ms = u64::try_from(grace.as_millis()).unwrap_or(u64::MAX);
                ToHost::Stop { grace_ms }
            }
            Command::Job(job, to) => {
                self.jobs += 1;
                self.job = Some(JobParts { to, waiting: VecDeque::new(), done: None });
                ToHost::Job { id: self.jobs, job }
            }
        };
        self.end.push(&item);
    }

    fn read(&mut self) -> Result<(), String> {
        let mut items = Vec::new();
        let mut broken = Ok(());
        let end = &mut self.end;
        self.splitter.push(&self.incoming, |line| match end.receive(line) {
            Ok(item) => items.extend(item),
            Err(error) => broken = Err(error.to_string()),
        });
        self.incoming.clear();
        for (number, item) in items {
            self.hear(number, item);
        }
        broken
    }

    fn hear(&mut self, number: u64, item: FromHost) {
        let event = match item {
            FromHost::Out { err, data, more, cut } => {
                return self.hear_line(number, err, &data, more, cut);
            }
            FromHost::End(end) => {
                match &mut self.program {
                    Some(program) => program.end = Some((number, end)),
                    None => self.events.push_back((Some(number), Event::Ended(end))),
                }
                return;
            }
            FromHost::Part { id, data } => {
                // It comes from a process that the agent may have taken over.
                let part = base64::engine::general_purpose::STANDARD.decode(data);
                match (&mut self.job, part) {
                    (Some(job), Ok(part)) if id == self.jobs && job.to.is_some() => {
                        job.waiting.push_back((number, part));
                    }
                    _ => self.end.done(number),
                }
                return;
            }
            FromHost::JobDone { id, result } => {
                match &mut self.job {
                    Some(job) if id == self.jobs => job.done = Some((number, result)),
                    _ => self.end.done(number),
                }
                return;
            }
            FromHost::Started { pid: _ } => Event::Started(self.started()),
            FromHost::Prepared { confinement, directory } => {
                Event::Prepared { confinement, directory }
            }
            FromHost::Failed(why) => Event::Failed(why),
        };
        self.events.push_back((Some(number), event));
    }

    fn started(&mut self) -> AgentIo {
        let (lines, taken) = mpsc::channel(64);
        let (give, input) = mpsc::channel(64);
        self.program = Some(Running {
            lines: Some(lines),
            input: Some(input),
            waiting: VecDeque::new(),
            receipts: VecDeque::new(),
            partial: Default::default(),
            end: None,
        });
        AgentIo { lines: taken, input: give }
    }

    fn hear_line(&mut self, number: u64, err: bool, data: &str, more: bool, cut: bool) {
        let Some(program) = &mut self.program else { return self.end.done(number) };
        let partial = &mut program.partial[usize::from(err)];
        partial.push_str(data);
        let (receipt, durable) = oneshot::channel();
        program.receipts.push_back((number, durable));
        // The receipt is dropped here, which frees the piece. Were it kept until its line is whole,
        // a flood on the other stream could fill the host's bound and the line would never be.
        if more && partial.len() < frames::MAX_LINE {
            return;
        }
        let mut text = std::mem::take(partial);
        if cut {
            text.push_str(CUT);
        }
        let stream = if err { Stream::Err } else { Stream::Out };
        if program.lines.as_ref().is_none_or(mpsc::Sender::is_closed) {
            return;
        }
        program.waiting.push_back((number, AgentLine { stream, text, receipt }));
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        // Dropping the half shuts it down, for all copies of the descriptor.
        if self.let_go.is_cancelled()
            && let Some(writer) = self.writer.take()
        {
            writer.forget();
        }
    }
}
