//! The command line of `fleet-mcp`. Its settings come from the one table in `config`, so that
//! `--help` can't forget one.

use std::path::PathBuf;

use clap::{Arg, ArgAction, ArgMatches, Command, builder::PathBufValueParser};

use crate::{
    agents::host,
    config::{Flags, KEYS, Key},
};

const ABOUT: &str = "\
Serves an authenticated MCP server over TCP, through which MCP clients drive a fleet of coding \
agents on this machine. fleetctl controls it: `fleetctl status`, `fleetctl rotate`.";

const AFTER_HELP: &str = "\
Settings are read from config.toml and conf.d/*.toml in /etc/fleet-mcp (as a system service) or \
~/.config/fleet-mcp, then from .env in the working directory, then from the environment, then from \
flags; later ones win. Something that can't be understood stops the start.

Examples:
  FLEET_MCP_AUTH_ENABLED=true fleet-mcp     start with authentication, on port 8000
  fleet-mcp check-config                    tell all problems of the configuration at once
  fleetctl rotate                           make a new access token while it runs

Exit status: 0 ended as it was told to, 1 failed, 2 wrong usage, 69 another one runs already, \
78 the configuration or a file that it names is wrong.";

/// What was asked for.
#[derive(Debug)]
pub(super) struct Args {
    pub(super) command: Verb,
    pub(super) flags: Flags,
    /// Show the access token on standard output even if that is no terminal.
    pub(super) print_token: bool,
}

/// What to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verb {
    Serve,
    CheckConfig,
    /// Be the demo agent, on standard streams.
    DemoAgent,
}

/// What this program does for itself, in other processes. Never typed by people, so not in the help.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Inner {
    /// Serve one agent; the connection is standard input.
    AgentHost,
    /// Restrict itself as the arguments say, and become the program that they name.
    AgentExec,
}

/// Found before the command line is understood otherwise: each agent has a host, and its memory
/// should not hold what only the daemon needs.
pub(super) fn inner() -> Option<Inner> {
    let word = std::env::args_os().nth(1)?;
    if word == host::AGENT_HOST {
        return Some(Inner::AgentHost);
    }
    (word == host::AGENT_EXEC).then_some(Inner::AgentExec)
}

/// # Errors
/// The text to show instead: help, version, or what is wrong with the command line.
pub(super) fn parse() -> Result<Args, clap::Error> {
    command().try_get_matches().map(|matches| Args {
        command: match matches.subcommand_name() {
            Some(CHECK_CONFIG) => Verb::CheckConfig,
            Some(DEMO_AGENT) => Verb::DemoAgent,
            _ => Verb::Serve,
        },
        flags: flags(&matches),
        print_token: matches.get_flag(PRINT_TOKEN),
    })
}

const CHECK_CONFIG: &str = "check-config";
const CONFIG: &str = "config";
/// The command that the built-in demo agent is started with.
pub const DEMO_AGENT: &str = "demo-agent";
const PRINT_TOKEN: &str = "print-token";

/// The whole command line: also the source of the man page.
pub fn command() -> Command {
    let config = Arg::new(CONFIG)
        .long(CONFIG)
        .short('c')
        .value_name("FILE")
        .value_parser(PathBufValueParser::new())
        .global(true)
        .help("Read this configuration file, and conf.d beside it, instead of the usual one");
    let print_token = Arg::new(PRINT_TOKEN)
        .long(PRINT_TOKEN)
        .action(ArgAction::SetTrue)
        .help("Print the access token on standard output, even if that is no terminal");
    let check_config = Command::new(CHECK_CONFIG)
        .about("Check the configuration, tell all problems at once, and change nothing");
    let demo_agent = Command::new(DEMO_AGENT)
        .hide(true)
        .about("Speak the Agent Client Protocol on standard streams, as the built-in demo agent");
    Command::new("fleet-mcp")
        .version(env!("CARGO_PKG_VERSION"))
        .about(ABOUT)
        .after_help(AFTER_HELP)
        .args([config, print_token])
        .args(KEYS.iter().map(setting))
        .subcommand(check_config)
        .subcommand(demo_agent)
}

fn setting(key: &'static Key) -> Arg {
    let help = format!("{} [env: {}] [default: {}]", key.help, key.variable, key.default);
    Arg::new(key.path)
        .long(key.flag().trim_start_matches('-').to_owned())
        .value_name("VALUE")
        .global(true)
        .help_heading("Settings")
        .help(help)
}

fn flags(matches: &ArgMatches) -> Flags {
    let given = |key: &'static Key| {
        matches.get_one::<String>(key.path).map(|value| (key.path, value.clone()))
    };
    Flags {
        config: matches.get_one::<PathBuf>(CONFIG).cloned(),
        values: KEYS.iter().filter_map(given).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound_and_has_every_setting() {
        let mut command = command();
        command.clone().debug_assert();

        let help = command.render_long_help().to_string();

        for key in KEYS {
            assert!(help.contains(&key.flag()) && help.contains(key.variable), "{}", key.path);
        }
    }
}
