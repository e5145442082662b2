//! The part of a session in which its program runs, and its driver speaks with it.

use std::{path::PathBuf, time::Duration};

use tokio::{sync::mpsc, task::JoinHandle};

use super::{GRACE, Inner, orders::Orders, publishing::Publishing, report};
use crate::{
    agents::{
        host::frames::{End, Start},
        link::{Command, Event, Link},
    },
    app::ports::sessions::{News, Order, Outcome, Report, SessionSpec},
};

/// How long a driver may take to report what its program had said.
const DRIVER_GRACE: Duration = Duration::from_secs(60);

/// Where a session sits: its host before it, whoever owns it behind it.
pub(super) struct Desk<'a> {
    pub(super) link: &'a mut Link,
    pub(super) orders: &'a mut Orders,
    pub(super) publishing: &'a mut Publishing,
    pub(super) reports: &'a mpsc::Sender<Report>,
}

/// How the part of a session with a program went.
pub(super) enum Served {
    /// It was told to close before there was a workspace.
    Unprepared,
    /// It was told to close.
    Closed,
    /// The program ended by itself.
    Ended(End),
    NotOpened(String),
    Lost(String),
}

impl Inner {
    fn start(
        spec: &SessionSpec,
        arguments: Vec<String>,
        environment: Vec<(String, String)>,
    ) -> Command {
        let program = spec.program.command.clone();
        Command::Start(Start { program, arguments, environment })
    }

    pub(super) async fn serve_acp(
        &self,
        spec: &SessionSpec,
        cwd: PathBuf,
        variables: Vec<(String, String)>,
        desk: &mut Desk<'_>,
    ) -> Served {
        let Desk { link, orders, publishing, reports } = desk;
        link.tell(Self::start(spec, spec.program.arguments.clone(), variables)).await;
        let io = match answer(link, orders).await {
            Some(Event::Started(io)) => io,
            Some(Event::Failed(why) | Event::Lost(why)) => return Served::NotOpened(why),
            Some(_) => return Served::Lost("the host answered something else".to_owned()),
            None => return self.stop(link, orders).await,
        };
        let (give, taken) = mpsc::channel(16);
        let driver = self.drivers.acp(spec, cwd, io, taken, (*reports).clone());
        let mut driver = Driven::new(tokio::spawn(driver));
        let mut give = Some(give);
        let served = loop {
            if let Some(close) = orders.close_due() {
                // The driver cancels what runs, and the program hears that its input ends.
                give = None;
                link.tell(Command::Stop(close.grace)).await;
            }
            publishing.begin_if_due(self, link, orders).await;
            tokio::select! {
                event = link.next() => match event {
                    Event::Ended(end) => break Served::Ended(end),
                    Event::Lost(why) => break Served::Lost(why),
                    Event::JobDone(made) => publishing.made(made),
                    _ => {}
                },
                () = orders.listen() => {}
                news = publishing.news() => report(reports, spec.agent, news).await,
                permit = reserve(give.as_ref()),
                    if !orders.waiting.is_empty() && !publishing.commits() =>
                {
                    // A driver that has ended takes no orders: they are dropped.
                    let order = orders.waiting.pop_front();
                    if let (Some(permit), Some(order)) = (permit, order) {
                        permit.send(order);
                    }
                }
                () = driver.finished(), if driver.result.is_none() => {
                    // It takes no more orders, so nothing is left to do for the program.
                    link.tell(Command::Stop(GRACE)).await;
                }
            }
        };
        drop(give);
        match driver.result(orders).await {
            Ok(()) => served,
            Err(_) if orders.close.is_some() => served,
            Err(why) => Served::NotOpened(with_end(why, &served)),
        }
    }

    pub(super) async fn serve_commands(
        &self,
        spec: &SessionSpec,
        variables: &[(String, String)],
        desk: &mut Desk<'_>,
    ) -> Served {
        report(desk.reports, spec.agent, News::Opened { session: None }).await;
        loop {
            if desk.orders.close.is_some() {
                return Served::Closed;
            }
            // A host's answers are told apart by their order: a run begins once nothing else is to come.
            while desk.publishing.is_idle()
                && let Some(order) = desk.orders.waiting.pop_front()
            {
                let Order::Prompt { text } = order else { continue };
                match self.turn(spec, variables, &text, desk).await {
                    Ok(Some(outcome)) => {
                        report(desk.reports, spec.agent, News::TurnEnded(outcome)).await;
                    }
                    Ok(None) => return Served::Closed,
                    Err(why) => return Served::Lost(why),
                }
            }
            let Desk { link, orders, publishing, reports } = desk;
            publishing.begin_if_due(self, link, orders).await;
            tokio::select! {
                event = link.next() => match event {
                    Event::Lost(why) => return Served::Lost(why),
                    Event::JobDone(made) => publishing.made(made),
                    _ => {}
                },
                () = orders.listen() => {}
                news = publishing.news() => report(reports, spec.agent, news).await,
            }
        }
    }

    /// Runs a command once. `None` if the session was told to close meanwhile.
    async fn turn(
        &self,
        spec: &SessionSpec,
        variables: &[(String, String)],
        task: &str,
        desk: &mut Desk<'_>,
    ) -> Result<Option<Outcome>, String> {
        let run = match self.drivers.command(&spec.program.arguments, task) {
            Ok(run) => run,
            Err(why) => return Ok(Some(Outcome::Failed(why))),
        };
        let Desk { link, orders, publishing, reports } = desk;
        link.tell(Self::start(spec, run.arguments, variables.to_vec())).await;
        let io = match answer(link, orders).await {
            Some(Event::Started(io)) => io,
            Some(Event::Failed(why)) => return Ok(Some(Outcome::Failed(why))),
            Some(Event::Lost(why)) => return Err(why),
            Some(_) => return Err("the host answered something else".to_owned()),
            None => {
                return match self.stop(link, orders).await {
                    Served::Lost(why) => Err(why),
                    _ => Ok(None),
                };
            }
        };
        let driver = self.drivers.run(spec.agent, run.input, io, (*reports).clone());
        let driver = Driven::new(tokio::spawn(async move {
            driver.await;
            Ok(())
        }));
        let mut canceled = false;
        let ended = loop {
            if let Some(close) = orders.close_due() {
                link.tell(Command::Stop(close.grace)).await;
            }
            // No other order means anything to a command that runs.
            if orders.waiting.drain(..).any(|order| matches!(order, Order::Cancel)) {
                canceled = true;
                link.tell(Command::Stop(Duration::ZERO)).await;
            }
            publishing.begin_if_due(self, link, orders).await;
            tokio::select! {
                event = link.next() => match event {
                    Event::Ended(end) => break Ok(end),
                    Event::Lost(why) => break Err(why),
                    Event::JobDone(made) => publishing.made(made),
                    _ => {}
                },
                () = orders.listen() => {}
                news = publishing.news() => report(reports, spec.agent, news).await,
            }
        };
        // What it said is reported before how it ended.
        let _ = driver.result(orders).await;
        let end = ended?;
        if orders.close.is_some() {
            return Ok(None);
        }
        Ok(Some(if canceled { Outcome::Canceled } else { outcome(&end) }))
    }

    /// Ends a program that was told to start when the session was told to close.
    async fn stop(&self, link: &mut Link, orders: &mut Orders) -> Served {
        let grace = orders.close.map_or(GRACE, |close| close.grace);
        link.tell(Command::Stop(grace)).await;
        loop {
            tokio::select! {
                event = link.next() => match event {
                    // What it says is of no interest any more.
                    Event::Started(io) => drop(io),
                    Event::Ended(_) | Event::Failed(_) => return Served::Closed,
                    Event::Lost(why) => return Served::Lost(why),
                    _ => {}
                },
                () = orders.listen() => {}
            }
        }
    }
}

/// The host's next event; `None` once the session is to close. What was asked goes on then.
pub(super) async fn answer(link: &mut Link, orders: &mut Orders) -> Option<Event> {
    loop {
        if orders.close.is_some() {
            return None;
        }
        tokio::select! {
            event = link.next() => return Some(event),
            () = orders.listen() => {}
        }
    }
}

async fn reserve(orders: Option<&mpsc::Sender<Order>>) -> Option<mpsc::Permit<'_, Order>> {
    match orders {
        Some(orders) => orders.reserve().await.ok(),
        None => None,
    }
}

/// A driver at work.
struct Driven {
    task: JoinHandle<Result<(), String>>,
    result: Option<Result<(), String>>,
}

impl Driven {
    fn new(task: JoinHandle<Result<(), String>>) -> Self {
        Self { task, result: None }
    }

    /// Waits for its end. Cancel-safe.
    async fn finished(&mut self) {
        let result = (&mut self.task).await;
        self.result = Some(result.unwrap_or_else(|error| Err(format!("the driver: {error}"))));
    }

    /// Its result, once its program has ended.
    async fn result(mut self, orders: &mut Orders) -> Result<(), String> {
        let give_up = tokio::time::Instant::now() + DRIVER_GRACE;
        while self.result.is_none() {
            tokio::select! {
                () = self.finished() => {}
                () = orders.listen() => {}
                () = tokio::time::sleep_until(give_up) => {
                    self.task.abort();
                    break;
                }
            }
        }
        self.result.unwrap_or(Ok(()))
    }
}

fn outcome(end: &End) -> Outcome {
    match end {
        End { out_of_memory: true, .. } => Outcome::Failed("it ran out of memory".to_owned()),
        End { code: Some(0), .. } => Outcome::Done,
        End { code: Some(code), .. } => Outcome::Failed(format!("exit status {code}")),
        End { signal: Some(signal), .. } => Outcome::Failed(format!("ended by signal {signal}")),
        End { .. } => Outcome::Failed("nobody knows how it ended".to_owned()),
    }
}

fn with_end(why: String, served: &Served) -> String {
    match served {
        Served::Ended(end) if !end.ordered => match outcome(end) {
            Outcome::Failed(end) => format!("{why} ({end})"),
            _ => why,
        },
        _ => why,
    }
}
