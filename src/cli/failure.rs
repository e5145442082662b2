//! Why `fleetctl` failed: what, why, and what to do about it, on a line each.

use std::{error::Error, fmt, io};

use http::StatusCode;

use crate::{control::client::ClientError, exit::Exit};

/// The last words of a failed command.
#[derive(Debug)]
pub(super) struct Failure {
    exit: Exit,
    error: String,
    causes: Vec<String>,
    help: Option<String>,
}

impl Failure {
    pub(super) fn exit(&self) -> Exit {
        self.exit
    }

    pub(super) fn from_io(error: io::Error) -> Self {
        Self { exit: Exit::Failed, error: error.to_string(), causes: Vec::new(), help: None }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error: {}", self.error)?;
        for cause in &self.causes {
            write!(f, "\ncause: {cause}")?;
        }
        match &self.help {
            Some(help) => write!(f, "\nhelp:  {help}"),
            None => Ok(()),
        }
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        let causes = || {
            let chain = std::iter::successors(error.source(), |&cause| cause.source());
            chain.map(ToString::to_string).collect()
        };
        let text = error.to_string();
        match &error {
            ClientError::Unreachable { source, .. } => {
                let (exit, help) = unreachable(source.kind());
                Self { exit, error: text, causes: causes(), help: Some(help.to_owned()) }
            }
            ClientError::Refused { status, error } => Self {
                exit: exit_for(*status),
                error: error.message.clone(),
                causes: error.causes.clone(),
                help: error.help.clone(),
            },
            ClientError::Broken(_) | ClientError::TimedOut(_) => Self {
                exit: Exit::Failed,
                error: text,
                causes: causes(),
                help: Some("the daemon's log may tell more".to_owned()),
            },
        }
    }
}

fn unreachable(kind: io::ErrorKind) -> (Exit, &'static str) {
    match kind {
        io::ErrorKind::PermissionDenied => (
            Exit::Denied,
            "the socket is mode 0600; run fleetctl as the daemon's user, or with sudo",
        ),
        _ => (
            Exit::Unavailable,
            "start the daemon (`systemctl start fleet-mcp`, or `fleet-mcp` by hand), or name its \
             socket with --socket",
        ),
    }
}

fn exit_for(status: StatusCode) -> Exit {
    match status {
        StatusCode::FORBIDDEN => Exit::Denied,
        _ => Exit::Failed,
    }
}
