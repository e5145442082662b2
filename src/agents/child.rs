//! Agent hosts as child processes, for a daemon that systemd does not look after: started, watched,
//! and, if the daemon was killed, swept away by the next one.
//!
//! The daemon becomes a subreaper: what a killed host leaves comes to it and is killed. A host has no
//! death signal, which would leave its agent without anybody to end it: it ends all by itself when
//! its connection hangs up. The agent's program has one.

use std::{
    collections::BTreeMap,
    fs::{self, DirBuilder, OpenOptions},
    io::{self, Write as _},
    os::{
        fd::OwnedFd,
        unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    },
    path::{Path, PathBuf},
    process::{ChildStderr, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use nix::sys::prctl;
use sha2::{Digest as _, Sha256};
use tokio::{
    io::AsyncReadExt as _,
    net::{UnixStream, unix::pipe},
    signal::unix::{Signal, SignalKind, signal},
};

use super::{
    host::{AGENT_HOST, MARKER, inherited},
    launch::{Launched, Launcher},
    processes::{self, Awaited, Process},
};
use crate::fleet::{AgentId, Slot};

/// Between two looks at the process table while processes are ending.
const LOOK_AGAIN: Duration = Duration::from_millis(5);
/// How long a killed process may take to go.
const SWEEP_TIMEOUT: Duration = Duration::from_secs(10);
/// Most entries that a host may write into the daemon's log.
const MAX_SAID: usize = 20;

/// Starts hosts as children of this process.
#[derive(Debug)]
pub struct ChildLauncher {
    program: PathBuf,
    hosts: PathBuf,
    state: String,
}

/// What a killed daemon had left.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Swept {
    /// How many processes were killed, by agent.
    pub killed: BTreeMap<String, usize>,
    /// Those that could not be.
    pub left: Vec<i32>,
}

impl ChildLauncher {
    /// Makes this process one that orphans come to.
    ///
    /// # Errors
    /// When the kernel refuses that, or the directory for the records can't be made.
    pub fn new(state_dir: &Path) -> io::Result<Self> {
        Self::with_program(state_dir, PathBuf::from("/proc/self/exe"))
    }

    /// The same, with hosts that run another build of this program.
    ///
    /// # Errors
    /// As [`ChildLauncher::new`].
    pub fn with_program(state_dir: &Path, program: PathBuf) -> io::Result<Self> {
        prctl::set_child_subreaper(true)?;
        let hosts = state_dir.join("hosts");
        DirBuilder::new().recursive(true).mode(0o700).create(&hosts)?;
        let path = fs::canonicalize(state_dir)?;
        let digest = Sha256::digest(path.as_os_str().as_encoded_bytes());
        let state = digest[..8].iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(Self { program, hosts, state })
    }

    /// What the variable [`MARKER`] holds in each process of an agent.
    pub fn mark(&self, agent: AgentId) -> String {
        format!("{}:{agent}", self.state)
    }

    fn spawn(&self, agent: AgentId) -> io::Result<(Host, UnixStream)> {
        let (ours, theirs) = std::os::unix::net::UnixStream::pair()?;
        ours.set_nonblocking(true)?;
        let children = signal(SignalKind::child())?;
        let mut command = Command::new(&self.program);
        command
            .arg(AGENT_HOST)
            .env_clear()
            .envs(inherited())
            .env(MARKER, self.mark(agent))
            // The directory is not kept busy by it.
            .current_dir("/")
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        let (mut child, awaited) = processes::spawn(&mut command)?;
        let pid = child.id().cast_signed();
        let record = self.hosts.join(agent.0.to_string());
        let host = Host { pid, awaited, children, record };
        if let Some(said) = child.stderr.take() {
            tokio::spawn(log(agent, said));
        }
        // Without a record the next daemon finds it by its mark.
        if let Err(error) = host.write_record() {
            tracing::warn!(%agent, %error, "can't write `{}`", host.record.display());
        }
        Ok((host, UnixStream::from_std(ours)?))
    }

    /// Kills what a killed daemon has left: hosts that it has recorded, and all that bears their
    /// mark, with all that descends from either. Blocks; to be called before anything is launched.
    ///
    /// # Errors
    /// When processes or records can't be listed.
    pub fn sweep(&self) -> io::Result<Swept> {
        let mut swept = Swept::default();
        let recorded = self.recorded()?;
        let give_up = Instant::now() + SWEEP_TIMEOUT;
        let mut seen = BTreeMap::new();
        loop {
            let left = self.left_over(&recorded)?;
            seen.extend(left.iter().map(|(process, agent)| (process.pid, agent.clone())));
            let processes: Vec<Process> = left.into_iter().map(|(process, _)| process).collect();
            processes::kill_all(&processes);
            swept.left = processes.iter().filter(|p| !p.ended).map(|p| p.pid).collect();
            if swept.left.is_empty() || give_up < Instant::now() {
                break;
            }
            thread::park_timeout(LOOK_AGAIN);
        }
        for agent in seen.into_values() {
            *swept.killed.entry(agent).or_default() += 1;
        }
        if swept.left.is_empty() {
            for record in recorded {
                match fs::remove_file(record.path) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                    _ => {}
                }
            }
        }
        Ok(swept)
    }

    fn recorded(&self) -> io::Result<Vec<Record>> {
        let mut records = Vec::new();
        for entry in fs::read_dir(&self.hosts)? {
            let path = entry?.path();
            let text = fs::read_to_string(&path).unwrap_or_default();
            let agent = path.file_name().unwrap_or_default().to_string_lossy();
            records.push(Record { agent: format!("agent-{agent}"), text, path });
        }
        Ok(records)
    }

    /// What is left, each with the agent that it belongs to.
    fn left_over(&self, recorded: &[Record]) -> io::Result<Vec<(Process, String)>> {
        let all = processes::all()?;
        let me = std::process::id().cast_signed();
        let mut left = BTreeMap::new();
        for process in all.iter().filter(|process| process.pid != me && !process.ended) {
            let record = recorded.iter().find(|record| record.text == identity(process));
            let marked = || {
                let mark = process.variable(MARKER)?;
                Some(mark.strip_prefix(&self.state)?.strip_prefix(':')?.to_owned())
            };
            if let Some(agent) = record.map(|record| record.agent.clone()).or_else(marked) {
                for descendant in processes::descendants(&all, process.pid, &[]) {
                    left.entry(descendant.pid).or_insert((descendant, agent.clone()));
                }
                left.insert(process.pid, (*process, agent));
            }
        }
        left.remove(&me);
        Ok(left.into_values().collect())
    }
}

/// Waits until the hosts have ended, and their agents with them, once their connections were hung up.
/// Kills what is left after `patience`. Blocks; to be called when nothing is launched any more.
///
/// # Errors
/// When processes can't be listed.
pub fn await_end(patience: Duration) -> io::Result<()> {
    let me = std::process::id().cast_signed();
    let session = Process::look_up(me).map(|me| me.session);
    let give_up = Instant::now() + patience;
    loop {
        let all = processes::all()?;
        let mut left = processes::descendants(&all, me, &[]);
        left.retain(|process| Some(process.session) != session);
        if left.is_empty() {
            return Ok(());
        }
        if Instant::now() < give_up {
            for ended in left.iter().filter(|process| process.ended && process.parent == me) {
                // Reaped already is what we want.
                let _ = processes::reap(ended.pid);
            }
        } else {
            processes::kill_all(&left);
        }
        if give_up + SWEEP_TIMEOUT < Instant::now() {
            return Err(io::Error::other(format!("{} processes can't be ended", left.len())));
        }
        thread::park_timeout(LOOK_AGAIN);
    }
}

struct Record {
    agent: String,
    text: String,
    path: PathBuf,
}

/// What tells a process from each other one, also after the next boot.
fn identity(process: &Process) -> String {
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    format!("{} {} {}\n", process.pid, process.started, boot.trim())
}

impl Launcher for ChildLauncher {
    fn launch(&self, agent: AgentId, slot: Option<&Slot>) -> io::Result<Launched> {
        if let Some(slot) = slot {
            return Err(io::Error::other(format!(
                "it lives in slot {slot}, and this daemon has no slots; set fleet.slots, or delete it"
            )));
        }
        let (host, stream) = self.spawn(agent)?;
        Ok(Launched { stream, gone: Box::pin(host.gone()) })
    }
}

/// A host that runs.
struct Host {
    pid: i32,
    awaited: Awaited,
    children: Signal,
    record: PathBuf,
}

impl Host {
    fn write_record(&self) -> io::Result<()> {
        let process = Process::look_up(self.pid).ok_or(io::ErrorKind::NotFound)?;
        let mut how = OpenOptions::new();
        how.write(true).create(true).truncate(true).mode(0o600);
        how.open(&self.record)?.write_all(identity(&process).as_bytes())
    }

    /// Waits for its end. If it was killed, what it leaves comes to us: that is killed, too.
    async fn gone(mut self) {
        // An error says that it is reaped already, which is a bug, and that it is gone.
        while let Ok(None) = processes::reap(self.pid) {
            self.children.recv().await;
        }
        let session = Process::look_up(std::process::id().cast_signed()).map(|me| me.session);
        // Other children of this process are in its session; hosts and their agents never are.
        let orphan = |process: &Process| Some(process.session) != session;
        while let Ok(true) = processes::kill_orphans(orphan) {
            tokio::time::sleep(LOOK_AGAIN).await;
        }
        drop(self.awaited);
        let _ = fs::remove_file(self.record);
    }
}

/// Logs what a host says, which is little.
async fn log(agent: AgentId, said: ChildStderr) {
    let Ok(mut said) = pipe::Receiver::from_owned_fd(OwnedFd::from(said)) else { return };
    let mut buffer = vec![0; 1024];
    let mut entries = 0;
    while let Ok(read @ 1..) = said.read(&mut buffer).await {
        entries += 1;
        if entries <= MAX_SAID {
            let text = String::from_utf8_lossy(&buffer[..read]);
            tracing::warn!(%agent, "the host of {agent} says: {}", text.trim_end());
        }
    }
}
