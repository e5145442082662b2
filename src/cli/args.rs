//! The command line of `fleetctl`.

use std::path::PathBuf;

use clap::{Parser, Subcommand};
use clap_complete::Shell;

use super::{
    agent::AgentVerb,
    client_config::Program,
    events::EventArgs,
    project::{ProjectVerb, RoleVerb},
    task::TaskVerb,
    token::{Rotate, TokenVerb},
};

/// Controls the fleet-mcp daemon over its Unix socket.
#[derive(Debug, Parser)]
#[command(
    name = "fleetctl",
    version,
    after_help = "Exit status: 0 ok, 1 failed, 2 wrong usage, 69 the daemon does not run, \
                  77 not permitted, 78 configuration.",
    disable_help_subcommand = true
)]
pub struct Args {
    /// The daemon's control socket [default: that of your own daemon, else the system's]
    #[arg(long, global = true, value_name = "PATH", env = "FLEET_MCP_CONTROL_SOCKET")]
    pub(super) socket: Option<PathBuf>,
    /// Print JSON instead of tables and words
    #[arg(long, global = true)]
    pub(super) json: bool,
    #[command(subcommand)]
    pub(super) verb: Verb,
}

#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    /// Show how the daemon is: listeners, authentication, tokens, refused requests, warnings
    Status,
    /// Give a token a new secret, and print it; the old one no longer works, or only for a while
    Rotate(Rotate),
    /// Make, list, rotate and revoke tokens
    Token {
        #[command(subcommand)]
        verb: TokenVerb,
    },
    /// Create, watch, answer and delete agents
    Agent {
        #[command(subcommand)]
        verb: AgentVerb,
    },
    /// Give agents tasks
    Task {
        #[command(subcommand)]
        verb: TaskVerb,
    },
    /// See what agents can work on
    Project {
        #[command(subcommand)]
        verb: ProjectVerb,
    },
    /// See how agents can work
    Role {
        #[command(subcommand)]
        verb: RoleVerb,
    },
    /// Print what happened in the fleet, or who has changed what
    Events(EventArgs),
    /// Look whether everything is as it should be, and say what mends what is not
    Doctor,
    /// Print what is counted, in Prometheus' format
    Metrics,
    /// Reread configuration and certificates, and reopen the access log
    Reload,
    /// Print what to enter in an MCP client so that it can use this server
    ClientConfig {
        /// The client
        #[arg(value_enum)]
        client: Program,
        /// The URL that the client reaches the server by [default: asks the daemon]
        #[arg(long)]
        url: Option<String>,
    },
    /// Print a completion script for a shell
    Completions {
        /// The shell
        #[arg(value_enum)]
        shell: Shell,
    },
}
