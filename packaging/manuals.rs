//! Writes the man pages and the shells' completions, from what `--help` and `check-config` are made of.
//!
//! `manuals DIRECTORY` makes `DIRECTORY/man` and `DIRECTORY/completions/{bash,zsh,fish}`.

use std::{
    env, fs, io,
    path::{Path, PathBuf},
};

use clap::{Command, CommandFactory as _};
use clap_complete::{Shell, generate_to};
use clap_mangen::{
    Man,
    roff::{Roff, bold, italic, roman},
};
use fleet_mcp::{
    cli::CommandLine,
    config::{AGENTS, KEYS, PROJECTS, ROLES},
    daemon,
};

fn main() -> io::Result<()> {
    let directory = env::args_os().nth(1).map(PathBuf::from);
    let directory = directory.ok_or_else(|| io::Error::other("say where to: manuals DIRECTORY"))?;
    let man = directory.join("man");
    fs::create_dir_all(&man)?;
    pages(daemon::args::command(), "8", &man)?;
    pages(CommandLine::command(), "1", &man)?;
    fs::write(man.join("fleet-mcp.toml.5"), configuration()?)?;
    for (shell, name) in [(Shell::Bash, "bash"), (Shell::Zsh, "zsh"), (Shell::Fish, "fish")] {
        let directory = directory.join("completions").join(name);
        fs::create_dir_all(&directory)?;
        for mut command in [daemon::args::command(), CommandLine::command()] {
            let name = command.get_name().to_owned();
            let file = generate_to(shell, &mut command, name.clone(), &directory)?;
            if shell == Shell::Bash {
                // bash-completion looks for a file that is called as the command is.
                fs::rename(file, directory.join(name))?;
            }
        }
    }
    Ok(())
}

/// A page for a command, and one for each verb that it has.
fn pages(mut command: Command, section: &str, directory: &Path) -> io::Result<()> {
    command = command.disable_help_subcommand(true);
    command.build();
    page(command, section, directory)
}

fn page(command: Command, section: &str, directory: &Path) -> io::Result<()> {
    let verbs: Vec<_> =
        command.get_subcommands().filter(|verb| !verb.is_hide_set()).cloned().collect();
    for verb in verbs {
        page(verb, section, directory)?;
    }
    let name = command.get_display_name().unwrap_or(command.get_name()).to_owned();
    let mut text = Vec::new();
    Man::new(command.name(name.clone())).section(section).render(&mut text)?;
    fs::write(directory.join(format!("{name}.{section}")), text)
}

/// The page about the configuration file.
fn configuration() -> io::Result<Vec<u8>> {
    let mut page = Roff::new();
    let version = concat!("fleet-mcp ", env!("CARGO_PKG_VERSION"));
    page.control("TH", ["fleet-mcp.toml", "5", "", version]);
    page.control("SH", ["NAME"]);
    page.text([roman("fleet-mcp.toml - the configuration of fleet-mcp(8)")]);
    page.control("SH", ["SYNOPSIS"]);
    for file in [
        "/etc/fleet-mcp/config.toml",
        "/etc/fleet-mcp/conf.d/*.toml",
        "~/.config/fleet-mcp/config.toml",
    ] {
        page.text([italic(file)]);
        page.control("br", []);
    }
    page.control("SH", ["DESCRIPTION"]);
    page.text([roman(
        "Files in TOML. The system service reads those in /etc/fleet-mcp, a daemon that is started by hand those in its user's \
         home; the files of conf.d come after config.toml, by name. Variables of the environment win over files, flags win over \
         both. What can't be understood stops the start: fleet-mcp check-config tells all problems at once. \
         systemctl reload fleet-mcp, or fleetctl reload, takes over what was changed, and names what needs a restart.",
    )]);
    page.control("SH", ["SETTINGS"]);
    for key in KEYS {
        page.control("TP", []);
        page.text([bold(key.path)]);
        page.text([roman(key.help)]);
        page.control("br", []);
        page.text([roman("A value is "), roman(key.kind.to_string()), roman(".")]);
        page.control("br", []);
        page.text([roman("Default: "), roman(key.default.to_string())]);
        page.control("br", []);
        page.text([roman("Variable: "), roman(key.variable), roman(", flag: "), roman(key.flag())]);
    }
    for table in [PROJECTS, AGENTS, ROLES] {
        page.control("SH", [&*format!("[{}.NAME]", table.name)]);
        for field in table.fields {
            page.control("TP", []);
            page.text([bold(field.name)]);
            page.text([roman(field.help)]);
            page.control("br", []);
            page.text([roman("A value is "), roman(field.kind.to_string()), roman(".")]);
        }
    }
    page.control("SH", ["SEE ALSO"]);
    page.text([roman("fleet-mcp(8), fleetctl(1), /usr/share/doc/fleet-mcp/docs/configuration.md")]);
    let mut text = Vec::new();
    page.to_writer(&mut text)?;
    Ok(text)
}
