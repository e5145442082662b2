//! The part of a session in which its program runs, and its driver speaks with it.

use std::{path::PathBuf, time::Duration};

use tokio::{sync::mpsc, task::JoinHandle};

use super::{Driving, GRACE, Inner, orders::Orders, publishing::Publishing, report};
use crate::{
    agents::{
        host::frames::{End, Start},
        io::{AgentIo, Resumed},
        link::{Command, Event, Link},
    },
    app::ports::sessions::{Driver, Order, Report, SessionSpec},
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
    NotResumed(String),
    Lost(String),
}

/// What to start for this session.
pub(super) fn start(spec: &SessionSpec, environment: Vec<(String, String)>) -> Start {
    let program = spec.program.command.clone();
    Start { program, arguments: spec.program.arguments.clone(), environment }
}

impl Inner {
    /// Runs the session's driver until its program has ended, or until it is to close.
    pub(super) async fn drive(
        &self,
        spec: &SessionSpec,
        cwd: PathBuf,
        io: AgentIo,
        from: Option<Resumed>,
        desk: &mut Desk<'_>,
    ) -> Served {
        let Desk { link, orders, publishing, reports } = desk;
        let resumes = from.is_some();
        let (give, taken) = mpsc::channel(16);
        // A command's program comes and goes; the session stays.
        let (driver, stays): (Driving<_>, bool) = match spec.program.driver {
            Driver::Acp => (self.drivers.acp(spec, cwd, io, taken, from), false),
            Driver::Command => (self.drivers.command(spec, io, taken, from), true),
        };
        let mut driver = Driven::new(tokio::spawn(driver));
        let mut give = Some(give);
        let mut ended = None;
        let served = loop {
            if let Some(close) = orders.close_due() {
                // The driver cancels what runs, and the program hears that its input ends.
                give = None;
                link.tell(Command::Stop(close.grace)).await;
            }
            publishing.begin_if_due(self, link, orders).await;
            let ending = orders.close.is_some() || driver.result.is_some();
            tokio::select! {
                event = link.next() => match event {
                    Event::Over(end) if ending || !stays => {
                        ended = end;
                        break match end {
                            Some(end) => Served::Ended(end),
                            None => Served::Closed,
                        };
                    }
                    Event::Lost(why) => break Served::Lost(why),
                    Event::Refused(why) => break Served::NotResumed(why),
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
                    // Without a failure the program has ended, or the host is lost: that is told next.
                    if matches!(driver.result, Some(Err(_))) {
                        link.tell(Command::Stop(GRACE)).await;
                    }
                }
            }
        };
        drop(give);
        match driver.result(orders).await {
            Ok(()) => served,
            Err(_) if orders.close.is_some() => served,
            Err(why) if resumes => Served::NotResumed(why),
            Err(why) => Served::NotOpened(with_end(why, ended)),
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

fn with_end(why: String, end: Option<End>) -> String {
    match end {
        Some(end) if !end.ordered && (end.code != Some(0) || end.out_of_memory) => {
            format!("{why} ({})", end.in_words())
        }
        _ => why,
    }
}
