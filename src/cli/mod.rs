//! The program `fleetctl`: the operator's side of the control socket.

mod agent;
mod args;
mod client_config;
mod doctor;
mod events;
mod failure;
mod output;
mod project;
mod socket;
mod status;
mod task;
mod token;

use clap::{CommandFactory as _, Parser as _};

use self::{
    args::{Args, Verb},
    failure::Failure,
    output::Output,
};
use crate::{
    control::{api, client::Client},
    exit::Exit,
};

pub use args::Args as CommandLine;

/// Runs the program.
pub fn main() -> Exit {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(text) => {
            let exit = if text.use_stderr() { Exit::Usage } else { Exit::Ok };
            // Nobody is left to tell if this fails.
            let _ = text.print();
            return exit;
        }
    };
    let output = Output::new(args.json);
    match run(args, &output) {
        Ok(exit) => exit,
        Err(failure) => output.fail(&failure),
    }
}

fn run(args: Args, output: &Output) -> Result<Exit, Failure> {
    let socket = socket::find(args.socket.as_deref());
    let client = Client::new(&socket);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Failure::from_io)?;
    runtime.block_on(async {
        let done = match args.verb {
            Verb::Doctor => return doctor::run(&client, &socket, output).await,
            Verb::Status => status::show(&client, output).await,
            Verb::Rotate(rotate) => token::rotate(&client, output, rotate).await,
            Verb::Token { verb } => token::run(&client, output, verb).await,
            Verb::Agent { verb } => agent::run(&client, output, verb).await,
            Verb::Task { verb } => task::run(&client, output, verb).await,
            Verb::Project { verb: project::ProjectVerb::List } => {
                project::projects(&client, output).await
            }
            Verb::Role { verb: project::RoleVerb::List { project } } => {
                project::roles(&client, output, project).await
            }
            Verb::Events(wanted) => events::show(&client, output, wanted).await,
            Verb::Metrics => output.bytes(&client.get_bytes(api::METRICS).await?),
            Verb::Reload => reload(&client, output).await,
            Verb::ClientConfig { client: program, url } => {
                client_config::show(&client, output, program, url).await
            }
            Verb::Completions { shell } => {
                let mut script = Vec::new();
                clap_complete::generate(shell, &mut Args::command(), "fleetctl", &mut script);
                output.bytes(&script)
            }
        };
        done.map(|()| Exit::Ok)
    })
}

async fn reload(client: &Client, output: &Output) -> Result<(), Failure> {
    let reloaded: api::Reloaded = client.post(api::RELOAD).await?;
    if output.is_json() {
        return output.json(&reloaded);
    }
    for warning in &reloaded.warnings {
        output.note(&format!("warning: {warning}"));
    }
    if !reloaded.needs_restart.is_empty() {
        let keys = reloaded.needs_restart.join(", ");
        output.note(&format!("warning: changed, but only after a restart: {keys}"));
    }
    output.note("Configuration reloaded.");
    Ok(())
}
