//! The use cases that both planes call, and the owners of what they change.

use std::{
    net::SocketAddr,
    sync::{
        Arc, OnceLock,
        atomic::{
            AtomicBool,
            Ordering::{Acquire, Release},
        },
    },
};

use jiff::Timestamp;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::fleet::{Logs, Snapshot};

pub mod audit;
pub mod changes;
pub mod clock;
pub mod doctor;
pub mod error;
pub mod events;
pub mod fleet;
pub mod jumps;
pub mod log_targets;
pub mod metrics;
pub mod ports;
pub mod recorder;
pub mod refusals;
pub mod settings;
pub mod status;
pub mod supervisor;
mod sync;
pub mod tokens;

use clock::Clock;
use metrics::{Figures, Metrics};
use ports::{event_store::EventStore, fleet_store::FleetStore, slots::Slots};
use recorder::Recorder;
use refusals::Refusals;
use settings::Settings;
use supervisor::Supervisor;
use tokens::{Issued, Tokens};

/// Everything that a request, a local command or a signal can act on. Shared; cheap to read.
pub struct App {
    /// The tokens in force.
    pub tokens: Arc<Tokens>,
    /// What was refused.
    pub refusals: Refusals,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    figures: Arc<dyn Figures>,
    settings: watch::Sender<Arc<Settings>>,
    enforcing: AtomicBool,
    /// Fires when it does.
    enforced: CancellationToken,
    fleet: watch::Receiver<Arc<Snapshot>>,
    logs: watch::Receiver<Logs>,
    supervisor: Supervisor,
    store: Arc<dyn FleetStore>,
    events: Arc<dyn EventStore>,
    recorder: Recorder,
    isolation: String,
    slots: Option<Arc<dyn Slots>>,
    phase: watch::Sender<Phase>,
    listeners: Arc<OnceLock<Vec<SocketAddr>>>,
    warnings: watch::Sender<Vec<String>>,
    clock: Arc<dyn Clock>,
    started_at: Timestamp,
}

/// How the fleet is reached.
pub struct FleetAccess {
    /// The newest snapshot.
    pub snapshot: watch::Receiver<Arc<Snapshot>>,
    /// How far each agent's log has come.
    pub logs: watch::Receiver<Logs>,
    /// Who changes it.
    pub supervisor: Supervisor,
    /// What it remembers.
    pub store: Arc<dyn FleetStore>,
    /// What has happened.
    pub events: Arc<dyn EventStore>,
    /// Who records it.
    pub recorder: Recorder,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// What is counted elsewhere.
    pub figures: Arc<dyn Figures>,
    /// How agents are kept apart from everything else, in words.
    pub isolation: String,
    /// Where agents can live; `None` if there is room for any number.
    pub slots: Option<Arc<dyn Slots>>,
    /// Where agents find this daemon: filled in once it listens.
    pub listeners: Arc<OnceLock<Vec<SocketAddr>>>,
}

/// Where the daemon is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Not every listener is open yet.
    Starting,
    /// It serves.
    Ready,
    /// It was told to stop and lets requests in flight finish.
    Stopping,
}

impl App {
    /// A daemon that is starting, with authentication as the settings say.
    pub fn new(
        settings: watch::Sender<Arc<Settings>>,
        tokens: Arc<Tokens>,
        fleet: FleetAccess,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let enforcing = settings.borrow().auth.enabled;
        Self {
            tokens,
            refusals: Refusals::new(Arc::clone(&clock)),
            enforcing: AtomicBool::new(enforcing),
            enforced: CancellationToken::new(),
            settings,
            fleet: fleet.snapshot,
            logs: fleet.logs,
            supervisor: fleet.supervisor,
            store: fleet.store,
            events: fleet.events,
            recorder: fleet.recorder,
            metrics: fleet.metrics,
            figures: fleet.figures,
            isolation: fleet.isolation,
            slots: fleet.slots,
            phase: watch::Sender::new(Phase::Starting),
            listeners: fleet.listeners,
            warnings: watch::Sender::default(),
            started_at: clock.now(),
            clock,
        }
    }

    /// The settings that are in force.
    pub fn settings(&self) -> Arc<Settings> {
        self.settings.borrow().clone()
    }

    /// Puts other settings in force.
    pub fn replace_settings(&self, settings: Arc<Settings>) {
        self.settings.send_replace(settings);
    }

    /// Whether requests without a valid token are refused.
    pub fn enforces_auth(&self) -> bool {
        self.enforcing.load(Acquire)
    }

    /// Refuses requests without a valid token from now on, and ends those in flight. There is no way
    /// back but a restart.
    pub fn enforce_auth(&self) {
        self.enforcing.store(true, Release);
        self.enforced.cancel();
    }

    /// Whether a request that was let in with this token, or with none, has no right to go on.
    pub fn is_over(&self, issued: Option<&Issued>) -> bool {
        self.enforces_auth() && issued.is_none_or(|issued| issued.over().is_cancelled())
    }

    /// Waits until [`App::is_over`].
    pub async fn until_over(&self, issued: Option<&Issued>) {
        if !self.enforces_auth() {
            self.enforced.cancelled().await;
        }
        if let Some(issued) = issued {
            issued.over().cancelled().await;
        }
    }

    /// Where the daemon is in its life.
    pub fn phase(&self) -> Phase {
        *self.phase.borrow()
    }

    /// Enters the next phase.
    pub fn enter(&self, phase: Phase) {
        self.phase.send_replace(phase);
    }

    /// The addresses that the data plane listens on, once it does.
    pub fn listeners(&self) -> &[SocketAddr] {
        self.listeners.get().map_or(&[], Vec::as_slice)
    }

    /// Says where the data plane listens. The first call counts.
    pub fn set_listeners(&self, listeners: Vec<SocketAddr>) {
        self.listeners.get_or_init(|| listeners);
    }

    /// Whether nobody but this machine can connect.
    pub fn is_loopback_only(&self) -> bool {
        self.listeners().iter().all(|address| address.ip().is_loopback())
    }

    /// What the operator should look at, as of the last start or reload.
    pub fn set_warnings(&self, warnings: Vec<String>) {
        self.warnings.send_replace(warnings);
    }
}
