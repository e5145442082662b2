//! From open listeners to the last request: READY, signals, drain.

use std::{sync::Arc, time::Duration};

use tokio::{
    net::TcpListener,
    signal::unix::{Signal, SignalKind, signal},
    sync::watch,
    task::{AbortHandle, JoinHandle},
};
use tokio_util::sync::CancellationToken;

use super::{
    Given,
    clock_watch::ClockWatch,
    doctor::Examiner,
    failure::Failure,
    listen, memory,
    pulse::{self, Vitals},
    reload::Reloader,
};
use crate::{
    app::{
        App, Phase, audit,
        clock::Clock,
        ports::{Reload as _, event_store::EventStore},
        recorder::Waiting,
        settings::Settings,
        supervisor::Revived,
    },
    config::Sources,
    control::{
        self, Control,
        socket::{self, Bound},
    },
    exit::Exit,
    http::{server::Server, tls},
    stores::{self, Whose},
    systemd::notify::{self, MoreTime},
};

/// How often refusals of minutes that are over are summed up.
const SWEEP_INTERVAL: Duration = Duration::from_secs(5);
/// How long the end may take after the last request, and after the agents' programs: then it hangs.
const END_TIMEOUT: Duration = Duration::from_secs(30);
/// How long the last events may take to be durable.
const RECORDING_TIMEOUT: Duration = Duration::from_secs(5);

/// What it takes to record events.
pub(super) struct Recording {
    pub(super) events: Waiting,
    pub(super) store: Arc<dyn EventStore>,
    pub(super) settings: watch::Receiver<Arc<Settings>>,
    pub(super) clock: Arc<dyn Clock>,
}

impl Recording {
    /// Begins, and goes on until `stop`.
    fn begin(self, stop: CancellationToken) -> JoinHandle<()> {
        tokio::spawn(self.events.work(self.store, self.settings, self.clock, stop))
    }
}

pub(super) async fn run(
    app: Arc<App>,
    mut fleet: Revived,
    recording: Recording,
    given: Given<'_>,
    mut more_time: MoreTime,
) -> Result<(), Failure> {
    let Given { sources, log, inherited, mcp } = given;
    let mut signals = Signals::catch()?;
    let settings = app.settings();
    let certificate = match &settings.http.tls {
        None => None,
        Some(files) => Some(tls::load(files).map_err(|error| {
            Failure::new("can't serve TLS").caused_by(error).exit(Exit::Config)
        })?),
    };
    let certificate = watch::Sender::new(certificate);
    let certificates = certificate.subscribe();
    let listeners = listen::open(&settings.listen, inherited)?;
    let control_socket = open_control(&settings, sources).await?;
    announce(&app, &listeners)?;

    let clock = Arc::clone(&recording.clock);
    let watch = Arc::new(ClockWatch::new(Arc::clone(&clock)));
    let examiner = Examiner::new(Arc::clone(&app), sources.clone(), clock, Arc::clone(&watch));
    let end_of_events = CancellationToken::new();
    let events = recording.begin(end_of_events.clone());
    fleet.take_up();
    // Blocks on the disk; nobody is served yet, and no session may have opened anew.
    app.tokens.retain_agents(|agent| fleet.goes_on(agent));
    fleet.begin().await;
    let reloader =
        Arc::new(Reloader::new(Arc::clone(&app), sources.clone(), Arc::clone(log), certificate));
    let end_of_control = CancellationToken::new();
    let control = tokio::spawn(control::serve(
        Arc::new(Control {
            app: Arc::clone(&app),
            reload: Arc::clone(&reloader) as _,
            doctor: Arc::new(examiner),
            own_uid: sources.euid,
        }),
        control_socket.listener,
        end_of_control.clone(),
    ));
    let end_of_fleet = CancellationToken::new();
    let fleet = tokio::spawn(fleet.work(end_of_fleet.clone()));
    let tended = Arc::clone(&app.tokens);
    let tending = tokio::spawn(async move { tokio::join!(tended.tend(), watch.watch()) });
    // Clients may have queued up while it started, and this is what they came for.
    app.enter(Phase::Ready);
    let outlive = notify::is_supervised();
    let server = Server::start(Arc::clone(&app), mcp, listeners, outlive, certificates);
    audit::daemon_started(env!("CARGO_PKG_VERSION"), app.listeners(), app.enforces_auth());
    more_time.enough();
    notify::ready(&app.summary());
    let telling = tell(&app, &server, &settings);
    // Ends with the runtime.
    tokio::spawn(memory::give_back());

    signals.until_end(&app, &reloader).await;

    let settings = app.settings();
    let limit = settings.http.shutdown_timeout;
    let grace = Duration::from_secs(settings.fleet.close_grace_secs.into());
    let _more_time = MoreTime::until_dropped(limit + grace + END_TIMEOUT);
    telling.status.abort();
    // First, so that whoever learns that it stops learns too that the connection ends.
    let drained = server.stop(limit);
    app.enter(Phase::Stopping);
    notify::stopping(limit);
    tracing::info!("Server is stopping");
    tokio::select! {
        () = drained => {}
        () = signals.end() => tracing::warn!("told to stop again: ending at once"),
    }
    telling.life.abort();
    end_of_control.cancel();
    app.tokens.let_go_of_agents();
    // Agents end with the daemon, and are waited for. The fleet has its own limits of time.
    end_of_fleet.cancel();
    if let Err(error) = fleet.await {
        tracing::error!(%error, "the fleet did not end well");
    }
    // Its requests are short; one that hangs must not hold up the end.
    if tokio::time::timeout(Duration::from_secs(1), control).await.is_err() {
        tracing::warn!("a request on the control socket did not end");
    }
    control_socket.file.unlink();
    tending.abort();
    app.tokens.write_down_use().await;
    app.refusals.finish();
    audit::daemon_stopped();
    end_of_events.cancel();
    if tokio::time::timeout(RECORDING_TIMEOUT, events).await.is_err() {
        tracing::warn!("the last events were not recorded: the disk did not take them in time");
    }
    Ok(())
}

/// What tells the service manager how the daemon is.
struct Telling {
    status: AbortHandle,
    life: AbortHandle,
}

fn tell(app: &Arc<App>, server: &Arc<Server>, settings: &Settings) -> Telling {
    let control_socket = settings.control_socket.clone();
    let vitals = Vitals { app: Arc::clone(app), server: Arc::clone(server), control_socket };
    let app = Arc::clone(app);
    let status = async move {
        if notify::is_supervised() {
            pulse::tell_status(app).await;
        }
    };
    let life = async move {
        if let Some(within) = notify::watchdog() {
            vitals.show(within).await;
        }
    };
    Telling { status: tokio::spawn(status).abort_handle(), life: tokio::spawn(life).abort_handle() }
}

fn announce(app: &App, listeners: &[TcpListener]) -> Result<(), Failure> {
    let addresses: Result<Vec<_>, _> = listeners.iter().map(TcpListener::local_addr).collect();
    let addresses =
        addresses.map_err(|error| Failure::new("can't tell where it listens").caused_by(error))?;
    app.set_listeners(addresses);
    let scheme = if app.settings().http.tls.is_some() { "https" } else { "http" };
    for address in app.listeners() {
        tracing::info!("Server started on {scheme}://{address}");
    }
    if let Some(warning) = app.exposure_warning() {
        tracing::warn!("{warning}");
    }
    Ok(())
}

async fn open_control(settings: &Settings, sources: &Sources) -> Result<Bound, Failure> {
    let path = &settings.control_socket;
    let directory = path.parent().unwrap_or(path);
    let ours = [Some(settings.state_dir.join("run")), sources.runtime_directory()];
    let is_ours = ours.iter().flatten().any(|ours| ours == directory);
    let whose = if is_ours { Whose::Ours } else { Whose::Shared };
    stores::prepare_dir(directory, whose).map_err(|error| {
        let failure = Failure::new("there is no control socket").exit(Exit::Config);
        failure.help(error.help.clone()).caused_by(error)
    })?;
    socket::bind(path).await.map_err(|error| {
        let exit = match error {
            socket::SocketError::InUse(_) => Exit::Unavailable,
            _ => Exit::Config,
        };
        Failure::new("there is no control socket")
            .caused_by(error)
            .help("set FLEET_MCP_CONTROL_SOCKET to a path in a directory of your own")
            .exit(exit)
    })
}

/// The signals that the daemon obeys.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
}

impl Signals {
    fn catch() -> Result<Self, Failure> {
        let catch = |kind| {
            signal(kind).map_err(|error| Failure::new("can't catch signals").caused_by(error))
        };
        Ok(Self {
            terminate: catch(SignalKind::terminate())?,
            interrupt: catch(SignalKind::interrupt())?,
            hang_up: catch(SignalKind::hangup())?,
        })
    }

    /// Waits for the signal to stop; reloads and sums up refusals meanwhile.
    async fn until_end(&mut self, app: &App, reloader: &Arc<Reloader>) {
        let mut sweep = tokio::time::interval(SWEEP_INTERVAL);
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return,
                _ = self.interrupt.recv() => return,
                _ = self.hang_up.recv() => {
                    // The outcome is in the log.
                    let _ = Arc::clone(reloader).reload().await;
                }
                _ = sweep.tick() => app.refusals.sweep(),
            }
        }
    }

    /// Waits for a signal to stop.
    async fn end(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
