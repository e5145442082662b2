//! Sessions of agents: a host, a workspace, a program and its driver, from open to ended.

use std::{
    collections::VecDeque,
    fs::DirBuilder,
    io,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
    pin::Pin,
    sync::Arc,
    time::Duration,
};

use base64::Engine as _;
use tokio::{sync::mpsc, task::JoinHandle};

use super::{
    host::frames::{Credential, End, Job, Place, Start, Workspace},
    io::AgentIo,
    launch::{Launched, Launcher},
    link::{Command, Event, Link},
    publish,
};
use crate::{
    app::ports::sessions::{Cause, Driver, News, Order, Outcome, Report, SessionSpec, Sessions},
    fleet::{AgentId, AgentName, Entry, EntryKind},
};

/// How long a program may take to end by itself where nobody says.
const GRACE: Duration = Duration::from_secs(5);
/// How long a driver may take to report what its program had said.
const DRIVER_GRACE: Duration = Duration::from_secs(60);
/// Most orders that wait for a driver.
const MAX_ORDERS: usize = 64;
/// Most bytes of a file with credentials.
const MAX_CREDENTIAL: u64 = 256 * 1024;

/// A future that the driver of a program runs in.
pub type Driving<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// The drivers: how to talk to programs.
pub trait Drivers: Send + Sync + 'static {
    /// Serves an ACP program until its lines end. Errs, in words, if it never took prompts.
    fn acp(
        &self,
        spec: &SessionSpec,
        cwd: PathBuf,
        io: AgentIo,
        orders: mpsc::Receiver<Order>,
        reports: mpsc::Sender<Report>,
    ) -> Driving<Result<(), String>>;

    /// How a command is run for a task. Errs, in words, if it can't be.
    ///
    /// # Errors
    /// When the task can't be handed to the program; in words.
    fn command(&self, arguments: &[String], task: &str) -> Result<Run, String>;

    /// Serves one run of a command until its lines end.
    fn run(
        &self,
        agent: AgentId,
        input: Vec<String>,
        io: AgentIo,
        reports: mpsc::Sender<Report>,
    ) -> Driving<()>;
}

/// One run of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// Its arguments.
    pub arguments: Vec<String>,
    /// Lines for its standard input, which ends after them.
    pub input: Vec<String>,
}

/// Sessions on this machine.
#[derive(Clone)]
pub struct LocalSessions {
    inner: Arc<Inner>,
}

struct Inner {
    agents: PathBuf,
    projects: PathBuf,
    launcher: Arc<dyn Launcher>,
    drivers: Arc<dyn Drivers>,
    confine: bool,
}

impl LocalSessions {
    /// Sessions with workspaces and branches below the state directory. `confine` keeps programs in
    /// their workspaces where the kernel can.
    ///
    /// # Errors
    /// When the directory for the workspaces can't be made.
    pub fn new(
        state_dir: &Path,
        launcher: Arc<dyn Launcher>,
        drivers: Arc<dyn Drivers>,
        confine: bool,
    ) -> io::Result<Self> {
        let state_dir = std::path::absolute(state_dir)?;
        let agents = state_dir.join("agents");
        DirBuilder::new().recursive(true).mode(0o700).create(&agents)?;
        let projects = state_dir.join("projects");
        Ok(Self { inner: Arc::new(Inner { agents, projects, launcher, drivers, confine }) })
    }
}

impl Sessions for LocalSessions {
    /// To be called within a tokio runtime.
    fn open(&self, spec: SessionSpec, reports: mpsc::Sender<Report>) -> mpsc::Sender<Order> {
        let (give, orders) = mpsc::channel(16);
        let inner = Arc::clone(&self.inner);
        tokio::spawn(async move {
            let agent = spec.agent;
            let orders = Orders::new(orders);
            let cause = inner.session(spec, orders, &reports).await;
            report(&reports, agent, News::Ended(cause)).await;
        });
        give
    }

    /// To be called within a tokio runtime.
    fn remove(&self, agent: AgentId, name: AgentName, reports: mpsc::Sender<Report>) {
        let inner = Arc::clone(&self.inner);
        tokio::spawn(async move {
            let cause = inner.remove(agent, &name).await;
            report(&reports, agent, News::Ended(cause)).await;
        });
    }
}

async fn report(reports: &mpsc::Sender<Report>, agent: AgentId, news: News) {
    // Without a listener the daemon is ending.
    let _ = reports.send(Report { agent, news, receipt: None }).await;
}

fn notice(content: String) -> News {
    News::Said(Entry { kind: EntryKind::Notice, content, joins: false })
}

/// What a session was told to do at its end.
#[derive(Debug, Clone, Copy)]
struct Close {
    remove: bool,
    grace: Duration,
}

/// Orders, taken whatever the session is doing. Once it is to close, only that counts.
struct Orders {
    orders: mpsc::Receiver<Order>,
    waiting: VecDeque<Order>,
    close: Option<Close>,
    /// The close has been answered; another one may change what is removed.
    told: bool,
}

impl Orders {
    fn new(orders: mpsc::Receiver<Order>) -> Self {
        Self { orders, waiting: VecDeque::new(), close: None, told: false }
    }

    /// Waits for an order that changes something. Cancel-safe.
    async fn listen(&mut self) {
        loop {
            if self.orders.is_closed() && self.orders.is_empty() && self.close.is_some() {
                return std::future::pending().await;
            }
            match self.orders.recv().await {
                Some(Order::Close { remove_workspace, grace_secs }) => {
                    let grace = Duration::from_secs(grace_secs.into());
                    let earlier = self.close.unwrap_or(Close { remove: false, grace });
                    self.close = Some(Close {
                        remove: earlier.remove || remove_workspace,
                        grace: earlier.grace.min(grace),
                    });
                    self.told = false;
                }
                None => {
                    self.close.get_or_insert(Close { remove: false, grace: GRACE });
                }
                Some(order) if self.close.is_none() && self.waiting.len() < MAX_ORDERS => {
                    self.waiting.push_back(order);
                }
                Some(_) if self.close.is_some() => continue,
                Some(_) => {
                    tracing::warn!("an agent takes no orders, {MAX_ORDERS} wait; one is dropped");
                    continue;
                }
            }
            return;
        }
    }

    /// A close that was not answered yet.
    fn close_due(&mut self) -> Option<Close> {
        let close = self.close.filter(|_| !self.told)?;
        self.told = true;
        Some(close)
    }
}

/// How the part of a session with a program went.
enum Served {
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
    fn place(&self, agent: AgentId, name: &AgentName) -> Place {
        Place {
            directory: self.agents.join(name.as_str()),
            name: name.as_str().to_owned(),
            agent: agent.0,
        }
    }

    fn workspace(&self, spec: &SessionSpec, credentials: Vec<Credential>) -> Workspace {
        let place = self.place(spec.agent, &spec.name);
        Workspace { place, source: spec.repository.clone(), credentials, confine: self.confine }
    }

    async fn launch(self: &Arc<Self>, agent: AgentId) -> Result<Launched, String> {
        let inner = Arc::clone(self);
        let launched = tokio::task::spawn_blocking(move || inner.launcher.launch(agent)).await;
        match launched {
            Ok(Ok(launched)) => Ok(launched),
            Ok(Err(error)) => Err(format!("can't start the agent's host: {error}")),
            Err(error) => Err(format!("can't start the agent's host: {error}")),
        }
    }

    async fn session(
        self: &Arc<Self>,
        spec: SessionSpec,
        mut orders: Orders,
        reports: &mpsc::Sender<Report>,
    ) -> Cause {
        let Launched { stream, mut gone } = match self.launch(spec.agent).await {
            Ok(launched) => launched,
            Err(why) => return Cause::NotOpened(why),
        };
        let mut link = Link::new(stream);
        let mut prepared = false;
        let served = self.serve(&spec, &mut link, &mut orders, &mut prepared, reports).await;
        let lost = matches!(served, Served::Lost(_));
        if prepared
            && !lost
            && let Some(close) = orders.close
        {
            self.finish(&spec, close, &mut link, &mut orders, reports).await;
        }
        drop(link);
        loop {
            tokio::select! {
                () = &mut gone => break,
                () = orders.listen() => {}
            }
        }
        if orders.close.is_some_and(|close| close.remove) && (lost || !prepared) {
            return self.remove_after_all(&spec, prepared, &mut orders, reports).await;
        }
        match served {
            Served::NotOpened(why) => Cause::NotOpened(why),
            _ if orders.close.is_some() => Cause::Closed,
            Served::Closed | Served::Unprepared => Cause::Closed,
            Served::Lost(why) => Cause::Lost(why),
            Served::Ended(End { code: Some(code), .. }) => Cause::Exited(code),
            Served::Ended(End { signal: Some(signal), .. }) => Cause::Signaled(signal),
            Served::Ended(_) => Cause::Lost("nobody knows how the program ended".to_owned()),
        }
    }

    async fn serve(
        &self,
        spec: &SessionSpec,
        link: &mut Link,
        orders: &mut Orders,
        prepared: &mut bool,
        reports: &mpsc::Sender<Report>,
    ) -> Served {
        let credentials = match read_credentials(spec.program.credentials.clone()).await {
            Ok(credentials) => credentials,
            Err(why) => return Served::NotOpened(why),
        };
        link.tell(Command::Prepare(self.workspace(spec, credentials))).await;
        match answer(link, orders).await {
            Some(Event::Prepared(confinement)) => {
                *prepared = true;
                tracing::debug!(agent = %spec.name, confinement, "workspace is ready");
            }
            Some(Event::Failed(why) | Event::Lost(why)) => return Served::NotOpened(why),
            Some(_) => return Served::Lost("the host answered something else".to_owned()),
            None => return Served::Unprepared,
        }
        match spec.program.driver {
            Driver::Acp => self.serve_acp(spec, link, orders, reports).await,
            Driver::Command => self.serve_commands(spec, link, orders, reports).await,
        }
    }

    fn start(spec: &SessionSpec, arguments: Vec<String>) -> Command {
        let program = spec.program.command.clone();
        Command::Start(Start { program, arguments, environment: spec.program.environment.clone() })
    }

    async fn serve_acp(
        &self,
        spec: &SessionSpec,
        link: &mut Link,
        orders: &mut Orders,
        reports: &mpsc::Sender<Report>,
    ) -> Served {
        link.tell(Self::start(spec, spec.program.arguments.clone())).await;
        let io = match answer(link, orders).await {
            Some(Event::Started(io)) => io,
            Some(Event::Failed(why) | Event::Lost(why)) => return Served::NotOpened(why),
            Some(_) => return Served::Lost("the host answered something else".to_owned()),
            None => return self.stop(link, orders).await,
        };
        let (give, taken) = mpsc::channel(16);
        let cwd = self.place(spec.agent, &spec.name).directory.join("repo");
        let driver = self.drivers.acp(spec, cwd, io, taken, reports.clone());
        let mut driver = Driven::new(tokio::spawn(driver));
        let mut give = Some(give);
        let served = loop {
            if let Some(close) = orders.close_due() {
                // The driver cancels what runs, and the program hears that its input ends.
                give = None;
                link.tell(Command::Stop(close.grace)).await;
            }
            tokio::select! {
                event = link.next() => match event {
                    Event::Ended(end) => break Served::Ended(end),
                    Event::Lost(why) => break Served::Lost(why),
                    _ => {}
                },
                () = orders.listen() => {}
                permit = reserve(give.as_ref()), if !orders.waiting.is_empty() => {
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
        match driver.result().await {
            Ok(()) => served,
            Err(_) if orders.close.is_some() => served,
            Err(why) => Served::NotOpened(with_end(why, &served)),
        }
    }

    async fn serve_commands(
        &self,
        spec: &SessionSpec,
        link: &mut Link,
        orders: &mut Orders,
        reports: &mpsc::Sender<Report>,
    ) -> Served {
        report(reports, spec.agent, News::Opened { session: None }).await;
        loop {
            if orders.close.is_some() {
                return Served::Closed;
            }
            while let Some(order) = orders.waiting.pop_front() {
                let Order::Prompt { text } = order else { continue };
                match self.turn(spec, &text, link, orders, reports).await {
                    Ok(Some(outcome)) => {
                        report(reports, spec.agent, News::TurnEnded(outcome)).await;
                    }
                    Ok(None) => return Served::Closed,
                    Err(why) => return Served::Lost(why),
                }
            }
            tokio::select! {
                event = link.next() => if let Event::Lost(why) = event {
                    return Served::Lost(why);
                },
                () = orders.listen() => {}
            }
        }
    }

    /// Runs a command once. `None` if the session was told to close meanwhile.
    async fn turn(
        &self,
        spec: &SessionSpec,
        task: &str,
        link: &mut Link,
        orders: &mut Orders,
        reports: &mpsc::Sender<Report>,
    ) -> Result<Option<Outcome>, String> {
        let run = match self.drivers.command(&spec.program.arguments, task) {
            Ok(run) => run,
            Err(why) => return Ok(Some(Outcome::Failed(why))),
        };
        link.tell(Self::start(spec, run.arguments)).await;
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
        let driver = self.drivers.run(spec.agent, run.input, io, reports.clone());
        let driver = Driven::new(tokio::spawn(async move {
            driver.await;
            Ok(())
        }));
        let mut canceled = false;
        let ended = loop {
            if let Some(close) = orders.close_due() {
                link.tell(Command::Stop(close.grace)).await;
            }
            tokio::select! {
                event = link.next() => match event {
                    Event::Ended(end) => break Ok(end),
                    Event::Lost(why) => break Err(why),
                    _ => {}
                },
                () = orders.listen() => {
                    // No other order means anything to a command that runs.
                    if orders.waiting.drain(..).any(|order| matches!(order, Order::Cancel)) {
                        canceled = true;
                        link.tell(Command::Stop(Duration::ZERO)).await;
                    }
                }
            }
        };
        // What it said is reported before how it ended.
        let _ = driver.result().await;
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

    /// Publishes the agent's branch, and removes the workspace if that is wanted and nothing would
    /// be lost with it.
    async fn finish(
        &self,
        spec: &SessionSpec,
        close: Close,
        link: &mut Link,
        orders: &mut Orders,
        reports: &mpsc::Sender<Report>,
    ) {
        let mut kept = None;
        if let Some(source) = &spec.repository {
            match self.publish(&spec.name, source, link, orders).await {
                Ok((repository, branch)) => {
                    let news = News::Published { repository, branch };
                    report(reports, spec.agent, news).await;
                }
                Err(why) => {
                    report(reports, spec.agent, notice(format!("not published: {why}"))).await;
                    kept = Some(why);
                }
            }
        }
        // It may have been told meanwhile.
        let remove = close.remove || orders.close.is_some_and(|close| close.remove);
        if !remove {
            return;
        }
        let place = self.place(spec.agent, &spec.name);
        let shown = place.directory.display().to_string();
        let removed = match kept {
            Some(_) => Err(format!("its branch could not be published; it is kept: `{shown}`")),
            None => job(link, orders, Job::Remove(place), None).await,
        };
        if let Err(why) = removed {
            let why = format!("the workspace was not removed: {why}");
            report(reports, spec.agent, notice(why)).await;
        }
    }

    async fn publish(
        &self,
        name: &AgentName,
        source: &str,
        link: &mut Link,
        orders: &mut Orders,
    ) -> Result<(PathBuf, String), String> {
        let repository = publish::repository(&self.projects, source);
        let (give, parts) = mpsc::channel(4);
        let (place, agent) = (repository.clone(), name.clone());
        let bundle = tokio::task::spawn_blocking(move || publish::receive(&place, &agent, parts));
        let made = job(link, orders, Job::Publish, Some(give)).await;
        let failed = |error: tokio::task::JoinError| error.to_string();
        let bundle = bundle.await.map_err(failed)?;
        made?;
        let (place, agent) = (repository.clone(), name.clone());
        let fetch = move || bundle?.fetch(&place, &agent);
        let branch = tokio::task::spawn_blocking(fetch).await.map_err(failed)??;
        Ok((repository, branch))
    }

    /// Removes the workspace when its host was lost, or not let finish it. Work is published before.
    async fn remove_after_all(
        self: &Arc<Self>,
        spec: &SessionSpec,
        prepared: bool,
        orders: &mut Orders,
        reports: &mpsc::Sender<Report>,
    ) -> Cause {
        if !prepared || spec.repository.is_none() {
            return self.remove(spec.agent, &spec.name).await;
        }
        let Launched { stream, gone } = match self.launch(spec.agent).await {
            Ok(launched) => launched,
            Err(why) => return Cause::Lost(why),
        };
        let mut link = Link::new(stream);
        link.tell(Command::Prepare(self.workspace(spec, Vec::new()))).await;
        let close = Close { remove: true, grace: GRACE };
        if let Event::Prepared(_) = link.next().await {
            self.finish(spec, close, &mut link, orders, reports).await;
        }
        drop(link);
        gone.await;
        Cause::Closed
    }

    async fn remove(self: &Arc<Self>, agent: AgentId, name: &AgentName) -> Cause {
        let Launched { stream, gone } = match self.launch(agent).await {
            Ok(launched) => launched,
            Err(why) => return Cause::NotOpened(why),
        };
        let mut link = Link::new(stream);
        link.tell(Command::Job(Job::Remove(self.place(agent, name)), None)).await;
        let cause = loop {
            match link.next().await {
                Event::JobDone(Ok(_)) => break Cause::Closed,
                Event::JobDone(Err(why)) | Event::Lost(why) => break Cause::NotOpened(why),
                _ => {}
            }
        };
        drop(link);
        gone.await;
        cause
    }
}

/// The host's next event; `None` once the session is to close. What was asked goes on then.
async fn answer(link: &mut Link, orders: &mut Orders) -> Option<Event> {
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

/// Has a job done. Earlier events are of no interest any more.
async fn job(
    link: &mut Link,
    orders: &mut Orders,
    job: Job,
    parts: Option<mpsc::Sender<Vec<u8>>>,
) -> Result<String, String> {
    link.tell(Command::Job(job, parts)).await;
    loop {
        tokio::select! {
            event = link.next() => match event {
                Event::JobDone(result) => return result,
                Event::Lost(why) => return Err(why),
                _ => {}
            },
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
    async fn result(mut self) -> Result<(), String> {
        if self.result.is_none()
            && tokio::time::timeout(DRIVER_GRACE, self.finished()).await.is_err()
        {
            self.task.abort();
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

async fn read_credentials(files: Vec<(PathBuf, PathBuf)>) -> Result<Vec<Credential>, String> {
    let read = move || {
        let read = |(path, from): (PathBuf, PathBuf)| {
            let failed =
                |error| format!("can't read the credentials `{}`: {error}", from.display());
            let size = std::fs::metadata(&from).map_err(failed)?.len();
            if size > MAX_CREDENTIAL {
                return Err(format!(
                    "the credentials `{}` have {size} bytes; at most {MAX_CREDENTIAL} are allowed",
                    from.display()
                ));
            }
            let content = zeroize::Zeroizing::new(std::fs::read(&from).map_err(failed)?);
            let content = base64::engine::general_purpose::STANDARD.encode(&*content);
            Ok(Credential { path, content })
        };
        files.into_iter().map(read).collect()
    };
    tokio::task::spawn_blocking(read).await.map_err(|error| error.to_string())?
}
