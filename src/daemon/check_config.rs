//! `fleet-mcp check-config`: tells all problems, or what is in force.

use std::io::Write as _;

use super::failure::{self, Failure};
use crate::{
    app::settings::Settings,
    config::{self, Flags, Loaded, Sources},
    exit::Exit,
    http::tls,
};

pub(super) fn run(flags: Flags) -> Exit {
    let sources = match Sources::of_process(flags) {
        Ok(sources) => sources,
        Err(error) => {
            return Failure::new("the working directory can't be used").caused_by(error).report();
        }
    };
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
    let mut text = String::new();
    for warning in &loaded.warnings {
        text.push_str(&format!("warning: {warning}\n"));
    }
    let _ = std::io::stderr().write_all(text.as_bytes());
    let _ = std::io::stdout().write_all(summary(&loaded).as_bytes());
    Exit::Ok
}

fn summary(loaded: &Loaded) -> String {
    let Settings { listen, auth, state_dir, control_socket, projects, roles, .. } =
        &loaded.settings;
    let listed =
        |items: Vec<String>| if items.is_empty() { "none".into() } else { items.join(", ") };
    let files = listed(loaded.files.iter().map(|path| path.display().to_string()).collect());
    let listen = listed(listen.iter().map(ToString::to_string).collect());
    let state = if auth.enabled { "on" } else { "off" };
    let mut text = format!(
        "The configuration is good.\n\
         Files read:      {files}\n\
         Listening:       {listen}\n\
         Authentication:  {state}, token file {}\n\
         State directory: {}\n\
         Control socket:  {}\n\
         Projects: {}, roles: {}\n",
        auth.token_file.display(),
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
