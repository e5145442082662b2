//! Puts the fleet together: its store, its sessions, its supervisor.

use std::{
    io,
    os::fd::BorrowedFd,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use tokio::sync::{mpsc, watch};

use super::{agent_tokens::AgentTokens, failure::Failure, figures::OwnFigures};
use crate::{
    agents::{
        child::{self, ChildLauncher, Swept},
        drivers::{acp, command},
        host,
        io::{AgentIo, Resumed},
        launch::Launcher,
        sessions::{Drivers, Driving, LocalSessions},
        slots::{self, SlotDir, SlotLauncher},
    },
    app::{
        FleetAccess,
        clock::Clock,
        metrics::Metrics,
        ports::{
            fleet_store::FleetStore,
            sessions::{Order, SessionSpec},
            slots::Slots,
        },
        recorder::Recorder,
        settings::Settings,
        supervisor::{Parts, Revived, Supervisor},
        tokens::Tokens,
    },
    exit::Exit,
    log,
    stores::FleetDb,
    systemd::{
        notify,
        store::{self, Inherited},
    },
};

/// How long agents may take to end once the daemon has hung up; then they are killed.
const END_TIMEOUT: Duration = Duration::from_secs(5);

/// Opens the store, ends what a killed daemon has left, and revives the fleet. Blocks on the disk.
pub(super) fn revive(
    settings: watch::Receiver<Arc<Settings>>,
    tokens: &Arc<Tokens>,
    clock: &Arc<dyn Clock>,
    recorder: Recorder,
    log: &Arc<log::Guard>,
    inherited: &mut Inherited,
) -> Result<(FleetAccess, Revived), Failure> {
    let state_dir = settings.borrow().state_dir.clone();
    let directory = settings.borrow().fleet.slots.clone();
    let failed = |what: &str, error: io::Error| {
        Failure::new(format!("{what} below `{}`", state_dir.display())).caused_by(error)
    };
    let db = Arc::new(FleetDb::open(&state_dir)?);
    let store: Arc<dyn FleetStore> = Arc::clone(&db) as _;
    let children =
        ChildLauncher::new(&state_dir).map_err(|error| failed("can't run agents", error))?;
    // Also where there are slots now: there may have been none before.
    let swept = children.sweep().map_err(|error| failed("can't end former agents", error))?;
    tell(&swept);
    let (launcher, slots, isolation) = match directory {
        None => children_of(children),
        Some(directory) => in_slots(&directory, inherited),
    };
    let access = AgentTokens {
        tokens: Arc::clone(tokens),
        settings: settings.clone(),
        listeners: Arc::default(),
    };
    let listeners = Arc::clone(&access.listeners);
    let drivers = Speakers { clock: Arc::clone(clock), access };
    let sessions = LocalSessions::new(&state_dir, launcher, Arc::new(drivers), true)
        .map_err(|error| failed("can't make workspaces", error))?;
    let metrics = Arc::<Metrics>::default();
    let (supervisor, revived) = Supervisor::revive(Parts {
        store: Arc::clone(&store),
        sessions: Arc::new(sessions),
        slots: slots.clone(),
        settings,
        metrics: Arc::clone(&metrics),
        clock: Arc::clone(clock),
    })
    .map_err(|error| Failure::from(error).exit(Exit::Config))?;
    let isolation = format!("{isolation}; {}", host::confinement());
    tracing::info!("{isolation}");
    if let Some(Err(why)) = slots.as_ref().map(|slots| slots.all()) {
        tracing::warn!("no agent can be created: {why}");
    }
    let snapshot = revived.snapshot();
    let figures = Arc::new(OwnFigures { log: Arc::clone(log), db: Arc::clone(&db) });
    let access = FleetAccess {
        snapshot,
        logs: revived.logs(),
        supervisor,
        store,
        events: db,
        recorder,
        metrics,
        figures,
        isolation,
        slots,
        listeners,
    };
    Ok((access, revived))
}

/// A launcher, the places that it has, and what keeps agents apart there.
type Launching = (Arc<dyn Launcher>, Option<Arc<dyn Slots>>, String);

fn children_of(children: ChildLauncher) -> Launching {
    let uid = nix::unistd::geteuid();
    (Arc::new(children), None, format!("agents run as the daemon's own user (uid {uid})"))
}

fn in_slots(directory: &Path, inherited: &mut Inherited) -> Launching {
    let slots = SlotDir::new(directory);
    let launcher = SlotLauncher::new(slots.clone(), Arc::new(FdStore), inherited);
    let isolation =
        "each agent runs in a slot: under a user of its own and in a cgroup of its own, by systemd";
    (Arc::new(launcher), Some(Arc::new(slots)), isolation.to_owned())
}

/// The service manager's store, as the launcher wants it.
struct FdStore;

impl slots::Store for FdStore {
    fn is_there(&self) -> bool {
        notify::is_supervised()
    }

    fn keep(&self, name: &str, descriptor: BorrowedFd<'_>) -> io::Result<()> {
        store::keep(name, descriptor)
    }

    fn forget(&self, name: &str) -> io::Result<()> {
        store::forget(name)
    }
}

/// Waits until no agent is left. Their connections must have been hung up. Blocks.
pub(super) fn await_end() {
    if let Err(error) = child::await_end(END_TIMEOUT) {
        tracing::error!("agents may be left: {error}");
    }
}

fn tell(swept: &Swept) {
    for (agent, count) in &swept.killed {
        tracing::warn!(agent, count, "ended processes that a killed daemon had left");
    }
    if !swept.left.is_empty() {
        tracing::error!("processes of former agents can't be ended: {:?}", swept.left);
    }
}

/// The drivers, as sessions want them.
struct Speakers {
    clock: Arc<dyn Clock>,
    access: AgentTokens,
}

impl Drivers for Speakers {
    fn acp(
        &self,
        spec: &SessionSpec,
        cwd: PathBuf,
        io: AgentIo,
        orders: mpsc::Receiver<Order>,
        from: Option<Resumed>,
    ) -> Driving<Result<(), String>> {
        let (access, wanted) = (self.access.clone(), spec.clone());
        let resumes = from.is_some();
        let mut params = acp::Params {
            cwd,
            resume: spec.resume.clone(),
            permissions: spec.permissions,
            mode: spec.mode.clone(),
            model: spec.model.clone(),
            fleet: None,
            clock: Arc::clone(&self.clock),
        };
        Box::pin(async move {
            // Held until the session ends: then the token is void.
            let _token = if resumes {
                access.retake(&wanted)
            } else {
                let given = access.give(&wanted).await;
                let given =
                    given.map_err(|why| format!("it can't have the fleet's tools: {why}"))?;
                let (server, token) = given.unzip();
                params.fleet = server;
                token
            };
            acp::drive(io, params, from, orders).await.map_err(|acp::NotOpened(why)| why)
        })
    }

    fn not_resumed(&self, spec: &SessionSpec) {
        // Whoever holds it drops it, and the token is void.
        drop(self.access.retake(spec));
    }

    fn command(
        &self,
        spec: &SessionSpec,
        io: AgentIo,
        orders: mpsc::Receiver<Order>,
        from: Option<Resumed>,
    ) -> Driving<Result<(), String>> {
        let (arguments, clock) = (spec.program.arguments.clone(), Arc::clone(&self.clock));
        Box::pin(command::drive(io, arguments, from, orders, clock))
    }
}
