//! Puts the fleet together: its store, its sessions, its supervisor.

use std::{path::PathBuf, sync::Arc, time::Duration};

use tokio::sync::{mpsc, watch};

use super::{failure::Failure, figures::OwnFigures};
use crate::{
    agents::{
        child::{self, ChildLauncher, Swept},
        drivers::{acp, command},
        host,
        io::AgentIo,
        sessions::{Drivers, Driving, LocalSessions, Run},
    },
    app::{
        FleetAccess,
        clock::Clock,
        metrics::Metrics,
        ports::{
            fleet_store::FleetStore,
            sessions::{Order, Report, SessionSpec},
        },
        recorder::Recorder,
        settings::Settings,
        supervisor::{Parts, Revived, Supervisor},
    },
    exit::Exit,
    fleet::AgentId,
    log,
    stores::FleetDb,
};

/// How long agents may take to end once the daemon has hung up; then they are killed.
const END_TIMEOUT: Duration = Duration::from_secs(5);

/// Opens the store, ends what a killed daemon has left, and revives the fleet. Blocks on the disk.
pub(super) fn revive(
    settings: watch::Receiver<Arc<Settings>>,
    clock: &Arc<dyn Clock>,
    recorder: Recorder,
    log: &Arc<log::Guard>,
) -> Result<(FleetAccess, Revived), Failure> {
    let state_dir = settings.borrow().state_dir.clone();
    let failed = |what: &str, error: std::io::Error| {
        Failure::new(format!("{what} below `{}`", state_dir.display())).caused_by(error)
    };
    let db = Arc::new(FleetDb::open(&state_dir)?);
    let store: Arc<dyn FleetStore> = Arc::clone(&db) as _;
    let launcher =
        ChildLauncher::new(&state_dir).map_err(|error| failed("can't run agents", error))?;
    let swept = launcher.sweep().map_err(|error| failed("can't end former agents", error))?;
    tell(&swept);
    let drivers = Speakers { clock: Arc::clone(clock) };
    let sessions = LocalSessions::new(&state_dir, Arc::new(launcher), Arc::new(drivers), true)
        .map_err(|error| failed("can't make workspaces", error))?;
    let metrics = Arc::<Metrics>::default();
    let (supervisor, revived) = Supervisor::revive(Parts {
        store: Arc::clone(&store),
        sessions: Arc::new(sessions),
        settings,
        metrics: Arc::clone(&metrics),
        clock: Arc::clone(clock),
    })
    .map_err(|error| Failure::from(error).exit(Exit::Config))?;
    let isolation = format!(
        "agents run as the daemon's own user (uid {}); {}",
        nix::unistd::geteuid(),
        host::confinement()
    );
    tracing::info!("{isolation}");
    let snapshot = revived.snapshot();
    let figures = Arc::new(OwnFigures { log: Arc::clone(log), db: Arc::clone(&db) });
    let access = FleetAccess {
        snapshot,
        supervisor,
        store,
        events: db,
        recorder,
        metrics,
        figures,
        isolation,
    };
    Ok((access, revived))
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
}

impl Drivers for Speakers {
    fn acp(
        &self,
        spec: &SessionSpec,
        cwd: PathBuf,
        io: AgentIo,
        orders: mpsc::Receiver<Order>,
        reports: mpsc::Sender<Report>,
    ) -> Driving<Result<(), String>> {
        let params = acp::Params {
            agent: spec.agent,
            cwd,
            resume: spec.resume.clone(),
            permissions: spec.permissions,
            mode: spec.mode.clone(),
            model: spec.model.clone(),
            clock: Arc::clone(&self.clock),
        };
        Box::pin(async move {
            acp::drive(io, params, orders, reports).await.map_err(|acp::NotOpened(why)| why)
        })
    }

    fn command(&self, arguments: &[String], task: &str) -> Result<Run, String> {
        let command::Run { arguments, input } = command::run(arguments, task)?;
        Ok(Run { arguments, input })
    }

    fn run(
        &self,
        agent: AgentId,
        input: Vec<String>,
        io: AgentIo,
        reports: mpsc::Sender<Report>,
    ) -> Driving<()> {
        Box::pin(command::drive(io, agent, input, Arc::clone(&self.clock), reports))
    }
}
