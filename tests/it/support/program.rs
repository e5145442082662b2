//! Programs that a test starts itself, and what they print.

use std::process::{Child, Command, Output};

/// A program that does not outlive its test.
pub(crate) struct Running(pub(crate) Child);

impl Running {
    pub(crate) fn start(command: &mut Command) -> Self {
        Self(command.spawn().unwrap())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Runs a line in a shell; it fails if any part of a pipe does.
pub(crate) fn sh(line: &str) -> Output {
    Command::new("bash").env_clear().args(["-euo", "pipefail", "-c", line]).output().unwrap()
}

pub(crate) fn stdout(output: &Output) -> &str {
    std::str::from_utf8(&output.stdout).unwrap()
}

pub(crate) fn stderr(output: &Output) -> &str {
    std::str::from_utf8(&output.stderr).unwrap()
}
