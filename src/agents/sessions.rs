//! Sessions of agents: a host, a workspace, a program and its driver, from open to ended.

mod orders;
mod program;
mod publishing;
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
use tokio::{net::UnixStream, sync::mpsc};
use tokio_util::sync::CancellationToken;

use self::{
    orders::Orders,
    program::{Desk, Served, answer, start},
    publishing::Publishing,
};
use super::{
    host::frames::{Credential, End, Job, Place, Workspace},
    io::{AgentIo, Resumed},
    launch::{Launched, Launcher},
    link::{Command, Event, Link, Teller},
};
use crate::{
    app::ports::sessions::{
        Cause, Checkpoint, Driver, News, Order, Report, Retake, Retaken, SessionSpec, Sessions,
        Whose,
    },
    fleet::AgentId,
};

/// How long a program may take to end by itself where nobody says.
const GRACE: Duration = Duration::from_secs(5);
/// The workspace, below the directory of a slot.
const IN_SLOT: &str = "workspace";
/// Where the unit of the slots has systemd make their directories.
const SLOT_STATE: &str = "/var/lib/fleet-agents";
/// Most orders that wait for a session to take them.
const MAX_ORDERS: usize = 64;
/// Most bytes of a file with credentials.
const MAX_CREDENTIAL: u64 = 256 * 1024;

/// A session whose program is no longer served.
struct Left {
    served: Served,
    prepared: bool,
    link: Link,
    gone: Pin<Box<dyn Future<Output = ()> + Send>>,
    publishing: Publishing,
}

/// A future that the driver of a program runs in.
pub type Driving<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// The drivers: how to talk to programs. Each goes on where a former daemon was, if that is known.
pub trait Drivers: Send + Sync + 'static {
    /// Serves an ACP program until it ends. Errs, in words, if it never took prompts.
    fn acp(
        &self,
        spec: &SessionSpec,
        cwd: PathBuf,
        io: AgentIo,
        orders: mpsc::Receiver<Order>,
        from: Option<Resumed>,
    ) -> Driving<Result<(), String>>;

    /// Runs a command once a task, until orders end. Errs, in words, if it can't.
    fn command(
        &self,
        spec: &SessionSpec,
        io: AgentIo,
        orders: mpsc::Receiver<Order>,
        from: Option<Resumed>,
    ) -> Driving<Result<(), String>>;

    /// A session that had outlived the former daemon can't be gone on with; what it was given is void.
    fn not_resumed(&self, spec: &SessionSpec);
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

    fn spawn_without_program(
        &self,
        whose: Whose,
        mut orders: Orders,
        reports: mpsc::Sender<Report>,
    ) {
        let inner = Arc::clone(&self.inner);
        self.spawn(async move {
            let agent = whose.agent;
            let cause = inner.without_program(whose, &mut orders, &reports).await;
            report(&reports, agent, News::Ended(cause)).await;
        });
    }
}

impl Sessions for LocalSessions {
    /// To be called within a tokio runtime.
    fn open(&self, spec: SessionSpec, reports: mpsc::Sender<Report>) -> mpsc::Sender<Order> {
        let (give, orders) = mpsc::channel(MAX_ORDERS);
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
    fn publish(&self, whose: Whose, reports: mpsc::Sender<Report>) -> mpsc::Sender<Order> {
        let (give, orders) = mpsc::channel(MAX_ORDERS);
        self.spawn_without_program(whose, Orders::to_publish(orders), reports);
        give
    }

    /// To be called within a tokio runtime.
    fn remove(&self, whose: Whose, reports: mpsc::Sender<Report>) {
        self.spawn_without_program(whose, Orders::to_remove(), reports);
    }

    fn outlive(&self) -> bool {
        self.inner.launcher.outlive()
    }

    /// To be called within a tokio runtime.
    fn retake(&self, agent: AgentId, how: Retake, reports: mpsc::Sender<Report>) -> Retaken {
        let Some(launched) = self.inner.launcher.retake(agent) else { return Retaken::Gone };
        let inner = Arc::clone(&self.inner);
        match how {
            Retake::GoOn(spec, checkpoint) => {
                let (give, orders) = mpsc::channel(MAX_ORDERS);
                self.spawn(async move {
                    let orders = Orders::new(orders);
                    let cause = inner.resume(*spec, launched, &checkpoint, orders, &reports).await;
                    report(&reports, agent, News::Ended(cause)).await;
                });
                Retaken::GoesOn(give)
            }
            Retake::HangUp => {
                self.spawn(async move {
                    let Launched { stream, gone } = launched;
                    drop(inner.link(agent, stream, &reports));
                    gone.await;
                    report(&reports, agent, News::Ended(Cause::Closed)).await;
                });
                Retaken::Ends
            }
        }
    }

    fn release_rest(&self) {
        self.inner.launcher.release_rest();
    }

    fn let_go(&self) {
        self.inner.let_go.cancel();
    }
}

fn whose(spec: &SessionSpec) -> Whose {
    let (name, repository) = (spec.name.clone(), spec.repository.clone());
    Whose { agent: spec.agent, name, slot: spec.slot.clone(), repository }
}

async fn report(reports: &mpsc::Sender<Report>, agent: AgentId, news: News) {
    // Without a listener the daemon is ending.
    let _ = reports.send(Report::of(agent, news)).await;
}

impl Inner {
    fn place(&self, whose: &Whose) -> Place {
        let directory = match whose.slot {
            None => self.agents.join(whose.name.as_str()),
            // Below the slot's own directory, which only its host knows.
            Some(_) => PathBuf::from(IN_SLOT),
        };
        Place { directory, name: whose.name.as_str().to_owned(), agent: whose.agent.0 }
    }

    /// Where the operator finds the workspace.
    fn shown(&self, whose: &Whose) -> PathBuf {
        match &whose.slot {
            None => self.place(whose).directory,
            Some(slot) => Path::new(SLOT_STATE).join(slot.as_str()).join(IN_SLOT),
        }
    }

    fn workspace(&self, whose: &Whose, credentials: Vec<Credential>) -> Workspace {
        let place = self.place(whose);
        Workspace { place, source: whose.repository.clone(), credentials, confine: self.confine }
    }

    async fn launch(self: &Arc<Self>, whose: &Whose) -> Result<Launched, String> {
        let (inner, agent, slot) = (Arc::clone(self), whose.agent, whose.slot.clone());
        let launch = move || inner.launcher.launch(agent, slot.as_ref());
        let launched = tokio::task::spawn_blocking(launch).await;
        match launched {
            Ok(Ok(launched)) => Ok(launched),
            Ok(Err(error)) => Err(format!("can't start the agent's host: {error}")),
            Err(error) => Err(format!("can't start the agent's host: {error}")),
        }
    }

    /// Begins to speak with a host; what it tells of its program is for a driver.
    fn link(
        &self,
        agent: AgentId,
        stream: UnixStream,
        reports: &mpsc::Sender<Report>,
    ) -> (Link, AgentIo) {
        Link::new(stream, self.teller(agent, reports))
    }

    fn teller(&self, agent: AgentId, reports: &mpsc::Sender<Report>) -> Teller {
        let keeps = self.launcher.outlive();
        Teller { agent, reports: reports.clone(), keeps, let_go: self.let_go.clone() }
    }

    async fn session(
        self: &Arc<Self>,
        spec: SessionSpec,
        mut orders: Orders,
        reports: &mpsc::Sender<Report>,
    ) -> Cause {
        let Launched { stream, gone } = match self.launch(&whose(&spec)).await {
            Ok(launched) => launched,
            Err(why) => return Cause::NotOpened(why),
        };
        let (mut link, io) = self.link(spec.agent, stream, reports);
        let mut publishing = Publishing::new(self, whose(&spec));
        let mut prepared = false;
        let mut desk =
            Desk { link: &mut link, orders: &mut orders, publishing: &mut publishing, reports };
        let served = self.serve(&spec, io, &mut prepared, &mut desk).await;
        let left = Left { served, prepared, link, gone, publishing };
        self.end(left, orders, reports).await
    }

    /// Goes on with a session that has outlived the former daemon.
    async fn resume(
        self: &Arc<Self>,
        spec: SessionSpec,
        Launched { stream, gone }: Launched,
        checkpoint: &Checkpoint,
        mut orders: Orders,
        reports: &mpsc::Sender<Report>,
    ) -> Cause {
        let variables = variables::gather(&spec.program).await;
        let teller = self.teller(spec.agent, reports);
        let resumed = match variables {
            Ok(variables) => Link::resume(stream, teller, checkpoint, start(&spec, variables)),
            Err(why) => {
                // Hangs up.
                drop(Link::new(stream, teller));
                Err(why)
            }
        };
        let (mut link, io, from) = match resumed {
            Ok(resumed) => resumed,
            Err(why) => {
                self.drivers.not_resumed(&spec);
                gone.await;
                return Cause::NotResumed(why);
            }
        };
        let mut publishing = Publishing::new(self, whose(&spec));
        let mut desk =
            Desk { link: &mut link, orders: &mut orders, publishing: &mut publishing, reports };
        // The driver knows its directory from before.
        let served = self.drive(&spec, PathBuf::new(), io, Some(from), &mut desk).await;
        let left = Left { served, prepared: true, link, gone, publishing };
        self.end(left, orders, reports).await
    }

    /// Does what is left to do once the program is no longer served.
    async fn end(
        self: &Arc<Self>,
        left: Left,
        mut orders: Orders,
        reports: &mpsc::Sender<Report>,
    ) -> Cause {
        let Left { served, prepared, mut link, mut gone, mut publishing } = left;
        let lost = matches!(served, Served::Lost(_) | Served::NotResumed(_));
        if prepared && !lost && orders.close.is_some() {
            self.finish(&mut publishing, &mut link, &mut orders, reports).await;
        } else {
            publishing.settle(&mut link, &mut orders, reports).await;
        }
        drop(link);
        loop {
            tokio::select! {
                () = &mut gone => break,
                () = orders.listen() => {}
            }
        }
        if orders.close.is_some_and(|close| close.remove) && (lost || !prepared) {
            let whose = publishing.whose().clone();
            return self.without_program(whose, &mut orders, reports).await;
        }
        match served {
            Served::NotOpened(why) => Cause::NotOpened(why),
            Served::NotResumed(why) => Cause::NotResumed(why),
            _ if orders.close.is_some() => Cause::Closed,
            Served::Closed | Served::Unprepared => Cause::Closed,
            Served::Lost(why) => Cause::Lost(why),
            Served::Ended(End { out_of_memory: true, .. }) => Cause::OutOfMemory,
            Served::Ended(End { code: Some(code), .. }) => Cause::Exited(code),
            Served::Ended(End { signal: Some(signal), .. }) => Cause::Signaled(signal),
            Served::Ended(_) => Cause::Lost("nobody knows how the program ended".to_owned()),
        }
    }

    async fn serve(
        &self,
        spec: &SessionSpec,
        io: AgentIo,
        prepared: &mut bool,
        desk: &mut Desk<'_>,
    ) -> Served {
        let credentials = match read_credentials(spec.program.credentials.clone()).await {
            Ok(credentials) => credentials,
            Err(why) => return Served::NotOpened(why),
        };
        let variables = match variables::gather(&spec.program).await {
            Ok(variables) => variables,
            Err(why) => return Served::NotOpened(why),
        };
        desk.link.tell(Command::Prepare(self.workspace(&whose(spec), credentials))).await;
        let directory = match answer(desk.link, desk.orders).await {
            Some(Event::Prepared { confinement, directory }) => {
                *prepared = true;
                tracing::debug!(agent = %spec.name, confinement, "workspace is ready");
                directory
            }
            Some(Event::Failed(why) | Event::Lost(why)) => return Served::NotOpened(why),
            Some(_) => return Served::Lost("the host answered something else".to_owned()),
            None => return Served::Unprepared,
        };
        let start = start(spec, variables);
        let start = match spec.program.driver {
            Driver::Acp => Command::Start(start),
            Driver::Command => Command::Program(start),
        };
        desk.link.tell(start).await;
        self.drive(spec, directory.join("repo"), io, None, desk).await
    }

    /// Publishes the agent's branch, and removes the workspace if that is wanted and nothing would
    /// be lost with it.
    async fn finish(
        &self,
        publishing: &mut Publishing,
        link: &mut Link,
        orders: &mut Orders,
        reports: &mpsc::Sender<Report>,
    ) {
        let failed = publishing.finish(self, link, orders, reports).await;
        // It may have been told meanwhile.
        if !orders.close.is_some_and(|close| close.remove) {
            return;
        }
        let Whose { agent, name, .. } = publishing.whose();
        let workspace = self.shown(publishing.whose());
        let place = self.place(publishing.whose());
        let removed = match failed {
            Some(_) => Err("its branch could not be published".to_owned()),
            None => remove(link, orders, place).await,
        };
        if let Err(why) = removed {
            tracing::warn!(agent = %name, "the workspace `{}` is kept: {why}", workspace.display());
            report(reports, *agent, News::Kept { workspace, why }).await;
        }
    }

    /// Publishes the work of an agent without a program, and removes its workspace if that is wanted.
    async fn without_program(
        self: &Arc<Self>,
        whose: Whose,
        orders: &mut Orders,
        reports: &mpsc::Sender<Report>,
    ) -> Cause {
        let Launched { stream, gone } = match self.launch(&whose).await {
            Ok(launched) => launched,
            Err(why) => {
                if orders.close.is_some_and(|close| close.remove) {
                    let workspace = self.shown(&whose);
                    report(reports, whose.agent, News::Kept { workspace, why: why.clone() }).await;
                }
                return Cause::NotOpened(why);
            }
        };
        let (mut link, _) = self.link(whose.agent, stream, reports);
        let mut publishing = Publishing::new(self, whose);
        self.finish(&mut publishing, &mut link, orders, reports).await;
        drop(link);
        gone.await;
        Cause::Closed
    }
}

async fn remove(link: &mut Link, orders: &mut Orders, place: Place) -> Result<(), String> {
    link.tell(Command::Job(Job::Remove(place), None)).await;
    loop {
        tokio::select! {
            event = link.next() => match event {
                Event::JobDone(result) => return result.map(drop),
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
