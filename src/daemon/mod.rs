//! The program `fleet-mcp`: phases from the command line to the last log entry.

mod agent_tokens;
pub mod args;
mod check_config;
mod clock_watch;
mod descriptors;
mod doctor;
mod failure;
mod figures;
mod fleet;
mod listen;
mod memory;
mod pulse;
mod reload;
mod serve;
mod tokens;

use std::{os::unix::net::UnixListener, sync::Arc, time::Duration};

use tokio::sync::watch;

use self::{
    args::{Args, Inner, Verb},
    failure::Failure,
    serve::Recording,
};
use crate::{
    agents::{demo, host},
    app::{
        App,
        clock::{Clock, SystemClock},
        recorder::{Recorder, Waiting},
    },
    config::{self, Loaded, Sources},
    exit::Exit,
    http::{Endpoint, mcp},
    log,
    stores::StateDir,
    systemd::{
        notify::MoreTime,
        store::{self, Inherited},
    },
};

/// How long the start may take, with a large fleet on a slow disk: then it hangs.
const START_TIMEOUT: Duration = Duration::from_secs(600);

/// What the daemon is given at its start, besides its settings.
struct Given<'a> {
    sources: &'a Sources,
    log: &'a Arc<log::Guard>,
    /// What the service manager has kept of the former daemon.
    inherited: Inherited,
    mcp: Endpoint,
}

/// Runs the program.
pub fn main() -> Exit {
    main_serving(mcp::fleet)
}

/// Runs the program with another MCP server in the fleet's place; all else is as it is shipped.
pub fn main_serving(mcp: Endpoint) -> Exit {
    if let Some(inner) = args::inner() {
        return for_an_agent(inner);
    }
    match args::parse() {
        Ok(args) if args.command == Verb::CheckConfig => check_config::run(args.flags),
        Ok(args) if args.command == Verb::DemoAgent => demo_agent(),
        Ok(args) => serve(args, mcp),
        Err(text) => {
            let exit = if text.use_stderr() { Exit::Usage } else { Exit::Ok };
            // Nobody is left to tell if this fails.
            let _ = text.print();
            exit
        }
    }
}

/// What it says goes to the daemon, or into the agent's log.
fn for_an_agent(inner: Inner) -> Exit {
    let failure = match inner {
        Inner::AgentHost => match agent_host() {
            Ok(()) => return Exit::Ok,
            Err(error) => Failure::new("the agent's host failed").caused_by(error),
        },
        Inner::AgentExec => {
            descriptors::lower();
            Failure::new("can't start the agent's program")
                .caused_by(host::exec(std::env::args_os().skip(2)))
        }
    };
    failure.report()
}

/// Started by systemd for the socket of a slot, or by the daemon.
fn agent_host() -> std::io::Result<()> {
    let slot = store::inherited()?.into_iter().next();
    host::serve(slot.map(|(_, socket)| UnixListener::from(socket)))
}

fn demo_agent() -> Exit {
    match demo::main() {
        Ok(()) => Exit::Ok,
        Err(why) => Failure::new(format!("the demo agent failed: {why}")).report(),
    }
}

fn serve(args: Args, mcp: Endpoint) -> Exit {
    if let Err(error) = nix::sys::prctl::set_dumpable(false) {
        return Failure::new("can't keep secrets out of core dumps").caused_by(error).report();
    }
    let sources = match Sources::of_process(args.flags) {
        Ok(sources) => sources,
        Err(error) => {
            return Failure::new("the working directory can't be used").caused_by(error).report();
        }
    };
    let mut loaded = match config::load(&sources) {
        Ok(loaded) => loaded,
        Err(errors) => return failure::report_config(&errors),
    };
    descriptors::raise();
    descriptors::fit(&mut loaded);
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let (recorder, events) = Recorder::new();
    let log = match log::init(&loaded.settings.log, Arc::clone(&clock), recorder.clone()) {
        Ok(log) => Arc::new(log),
        Err(error) => return Failure::new("can't log").caused_by(error).report(),
    };
    log_panics();
    let inherited = match store::inherited() {
        Ok(inherited) => inherited,
        Err(error) => {
            let failure = Failure::new("can't take over what the service manager has kept");
            return failure.caused_by(error).log(&log);
        }
    };
    let recording = (recorder, events);
    let given = Given { sources: &sources, log: &log, inherited, mcp };
    let served = start(given, loaded, args.print_token, recording, clock);
    let exit = served.map_or_else(|failure| failure.log(&log), |()| Exit::Ok);
    log.flush(log::FLUSH_TIMEOUT);
    exit
}

fn start(
    mut given: Given<'_>,
    loaded: Loaded,
    print_token: bool,
    recording: (Recorder, Waiting),
    clock: Arc<dyn Clock>,
) -> Result<(), Failure> {
    let more_time = MoreTime::until_dropped(START_TIMEOUT);
    let settings = Arc::new(loaded.settings);
    let warnings = loaded.warnings;
    let _lock = StateDir::open(&settings.state_dir)?;
    let tokens = tokens::open(&settings, loaded.token, &clock);
    tokens::take(&tokens, &settings, print_token)?;
    for warning in &warnings {
        tracing::warn!("{warning}");
    }
    let settings = watch::Sender::new(settings);
    let (recorder, events) = recording;
    let inherited = &mut given.inherited;
    let (access, revived) =
        fleet::revive(settings.subscribe(), &tokens, &clock, recorder, given.log, inherited)?;
    let recording = Recording {
        store: Arc::clone(&access.events),
        settings: settings.subscribe(),
        clock: Arc::clone(&clock),
        events,
    };
    let app = Arc::new(App::new(settings, tokens, access, clock));
    app.set_warnings(warnings);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new("can't start the runtime").caused_by(error))?;
    let served = runtime.block_on(serve::run(app, revived, recording, given, more_time));
    // Hangs up on the agents' hosts. The lock is held until they are gone.
    drop(runtime);
    fleet::await_end();
    served
}

/// A panic is a bug; it goes where the operator looks.
fn log_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string);
        let text = panic.payload_as_str().unwrap_or("no text");
        tracing::error!(place, "internal error, please report it: {text}");
    }));
}
