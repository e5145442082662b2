//! Programs that a test starts itself, and what they print.

use std::{
    path::PathBuf,
    process::{Child, Command, Output},
    sync::Mutex,
};

/// How a daemon that did not come up ended.
pub(crate) struct Failed {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

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

/// A program of `tests/agents`: `cargo test` builds it beside the tests; `cargo test --test it` doesn't,
/// and takes what is there.
pub(crate) fn example(name: &str) -> PathBuf {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _built = ONE_AT_A_TIME.lock().unwrap();
    let tests = std::env::current_exe().unwrap();
    let program = tests.ancestors().nth(2).unwrap().join("examples").join(name);
    if !program.exists() {
        let mut build = Command::new(env!("CARGO"));
        build.args(["build", "--quiet", "--example", name]);
        assert!(build.status().unwrap().success());
    }
    program
}
