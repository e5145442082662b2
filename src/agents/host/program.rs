//! The agent's program while it runs: its streams, and its end in stages.

use std::{
    collections::{BTreeMap, VecDeque},
    ffi::OsString,
    io,
    os::{fd::OwnedFd, unix::process::CommandExt as _},
    process::{ChildStdin, Command, Stdio},
    time::Duration,
};

use nix::{
    sys::{
        signal::{Signal, killpg},
        wait::WaitStatus,
    },
    unistd::Pid,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::unix::pipe,
    time::Instant,
};

use super::{
    confine, environment,
    frames::{End, FromHost, Start},
    lines::Lines,
    memory,
    workspace::Ready,
};
use crate::agents::processes;

/// Most time between TERM and KILL.
const TERM_GRACE: Duration = Duration::from_secs(2);
/// How long the streams may stay open and silent once nobody is left who could write: a descriptor
/// of them may have been sent to a process that is none of ours.
const SILENCE: Duration = Duration::from_secs(1);
/// Between two looks at the process table while processes are ending.
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// A program that runs, or whose end is not complete.
#[derive(Debug)]
pub(super) struct Program {
    pid: i32,
    pub(super) input: Input,
    pub(super) out: Output,
    pub(super) err: Output,
    phase: Phase,
    ordered: bool,
    oom_kills: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Runs,
    /// It may end by itself until then.
    InputClosed {
        until: Instant,
        term: Duration,
    },
    /// It was asked to end, and may until then.
    Asked {
        until: Instant,
    },
    /// It can't refuse any longer.
    Killed,
    /// It has ended; what it had started is being ended.
    Sweep {
        status: WaitStatus,
        next: Instant,
    },
    /// Nothing of it is left but what is in the pipes.
    Drain {
        status: WaitStatus,
        until: Instant,
        quiet: bool,
    },
}

/// The program's standard input.
#[derive(Debug, Default)]
pub(super) struct Input {
    pipe: Option<pipe::Sender>,
    /// Items to be written, with their numbers.
    waiting: VecDeque<(u64, Vec<u8>)>,
    written: usize,
    close: bool,
}

/// One of the streams that the program writes.
#[derive(Debug)]
pub(super) struct Output {
    pipe: Option<pipe::Receiver>,
    lines: Lines,
    /// Read and not taken.
    buffer: Vec<u8>,
    taken: usize,
}

impl Program {
    /// Starts a program in a workspace.
    ///
    /// # Errors
    /// A sentence for the operator.
    pub(super) fn start(ready: &Ready, start: &Start) -> Result<Self, String> {
        let mut variables: BTreeMap<OsString, OsString> = environment::base(&ready.home());
        for (name, value) in &start.environment {
            if !environment::may_set(name) || value.contains('\0') {
                return Err(format!("agents can't have a variable `{name}`"));
            }
            variables.insert(name.into(), value.into());
        }
        let search = variables.get("PATH".as_ref() as &std::ffi::OsStr);
        let search = search.map(|path| path.to_string_lossy().into_owned()).unwrap_or_default();
        let shown = start.program.display();
        let program = environment::find(&start.program, &search).ok_or_else(|| {
            format!("can't find the program `{shown}`, or may not run it (PATH is `{search}`)")
        })?;
        let rules = if ready.confine {
            confine::rules(&ready.directory, ready.source_path(), &program, &search)
        } else {
            confine::Rules::default()
        };
        let mut command = rules.command(&program, &start.arguments);
        command
            .env_clear()
            .envs(variables)
            .current_dir(ready.repo())
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        Self::spawn(command).map_err(|error| format!("can't start the program `{shown}`: {error}"))
    }

    fn spawn(mut command: Command) -> io::Result<Self> {
        let oom_kills = memory::kills();
        let mut child = command.spawn()?;
        Ok(Self {
            pid: child.id().cast_signed(),
            input: Input::new(child.stdin.take())?,
            out: Output::new(child.stdout.take().map(OwnedFd::from), false)?,
            err: Output::new(child.stderr.take().map(OwnedFd::from), true)?,
            phase: Phase::Runs,
            ordered: false,
            oom_kills,
        })
    }

    pub(super) fn pid(&self) -> u32 {
        self.pid.cast_unsigned()
    }

    /// Begins to end it. Once begun, only less grace changes anything.
    pub(super) fn stop(&mut self, grace: Duration, now: Instant) {
        let until = now + grace;
        self.ordered |= self.phase == Phase::Runs;
        match self.phase {
            Phase::Runs => {}
            Phase::InputClosed { until: earlier, .. } if until < earlier => {}
            _ => return,
        }
        self.input.close_now();
        self.phase = Phase::InputClosed { until, term: grace.min(TERM_GRACE) };
    }

    /// When [`Program::step`] is due even if nothing happens.
    pub(super) fn due(&self) -> Option<Instant> {
        match self.phase {
            Phase::Runs | Phase::Killed => None,
            Phase::InputClosed { until, .. }
            | Phase::Asked { until }
            | Phase::Sweep { next: until, .. }
            | Phase::Drain { until, .. } => Some(until),
        }
    }

    /// Does what is due. `heard` says that the program's streams are not held up by us.
    pub(super) fn step(&mut self, now: Instant, heard: bool) {
        if !matches!(self.phase, Phase::Sweep { .. } | Phase::Drain { .. }) {
            match processes::reap(self.pid) {
                Ok(None) => {}
                Ok(Some(status)) => self.phase = Phase::Sweep { status, next: now },
                // Reaped by somebody else, which is a bug; its status is lost.
                Err(_) => {
                    let status = WaitStatus::Exited(Pid::from_raw(self.pid), -1);
                    self.phase = Phase::Sweep { status, next: now };
                }
            }
        }
        match self.phase {
            Phase::InputClosed { until, term } if until <= now => {
                self.signal(Signal::SIGTERM);
                self.phase = Phase::Asked { until: now + term };
            }
            Phase::Asked { until } if until <= now => {
                self.signal(Signal::SIGKILL);
                self.phase = Phase::Killed;
            }
            Phase::Sweep { status, next } if next <= now => {
                let left = processes::kill_orphans(|_| true).unwrap_or(false);
                self.phase = if left {
                    Phase::Sweep { status, next: now + LOOK_AGAIN }
                } else {
                    self.input.close_now();
                    Phase::Drain { status, until: now + SILENCE, quiet: false }
                };
            }
            Phase::Drain { status, until, quiet } if until <= now => {
                if heard && quiet {
                    self.out.pipe = None;
                    self.err.pipe = None;
                }
                self.phase = Phase::Drain { status, until: now + SILENCE, quiet: heard };
            }
            _ => {}
        }
    }

    fn signal(&self, signal: Signal) {
        // It is not reaped yet, so the number is still its own. Gone is what we want.
        let _ = killpg(Pid::from_raw(self.pid), signal);
    }

    /// How it ended, once nothing of it is left and all that it wrote was taken.
    pub(super) fn end(&self) -> Option<End> {
        let Phase::Drain { status, .. } = self.phase else { return None };
        if !(self.out.is_finished() && self.err.is_finished()) {
            return None;
        }
        let (code, signal) = match status {
            WaitStatus::Exited(_, code) => (Some(code), None),
            WaitStatus::Signaled(_, signal, _) => (None, Some(signal as i32)),
            _ => (None, None),
        };
        let out_of_memory = memory::kills() > self.oom_kills;
        Some(End { code, signal, out_of_memory, ordered: self.ordered })
    }
}

impl Input {
    fn new(pipe: Option<ChildStdin>) -> io::Result<Self> {
        let pipe = pipe.map(|pipe| pipe::Sender::from_owned_fd(pipe.into())).transpose()?;
        Ok(Self { pipe, ..Self::default() })
    }

    pub(super) fn push(&mut self, number: u64, bytes: Vec<u8>) {
        self.waiting.push_back((number, bytes));
    }

    /// Closes it once all is written.
    pub(super) fn close(&mut self) {
        self.close = true;
        if self.waiting.is_empty() {
            self.pipe = None;
        }
    }

    fn close_now(&mut self) {
        self.pipe = None;
    }

    /// Items that are written, or that never will be.
    pub(super) fn finished(&mut self) -> Option<u64> {
        let (_, bytes) = self.waiting.front()?;
        if self.pipe.is_some() && self.written < bytes.len() {
            return None;
        }
        let (number, _) = self.waiting.pop_front()?;
        self.written = 0;
        if self.close && self.waiting.is_empty() {
            self.pipe = None;
        }
        Some(number)
    }

    /// Writes a part of what waits. Cancel-safe.
    pub(super) async fn write(&mut self) {
        let (Some(pipe), Some((_, bytes))) = (&mut self.pipe, self.waiting.front()) else {
            return std::future::pending().await;
        };
        match pipe.write(&bytes[self.written..]).await {
            Ok(written) => self.written += written,
            // The program has closed its end: that is its choice.
            Err(_) => self.pipe = None,
        }
    }
}

impl Output {
    fn new(pipe: Option<OwnedFd>, err: bool) -> io::Result<Self> {
        let pipe = pipe.map(pipe::Receiver::from_owned_fd).transpose()?;
        Ok(Self { pipe, lines: Lines::new(err), buffer: Vec::new(), taken: 0 })
    }

    /// Reads some more if all is taken. Cancel-safe.
    pub(super) async fn read(&mut self) {
        let Some(pipe) = &mut self.pipe else { return std::future::pending().await };
        if self.taken < self.buffer.len() {
            return std::future::pending().await;
        }
        self.buffer.clear();
        self.taken = 0;
        self.buffer.reserve(8 * 1024);
        if !matches!(pipe.read_buf(&mut self.buffer).await, Ok(1..)) {
            self.pipe = None;
        }
    }

    /// The next line in what was read, in pieces.
    pub(super) fn next(&mut self) -> Option<Vec<FromHost>> {
        while self.taken < self.buffer.len() {
            let (taken, line) = self.lines.take(&self.buffer[self.taken..]);
            self.taken += taken;
            if line.is_some() {
                return line;
            }
        }
        if self.pipe.is_none() { self.lines.end() } else { None }
    }

    fn is_finished(&self) -> bool {
        self.pipe.is_none() && self.taken == self.buffer.len()
    }
}
