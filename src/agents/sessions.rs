//! Sessions of agents: a host, a workspace, a program and its driver, from open to ended.

mod orders;
mod program;
mod variables;

use std::{
    fs::DirBuilder,
    io,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
    pin::Pin,
    sync::Arc,
    time::Duration,
};

use base64::Engine as _;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use self::{
    orders::{Close, Orders},
    program::{Served, answer},
};
use super::{
    host::frames::{Credential, End, Job, Place, Workspace},
    io::AgentIo,
    launch::{Launched, Launcher},
    link::{Command, Event, Link},
    publish,
};
use crate::{
    app::ports::sessions::{Cause, Driver, News, Order, Report, SessionSpec, Sessions, Whose},
    fleet::{AgentId, AgentName, Entry, EntryKind},
};

/// How long a program may take to end by itself where nobody says.
const GRACE: Duration = Duration::from_secs(5);
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
    let_go: CancellationToken,
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
        let let_go = CancellationToken::new();
        let inner = Inner { agents, projects, launcher, drivers, confine, let_go };
        Ok(Self { inner: Arc::new(inner) })
    }
}

impl LocalSessions {
    /// Runs what serves a session, until the daemon lets go of it.
    fn spawn(&self, serving: impl Future<Output = ()> + Send + 'static) {
        let let_go = self.inner.let_go.clone();
        tokio::spawn(async move { let_go.run_until_cancelled_owned(serving).await });
    }
}

impl Sessions for LocalSessions {
    /// To be called within a tokio runtime.
    fn open(&self, spec: SessionSpec, reports: mpsc::Sender<Report>) -> mpsc::Sender<Order> {
        let (give, orders) = mpsc::channel(16);
        let inner = Arc::clone(&self.inner);
        self.spawn(async move {
            let agent = spec.agent;
            let orders = Orders::new(orders);
            let cause = inner.session(spec, orders, &reports).await;
            report(&reports, agent, News::Ended(cause)).await;
        });
        give
    }

    /// To be called within a tokio runtime.
    fn remove(&self, whose: Whose, reports: mpsc::Sender<Report>) {
        let inner = Arc::clone(&self.inner);
        self.spawn(async move {
            // Whoever deletes has nothing more to order.
            let (_orders, none) = mpsc::channel(1);
            let mut orders = Orders::new(none);
            let cause = inner.remove_after_all(&whose, &mut orders, &reports).await;
            report(&reports, whose.agent, News::Ended(cause)).await;
        });
    }

    fn outlive(&self) -> bool {
        self.inner.launcher.outlive()
    }

    fn let_go(&self) {
        self.inner.let_go.cancel();
    }
}

fn whose(spec: &SessionSpec) -> Whose {
    let (name, repository) = (spec.name.clone(), spec.repository.clone());
    Whose { agent: spec.agent, name, repository }
}

async fn report(reports: &mpsc::Sender<Report>, agent: AgentId, news: News) {
    // Without a listener the daemon is ending.
    let _ = reports.send(Report { agent, news, receipt: None }).await;
}

fn notice(content: String) -> News {
    News::Said(Entry { kind: EntryKind::Notice, content, joins: false })
}

impl Inner {
    fn place(&self, agent: AgentId, name: &AgentName) -> Place {
        Place {
            directory: self.agents.join(name.as_str()),
            name: name.as_str().to_owned(),
            agent: agent.0,
        }
    }

    fn workspace(&self, whose: &Whose, credentials: Vec<Credential>) -> Workspace {
        let place = self.place(whose.agent, &whose.name);
        Workspace { place, source: whose.repository.clone(), credentials, confine: self.confine }
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
        let mut link = Link::new(stream, self.let_go.clone());
        let mut prepared = false;
        let served = self.serve(&spec, &mut link, &mut orders, &mut prepared, reports).await;
        let lost = matches!(served, Served::Lost(_));
        if prepared
            && !lost
            && let Some(close) = orders.close
        {
            self.finish(&whose(&spec), close, &mut link, &mut orders, reports).await;
        }
        drop(link);
        loop {
            tokio::select! {
                () = &mut gone => break,
                () = orders.listen() => {}
            }
        }
        if orders.close.is_some_and(|close| close.remove) && (lost || !prepared) {
            return self.remove_after_all(&whose(&spec), &mut orders, reports).await;
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
        let variables = match variables::gather(&spec.program).await {
            Ok(variables) => variables,
            Err(why) => return Served::NotOpened(why),
        };
        link.tell(Command::Prepare(self.workspace(&whose(spec), credentials))).await;
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
            Driver::Acp => self.serve_acp(spec, variables, link, orders, reports).await,
            Driver::Command => self.serve_commands(spec, &variables, link, orders, reports).await,
        }
    }

    /// Publishes the agent's branch, and removes the workspace if that is wanted and nothing would
    /// be lost with it.
    async fn finish(
        &self,
        whose: &Whose,
        close: Close,
        link: &mut Link,
        orders: &mut Orders,
        reports: &mpsc::Sender<Report>,
    ) {
        let mut kept = None;
        if let Some(source) = &whose.repository {
            match self.publish(&whose.name, source, link, orders).await {
                Ok((repository, branch)) => {
                    let news = News::Published { repository, branch };
                    report(reports, whose.agent, news).await;
                }
                Err(why) => {
                    report(reports, whose.agent, notice(format!("not published: {why}"))).await;
                    kept = Some(why);
                }
            }
        }
        // It may have been told meanwhile.
        let remove = close.remove || orders.close.is_some_and(|close| close.remove);
        if !remove {
            return;
        }
        let place = self.place(whose.agent, &whose.name);
        let shown = place.directory.display().to_string();
        let removed = match kept {
            Some(_) => Err(format!("its branch could not be published; it is kept: `{shown}`")),
            None => job(link, orders, Job::Remove(place), None).await,
        };
        if let Err(why) = removed {
            let why = format!("the workspace was not removed: {why}");
            report(reports, whose.agent, notice(why)).await;
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

    /// Removes a workspace without a session that could do it. Work is published before.
    async fn remove_after_all(
        self: &Arc<Self>,
        whose: &Whose,
        orders: &mut Orders,
        reports: &mpsc::Sender<Report>,
    ) -> Cause {
        let repo = self.place(whose.agent, &whose.name).directory.join("repo/.git");
        // Who can't be sure takes it for work.
        if whose.repository.is_none() || matches!(repo.try_exists(), Ok(false)) {
            return self.remove(whose.agent, &whose.name).await;
        }
        let Launched { stream, gone } = match self.launch(whose.agent).await {
            Ok(launched) => launched,
            Err(why) => return Cause::Lost(why),
        };
        let mut link = Link::new(stream, self.let_go.clone());
        link.tell(Command::Prepare(self.workspace(whose, Vec::new()))).await;
        let close = Close { remove: true, grace: GRACE };
        match link.next().await {
            Event::Prepared(_) => self.finish(whose, close, &mut link, orders, reports).await,
            Event::Failed(why) | Event::Lost(why) => {
                tracing::warn!(agent = %whose.name, "the workspace was not removed: {why}");
            }
            _ => {}
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
        let mut link = Link::new(stream, self.let_go.clone());
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
