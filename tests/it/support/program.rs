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

/// Runs a line in a shell; `$0` is this program, in its environment. Fails if any part of a pipe does.
pub(crate) fn bash(program: &Command, line: &str) -> Output {
    let mut shell = Command::new("bash");
    shell.env_clear().envs(program.get_envs().filter_map(|(name, value)| Some((name, value?))));
    shell.args(["-euo", "pipefail", "-c", line]).arg(program.get_program()).output().unwrap()
}

/// Runs a line that needs no program of ours.
pub(crate) fn sh(line: &str) -> Output {
    bash(&Command::new("bash"), line)
}

pub(crate) fn stdout(output: &Output) -> &str {
    std::str::from_utf8(&output.stdout).unwrap()
}

pub(crate) fn stderr(output: &Output) -> &str {
    std::str::from_utf8(&output.stderr).unwrap()
}
