//! The task that owns a connection: frames on one side; commands, events, the driver's steps and
//! their reports on the other.
//!
//! It never waits for one side alone: what can't be handed on yet waits in queues, which the host's
//! bound on unacknowledged items keeps short.

use std::{collections::VecDeque, io, time::Duration};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{
        UnixStream,
        unix::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::{mpsc, oneshot},
    time::{Instant, sleep_until},
};

use super::{
    Command, Event, Teller,
    jobs::Jobs,
    ledger::{self, Flight, Ledger},
};
use crate::{
    agents::{
        host::frames::{self, FromHost, Splitter, ToHost},
        io::{AgentIo, Heard, Step, Stream, What},
    },
    app::ports::sessions::{Checkpoint, News, Report},
};

/// How long a host may take to say hello.
const HELLO_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a driver may take to report what its program said before its host was lost.
const LAST_WORDS_TIMEOUT: Duration = Duration::from_secs(60);
/// Most lines for the agent that its host has not written yet.
const MAX_UNWRITTEN: usize = 64;
/// Most reports that are not durable yet: one that is being committed, and the next. What comes
/// meanwhile gathers at the driver, and becomes one report with one checkpoint.
const MAX_FLYING: usize = 2;
/// Most bytes of a line. A host keeps to less, but the agent may have taken it over.
const MAX_TEXT: usize = 4 * frames::MAX_LINE;
const CUT: &str = " … (the line was too long; the rest was dropped)";

pub(super) struct Task {
    ledger: Ledger,
    reader: OwnedReadHalf,
    /// `None` once the task ends.
    writer: Option<OwnedWriteHalf>,
    teller: Teller,
    resumes: bool,
    splitter: Splitter,
    incoming: Vec<u8>,
    outgoing: Vec<u8>,
    written: usize,
    commands: mpsc::Receiver<Command>,
    tell: mpsc::Sender<Event>,
    /// Events that wait to be taken, with the numbers that are done with then.
    events: VecDeque<(Option<u64>, Event)>,
    /// Where the driver hears.
    heard: Option<mpsc::Sender<Heard>>,
    /// What it has not taken yet.
    waiting: VecDeque<Heard>,
    /// The beginnings of long lines.
    partial: [String; 2],
    steps: Option<mpsc::Receiver<Step>>,
    /// A report that waits to be taken.
    report: Option<(Report, Sent)>,
    flying: VecDeque<Sent>,
    /// A program was to be stopped, or has ended: to be told once all is durable.
    over_due: bool,
    jobs: Jobs,
    /// The connection is lost, for this reason; since when.
    lost: Option<(Event, Instant)>,
}

/// A report whose receipt is waited for.
type Sent = (oneshot::Receiver<()>, Flight);

enum Moved {
    Read(io::Result<usize>),
    Wrote(io::Result<usize>),
    Command(Option<Command>),
    Told(Option<u64>),
    Heard,
    Step(Option<Step>),
    Reported,
    Durable(bool),
    PartTaken(u64),
    Late,
}

impl Task {
    pub(super) fn new(
        stream: UnixStream,
        teller: Teller,
        ledger: Ledger,
        resumes: bool,
        commands: mpsc::Receiver<Command>,
        tell: mpsc::Sender<Event>,
    ) -> (Self, AgentIo) {
        let (reader, writer) = stream.into_split();
        let (hear, heard) = mpsc::channel(64);
        let (give, steps) = mpsc::channel(1);
        let over_due = ledger.over().is_some();
        let task = Self {
            ledger,
            reader,
            writer: Some(writer),
            teller,
            resumes,
            splitter: Splitter::default(),
            incoming: Vec::with_capacity(8 * 1024),
            outgoing: Vec::new(),
            written: 0,
            commands,
            tell,
            events: VecDeque::new(),
            heard: Some(hear),
            waiting: VecDeque::new(),
            partial: Default::default(),
            steps: Some(steps),
            report: None,
            flying: VecDeque::new(),
            over_due,
            jobs: Jobs::new(),
            lost: None,
        };
        (task, AgentIo { heard, steps: give })
    }

    pub(super) async fn run(mut self) {
        let mut deadline = Instant::now() + HELLO_TIMEOUT;
        loop {
            self.settle();
            if self.lost.is_some() && self.has_told_all(deadline) {
                break;
            }
            let moved = self.next(deadline).await;
            // What drivers say from here on is only that their daemon is gone. The next one goes on
            // from what is durable now: the host must neither be told of it nor forget anything, and
            // the session must not take it for lost. It is dropped now, and this task with it.
            if self.teller.let_go.is_cancelled() {
                return std::future::pending().await;
            }
            if let Err(lost) = self.handle(moved)
                && self.lost.is_none()
            {
                deadline = Instant::now() + LAST_WORDS_TIMEOUT;
                self.lost = Some((lost, deadline));
            }
        }
        if let Some((lost, _)) = self.lost.take() {
            let _ = self.tell.send(lost).await;
        }
    }

    /// Whether all that the program said before its host was lost is reported.
    fn has_told_all(&mut self, deadline: Instant) -> bool {
        if self.waiting.is_empty() {
            self.heard = None;
        }
        let told = self.events.is_empty() && self.steps.is_none() && self.report.is_none();
        told || deadline <= Instant::now()
    }

    /// Whether nobody wants to hear any more.
    fn is_unheard(&self) -> bool {
        self.heard.as_ref().is_none_or(mpsc::Sender::is_closed)
    }

    /// Does all that can be done without waiting.
    fn settle(&mut self) {
        if self.is_unheard()
            && let Some(last) = self.waiting.pop_back()
        {
            self.waiting.clear();
            self.ledger.skip(last.number);
        }
        if let Some((number, result)) = self.jobs.finished() {
            self.events.push_back((Some(number), Event::JobDone(result)));
        }
        if self.report.is_none() && self.flying.len() < MAX_FLYING && self.ledger.is_due() {
            let (checkpoint, flight) = self.ledger.checkpoint();
            self.report(Vec::new(), checkpoint, flight);
        }
        if self.over_due && self.is_at_rest() {
            self.over_due = false;
            self.events.push_back((None, Event::Over(self.ledger.over())));
        }
        if self.lost.is_none() && self.written == self.outgoing.len() {
            self.outgoing = self.ledger.transmit().unwrap_or_default();
            self.written = 0;
        }
    }

    /// Whether no program runs, and all that one said is durable.
    fn is_at_rest(&self) -> bool {
        let driver_is_gone = self.steps.is_none();
        let reported = self.report.is_none() && self.flying.is_empty();
        let heard = self.waiting.is_empty() && self.ledger.has_heard_the_end();
        !self.ledger.is_running() && reported && (heard || driver_is_gone)
    }

    fn report(&mut self, news: Vec<News>, checkpoint: Option<Checkpoint>, flight: Flight) {
        let (receipt, durable) = oneshot::channel();
        let agent = self.teller.agent;
        let report = Report { agent, news, checkpoint, receipt: Some(receipt) };
        self.report = Some((report, (durable, flight)));
    }

    async fn next(&mut self, deadline: Instant) -> Moved {
        let connected = self.lost.is_none();
        let has_room = self.report.is_none()
            && self.flying.len() < MAX_FLYING
            && (self.ledger.unwritten() < MAX_UNWRITTEN || !connected);
        let timed = !connected || !self.ledger.is_greeted();
        let Self { reader, writer, incoming, outgoing, written, commands, tell, events, .. } = self;
        let Self { heard, waiting, steps, report, flying, jobs, teller, .. } = self;
        tokio::select! {
            // Commands first: the one that starts the program was given before its driver began. Then
            // what there is an end of; what the host says last, of which there may be none.
            biased;
            command = commands.recv(), if connected => Moved::Command(command),
            wrote = async {
                match writer {
                    Some(writer) => writer.write(&outgoing[*written..]).await,
                    None => std::future::pending().await,
                }
            }, if connected && *written < outgoing.len() => Moved::Wrote(wrote),
            permit = tell.reserve(), if !events.is_empty() => {
                let (number, event) = events.pop_front().unzip();
                if let (Ok(permit), Some(event)) = (permit, event) {
                    permit.send(event);
                }
                Moved::Told(number.flatten())
            }
            permit = async {
                match heard {
                    Some(heard) => heard.reserve().await.ok(),
                    None => std::future::pending().await,
                }
            }, if !waiting.is_empty() => {
                if let Some(permit) = permit
                    && let Some(next) = waiting.pop_front()
                {
                    permit.send(next);
                }
                Moved::Heard
            }
            step = async {
                match steps {
                    Some(steps) => steps.recv().await,
                    None => std::future::pending().await,
                }
            }, if has_room => Moved::Step(step),
            permit = teller.reports.reserve(), if report.is_some() => {
                match (permit, report.take()) {
                    (Ok(permit), Some((report, sent))) => {
                        permit.send(report);
                        flying.push_back(sent);
                    }
                    // The daemon is ending: nothing becomes durable any more.
                    _ => *steps = None,
                }
                Moved::Reported
            }
            fired = async {
                match flying.front_mut() {
                    Some((receipt, _)) => receipt.await.is_ok(),
                    None => std::future::pending().await,
                }
            } => Moved::Durable(fired),
            number = jobs.hand_on() => Moved::PartTaken(number),
            () = sleep_until(deadline), if timed => Moved::Late,
            read = reader.read_buf(incoming), if connected => Moved::Read(read),
        }
    }

    fn handle(&mut self, moved: Moved) -> Result<(), Event> {
        let lost = |why: String| Err(Event::Lost(why));
        match moved {
            Moved::Read(Ok(0)) => return lost("the agent's host has ended".to_owned()),
            Moved::Read(Err(error)) | Moved::Wrote(Err(error)) => {
                return lost(format!("the connection with the agent's host broke: {error}"));
            }
            Moved::Read(Ok(_)) => return self.read(),
            Moved::Wrote(Ok(written)) => self.written += written,
            Moved::Command(Some(command)) => self.command(command),
            Moved::Command(None) => return lost("nobody speaks with it any more".to_owned()),
            Moved::Told(Some(number)) | Moved::PartTaken(number) => self.ledger.done(number),
            Moved::Step(Some(step)) => {
                let (news, checkpoint, flight) = self.ledger.step(step);
                if news.is_empty() && checkpoint.is_none() {
                    // Nothing that has to be durable: but what is before it has.
                    let (receipt, durable) = oneshot::channel();
                    let _ = receipt.send(());
                    self.flying.push_back((durable, flight));
                } else {
                    self.report(news, checkpoint, flight);
                }
            }
            Moved::Step(None) => self.steps = None,
            Moved::Durable(fired) => {
                if let Some((_, flight)) = self.flying.pop_front() {
                    self.ledger.durable(flight, fired);
                }
            }
            Moved::Late if self.lost.is_none() => {
                return Err(self.refused("the agent's host says nothing".to_owned()));
            }
            Moved::Told(None) | Moved::Heard | Moved::Reported | Moved::Late => {}
        }
        Ok(())
    }

    /// Why there is no conversation with this host.
    fn refused(&self, why: String) -> Event {
        if self.resumes { Event::Refused(why) } else { Event::Lost(why) }
    }

    fn command(&mut self, command: Command) {
        match command {
            Command::Prepare(workspace) => self.ledger.push(&ToHost::Prepare(workspace)),
            Command::Program(start) => self.ledger.set_program(start),
            Command::Start(start) => self.ledger.push(&ToHost::Start(start)),
            Command::Stop(grace) => {
                self.ledger.close();
                self.ledger.push(&ledger::stop(grace));
                self.over_due = true;
            }
            Command::Job(job, to) => {
                let item = self.jobs.begin(job, to);
                self.ledger.push(&item);
            }
        }
    }

    fn read(&mut self) -> Result<(), Event> {
        let mut items = Vec::new();
        let mut broken = None;
        let ledger = &mut self.ledger;
        self.splitter.push(&self.incoming, |line| match ledger.receive(line) {
            Ok(item) => items.extend(item),
            Err(error) => broken = Some(error.to_string()),
        });
        self.incoming.clear();
        for (number, item) in items {
            self.hear(number, item);
        }
        broken.map_or(Ok(()), |why| Err(self.refused(why)))
    }

    fn hear(&mut self, number: u64, item: FromHost) {
        let what = match item {
            FromHost::Prepared { confinement, directory } => {
                let ready = Event::Prepared { confinement, directory };
                return self.events.push_back((Some(number), ready));
            }
            FromHost::Part { id, data } => {
                if !self.jobs.part(number, id, &data) {
                    self.ledger.done(number);
                }
                return;
            }
            FromHost::JobDone { id, result } => {
                if !self.jobs.done(number, id, result) {
                    self.ledger.done(number);
                }
                return;
            }
            // It is about the workspace if nothing was started.
            FromHost::Failed(why) if !self.ledger.has_started() => {
                return self.events.push_back((Some(number), Event::Failed(why)));
            }
            FromHost::Failed(why) => What::Failed(why),
            FromHost::Started { pid: _ } => What::Started,
            FromHost::End(end) => {
                self.over_due = true;
                What::Ended(end)
            }
            FromHost::Out { err, data, more, cut } => {
                let partial = &mut self.partial[usize::from(err)];
                partial.push_str(&data);
                // Its pieces are done with once it is whole.
                if more && partial.len() < MAX_TEXT {
                    if self.is_unheard() {
                        self.ledger.skip(number);
                    }
                    return;
                }
                let mut text = std::mem::take(partial);
                if cut {
                    text.push_str(CUT);
                }
                What::Line(if err { Stream::Err } else { Stream::Out }, text)
            }
        };
        self.waiting.push_back(Heard { number, what });
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        // Dropping the half shuts it down, for all copies of the descriptor.
        if self.teller.let_go.is_cancelled()
            && let Some(writer) = self.writer.take()
        {
            writer.forget();
        }
    }
}
