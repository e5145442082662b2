//! `fleet-mcp check-config`: tells all problems, or what is in force.

use std::{io::Write as _, path::Path};

use super::failure::{self, Failure};
use crate::{
    app::{
        ports::TokenStore as _,
        settings::{PrimarySource, Settings},
    },
    config::{self, Flags, Loaded, Sources},
    exit::Exit,
    fleet::Program,
    http::tls,
    stores::CredentialToken,
};

pub(super) fn run(flags: Flags) -> Exit {
    let sources = match Sources::of_process(flags) {
        Ok(sources) => sources,
        Err(error) => {
            return Failure::new("the working directory can't be used").caused_by(error).report();
        }
    };
    let program = sources.program.clone();
    let loaded = match config::load(&sources) {
        Ok(loaded) => loaded,
        Err(errors) => return failure::report_config(&errors),
    };
    if let Some(Err(error)) = loaded.settings.http.tls.as_ref().map(tls::load) {
        return Failure::new(error.to_string())
            .help("give the daemon's user a PEM certificate and its key, readable")
            .exit(Exit::Config)
            .report();
    }
    if let PrimarySource::Credential(path) = &loaded.settings.auth.primary
        && let Err(error) = CredentialToken::new(path.clone()).load()
    {
        return Failure::from(error).report();
    }
    let mut text = String::new();
    for warning in &loaded.warnings {
        text.push_str(&format!("warning: {warning}\n"));
    }
    let _ = std::io::stderr().write_all(text.as_bytes());
    let _ = std::io::stdout().write_all(summary(&loaded, &program).as_bytes());
    Exit::Ok
}

/// `ours` is the program that is running: where it is needs no telling.
fn summary(loaded: &Loaded, ours: &Path) -> String {
    let Settings {
        listen, auth, state_dir, control_socket, projects, roles, programs, fleet, ..
    } = &loaded.settings;
    let listed =
        |items: Vec<String>| if items.is_empty() { "none".into() } else { items.join(", ") };
    let files = listed(loaded.files.iter().map(|path| path.display().to_string()).collect());
    let listen = listed(listen.iter().map(ToString::to_string).collect());
    let shown = |program: &Program| match program.command == ours {
        true => program.name.clone(),
        false => format!("{} ({})", program.name, program.command.display()),
    };
    let programs = listed(programs.iter().map(shown).collect());
    let token = match &auth.primary {
        PrimarySource::File => format!("token file {}", auth.token_file.display()),
        elsewhere => format!("token from {elsewhere}"),
    };
    let launcher = match &fleet.slots {
        Some(slots) => format!("by systemd, in the slots of {}", slots.display()),
        None => "as child processes of the daemon".to_owned(),
    };
    let state = if auth.enabled { "on" } else { "off" };
    let mut text = format!(
        "The configuration is good.\n\
         Files read:      {files}\n\
         Listening:       {listen}\n\
         Authentication:  {state}, {token}\n\
         State directory: {}\n\
         Control socket:  {}\n\
         Agent programs:  {programs}\n\
         Agents run:      {launcher}\n\
         Projects: {}, roles: {}\n",
        state_dir.display(),
        control_socket.display(),
        projects.len(),
        roles.len(),
    );
    for (key, origin) in &loaded.origins {
        text.push_str(&format!("{key} is set by {origin}\n"));
    }
    text
}

#[cfg(test)]
mod tests {
    use std::{fs, path::PathBuf};

    use super::*;

    #[test]
    fn summary_names_agent_programs_without_their_variables() {
        let home = tempfile::TempDir::new().unwrap();
        let config = home.path().join("config.toml");
        let text = "[agents.mine]\ncommand = '/opt/mine'\nenvironment.KEY = 'hunter2'\n\
                    [roles.dev]\nagent = 'mine'\nenvironment.KEY = 'hunter2'";
        fs::write(&config, text).unwrap();
        let sources = Sources {
            environment: vec![("HOME".into(), home.path().into())],
            working_dir: home.path().to_owned(),
            euid: 0,
            program: PathBuf::from("/usr/bin/fleet-mcp"),
            flags: Flags { config: Some(config), values: Vec::new() },
        };

        let summary = summary(&config::load(&sources).unwrap(), &sources.program);

        assert!(summary.contains("\nAgent programs:  demo, mine (/opt/mine)\n"), "{summary}");
        assert!(!summary.contains("hunter2"), "{summary}");
    }
}
