//! The program `fleet-mcp`: phases from the command line to the last log entry.

pub mod args;
mod check_config;
mod descriptors;
mod failure;
mod figures;
mod fleet;
mod listen;
mod reload;
mod serve;

use std::{
    io::{IsTerminal as _, Write as _},
    sync::Arc,
};

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
        tokens::{InForce, Tokens},
    },
    auth::Secret,
    config::{self, Loaded, Sources},
    exit::Exit,
    log,
    stores::{StateDir, TokenFile},
};

/// Runs the program.
pub fn main() -> Exit {
    if let Some(inner) = args::inner() {
        return for_an_agent(inner);
    }
    match args::parse() {
        Ok(args) if args.command == Verb::CheckConfig => check_config::run(args.flags),
        Ok(args) if args.command == Verb::DemoAgent => demo_agent(),
        Ok(args) => serve(args),
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
        Inner::AgentHost => match host::serve() {
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

fn demo_agent() -> Exit {
    match demo::main() {
        Ok(()) => Exit::Ok,
        Err(why) => Failure::new(format!("the demo agent failed: {why}")).report(),
    }
}

fn serve(args: Args) -> Exit {
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
    let recording = (recorder, events);
    let served = start(&sources, loaded, args.print_token, &log, recording, clock);
    let exit = served.map_or_else(|failure| failure.log(&log), |()| Exit::Ok);
    log.flush(log::FLUSH_TIMEOUT);
    exit
}

fn start(
    sources: &Sources,
    loaded: Loaded,
    print_token: bool,
    log: &Arc<log::Guard>,
    recording: (Recorder, Waiting),
    clock: Arc<dyn Clock>,
) -> Result<(), Failure> {
    let settings = Arc::new(loaded.settings);
    let warnings = loaded.warnings;
    let _lock = StateDir::open(&settings.state_dir)?;
    let file = TokenFile::new(settings.auth.token_file.clone(), &settings.state_dir);
    let tokens = Arc::new(Tokens::new(Arc::new(file), Arc::clone(&clock)));
    if settings.auth.enabled {
        tracing::info!("Authentication enabled");
        announce(&tokens.load_or_create()?, &settings.auth.token_file, print_token);
    } else {
        tracing::warn!(
            "Authentication is off: every request is served; set FLEET_MCP_AUTH_ENABLED=true to \
             turn it on"
        );
        match tokens.load() {
            Ok(Some(secret)) if print_token => print(&secret),
            Ok(_) => {}
            // The status tells it too, as long as it is so.
            Err(error) => tracing::warn!(
                "authentication can't be turned on: {}; {}",
                failure::chain(&error),
                error.help
            ),
        }
    }
    for warning in &warnings {
        tracing::warn!("{warning}");
    }
    let settings = watch::Sender::new(settings);
    let (recorder, events) = recording;
    let (access, revived) = fleet::revive(settings.subscribe(), &clock, recorder, log)?;
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
    let served = runtime.block_on(serve::run(app, revived, recording, sources, log));
    // Hangs up on the agents' hosts. The lock is held until they are gone.
    drop(runtime);
    fleet::await_end();
    served
}

/// Tells where the token is; shows it only to somebody who looks or has asked.
fn announce(token: &InForce, file: &std::path::Path, print_token: bool) {
    let (secret, made) = match token {
        InForce::Loaded(secret) => (secret, false),
        InForce::Created(secret) => (secret, true),
    };
    if print_token || (made && std::io::stdout().is_terminal()) {
        print(secret);
    }
    let verb = if made { "saved to" } else { "loaded from" };
    tracing::info!("Token {verb}: {}", file.display());
}

fn print(secret: &Secret) {
    let mut line = zeroize::Zeroizing::new(String::with_capacity(secret.expose().len() + 8));
    line.push_str("Token: ");
    line.push_str(secret.expose());
    line.push('\n');
    let mut stdout = std::io::stdout().lock();
    if let Err(error) = stdout.write_all(line.as_bytes()).and_then(|()| stdout.flush()) {
        tracing::warn!(%error, "can't print the token");
    }
}

/// A panic is a bug; it goes where the operator looks.
fn log_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string);
        let text = panic.payload_as_str().unwrap_or("no text");
        tracing::error!(place, "internal error, please report it: {text}");
    }));
}
