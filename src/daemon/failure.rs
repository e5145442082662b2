//! Why the daemon could not start: what failed, why, and what to do about it.

use std::{error::Error, io::Write as _};

use crate::{
    app::ports::StoreError,
    config::ConfigErrors,
    exit::Exit,
    log::{Guard, Sink},
    stores::StateDirError,
};

/// The last words of a daemon that could not start.
#[derive(Debug)]
pub(super) struct Failure {
    exit: Exit,
    error: String,
    cause: Option<String>,
    help: Option<String>,
}

impl Failure {
    /// `error` is a lowercase fragment.
    pub(super) fn new(error: impl Into<String>) -> Self {
        Self { exit: Exit::Failed, error: error.into(), cause: None, help: None }
    }

    pub(super) fn caused_by(mut self, error: impl Error) -> Self {
        self.cause = Some(chain(&error));
        self
    }

    pub(super) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    pub(super) fn exit(mut self, exit: Exit) -> Self {
        self.exit = exit;
        self
    }

    /// Tells people on standard error; for before there is a log.
    pub(super) fn report(&self) -> Exit {
        let mut text = format!("error: {}\n", self.error);
        for (label, part) in [("cause", &self.cause), ("help", &self.help)] {
            if let Some(part) = part {
                text.push_str(&format!("{label}: {part}\n"));
            }
        }
        // Nobody is left to tell if this fails.
        let _ = std::io::stderr().write_all(text.as_bytes());
        self.exit
    }

    /// Tells the journal in one entry, or people on standard error.
    pub(super) fn log(&self, log: &Guard) -> Exit {
        if log.sink() == Sink::Stderr {
            log.flush(crate::log::FLUSH_TIMEOUT);
            return self.report();
        }
        let parts = [Some(&self.error), self.cause.as_ref(), self.help.as_ref()];
        let text: Vec<_> = parts.into_iter().flatten().map(String::as_str).collect();
        tracing::error!("{}", text.join("; "));
        self.exit
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        let failure = Self::new(error.what).help(error.help).exit(Exit::Config);
        match error.source {
            Some(source) => failure.caused_by(source),
            None => failure,
        }
    }
}

impl From<StateDirError> for Failure {
    fn from(error: StateDirError) -> Self {
        let exit = match error {
            StateDirError::InUse(_) => Exit::Unavailable,
            StateDirError::Unusable(_) => Exit::Config,
        };
        Self::from(error.into_words()).exit(exit)
    }
}

/// Tells all problems of the configuration on standard error.
pub(super) fn report_config(errors: &ConfigErrors) -> Exit {
    let mut text = String::new();
    for problem in &errors.problems {
        text.push_str(&format!("error: {problem}\n"));
    }
    let _ = std::io::stderr().write_all(text.as_bytes());
    Exit::Config
}

/// An error and its causes in one line.
pub(super) fn chain(error: &dyn Error) -> String {
    let causes = std::iter::successors(Some(error), |&error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
