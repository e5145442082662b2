//! A state directory with sessions in it, and what they report.

use std::{
    collections::VecDeque,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use fleet_mcp::{
    agents::{
        child::ChildLauncher,
        drivers::command,
        host::MARKER,
        io::{AgentIo, Heard, Resumed, Say, Step, Stream, What},
        processes::{self, Process},
        sessions::{Drivers, Driving, LocalSessions},
    },
    app::{
        clock::SystemClock,
        ports::sessions::{
            Cause, Driver, FleetToken, News, Order, Permissions, Program, Report, SessionSpec,
            Sessions as _,
        },
    },
    fleet::{AgentId, Entry, EntryKind},
};
use tokio::sync::mpsc;

use crate::support::PATIENCE;

pub(super) const AGENT: AgentId = AgentId(7);

struct LineDrivers;

impl Drivers for LineDrivers {
    fn acp(
        &self,
        _: &SessionSpec,
        _cwd: PathBuf,
        io: AgentIo,
        orders: mpsc::Receiver<Order>,
        from: Option<Resumed>,
    ) -> Driving<Result<(), String>> {
        Box::pin(async move {
            let (heard, obeyed) = from.as_ref().map_or((0, 0), |from| (from.heard, from.obeyed));
            let step = Step { heard, obeyed, ..Step::default() };
            serve_lines(io, orders, step).await
        })
    }

    fn command(
        &self,
        spec: &SessionSpec,
        io: AgentIo,
        orders: mpsc::Receiver<Order>,
        from: Option<Resumed>,
    ) -> Driving<Result<(), String>> {
        let clock = Arc::new(SystemClock);
        Box::pin(command::drive(io, spec.program.arguments.clone(), from, orders, clock))
    }

    fn not_resumed(&self, _: &SessionSpec) {}
}

/// Each line is an entry, each prompt a line: a step each.
async fn serve_lines(
    mut io: AgentIo,
    mut orders: mpsc::Receiver<Order>,
    mut step: Step,
) -> Result<(), String> {
    let (mut closing, mut over) = (false, None);
    loop {
        step.state = (!closing).then(|| "{}".to_owned());
        let (heard, obeyed) = (step.heard, step.obeyed);
        let _ = io.steps.send(step).await;
        if let Some(over) = over {
            return over;
        }
        step = Step { heard, obeyed, ..Step::default() };
        tokio::select! {
            heard = io.heard.recv() => {
                let Some(Heard { number, what }) = heard else { return Ok(()) };
                step.heard = number;
                let (kind, content) = match what {
                    What::Line(Stream::Out, text) => (EntryKind::Message, text),
                    What::Line(Stream::Err, text) => (EntryKind::Diagnostic, text),
                    What::Started => {
                        step.news.push(News::Opened { session: None });
                        continue;
                    }
                    What::Failed(why) => {
                        over = Some(Err(why));
                        continue;
                    }
                    What::Ended(_) => {
                        over = Some(Ok(()));
                        continue;
                    }
                };
                step.news.push(News::Said(Entry { kind, content, joins: false }));
            }
            order = orders.recv(), if !closing => match order {
                Some(Order::Prompt { text }) => {
                    step.obeyed += 1;
                    step.says.push(Say::Line(text));
                }
                Some(_) => step.obeyed += 1,
                None => {
                    closing = true;
                    step.says.push(Say::CloseInput);
                }
            },
        }
    }
}

/// A state directory of its own, with everything that serves sessions.
pub(super) struct Bench {
    pub(super) dir: tempfile::TempDir,
    pub(super) launcher: Arc<ChildLauncher>,
    pub(super) sessions: LocalSessions,
    pub(super) confine: bool,
}

impl Bench {
    pub(super) fn new() -> Self {
        Self::with(false)
    }

    pub(super) fn with(confine: bool) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let program = PathBuf::from(env!("CARGO_BIN_EXE_fleet-mcp"));
        let launcher = Arc::new(ChildLauncher::with_program(dir.path(), program).unwrap());
        let drivers = Arc::new(LineDrivers);
        let sessions =
            LocalSessions::new(dir.path(), Arc::clone(&launcher) as _, drivers, confine).unwrap();
        Self { dir, launcher, sessions, confine }
    }

    pub(super) fn workspace(&self) -> PathBuf {
        self.dir.path().join("agents/worker")
    }

    pub(super) fn open(&self, spec: SessionSpec) -> Session {
        let (give, reports) = mpsc::channel(16);
        let orders = self.sessions.open(spec, give);
        Session { orders, reports, news: VecDeque::new() }
    }

    /// Runs a shell script as the agent.
    pub(super) fn shell(&self, script: &str) -> Session {
        self.open(spec(script))
    }

    /// All processes of the agent, its host among them.
    pub(super) fn processes(&self) -> Vec<Process> {
        let mark = self.launcher.mark(AGENT);
        let here = |p: &Process| {
            let cwd = std::fs::read_link(format!("/proc/{}/cwd", p.pid));
            p.variable(MARKER).as_deref() == Some(&mark)
                || cwd.is_ok_and(|cwd| cwd.starts_with(self.dir.path()))
        };
        processes::all().unwrap().into_iter().filter(|p| !p.ended && here(p)).collect()
    }

    pub(super) fn host(&self) -> Process {
        let record = std::fs::read_to_string(self.dir.path().join("hosts/7")).unwrap();
        let pid = record.split(' ').next().unwrap().parse().unwrap();
        Process::look_up(pid).unwrap()
    }

    /// Nothing is left: neither processes nor the record of a host.
    pub(super) fn assert_gone(&self) {
        assert_eq!(self.processes(), []);
        assert_eq!(std::fs::read_dir(self.dir.path().join("hosts")).unwrap().count(), 0);
    }
}

pub(super) fn spec(script: &str) -> SessionSpec {
    SessionSpec {
        slot: None,
        agent: AGENT,
        name: "worker".parse().unwrap(),
        project: "project".to_owned(),
        repository: None,
        program: Program {
            driver: Driver::Acp,
            command: "sh".into(),
            arguments: vec!["-c".to_owned(), script.to_owned()],
            environment: Vec::new(),
            environment_file: None,
            overrides: Vec::new(),
            credentials: Vec::new(),
        },
        resume: None,
        permissions: Permissions::Deny,
        fleet_token: FleetToken::Off,
        mode: None,
        model: None,
    }
}

/// An open session.
pub(super) struct Session {
    pub(super) orders: mpsc::Sender<Order>,
    pub(super) reports: mpsc::Receiver<Report>,
    /// Reported and not looked at.
    news: VecDeque<News>,
}

impl Session {
    /// The next report, committed.
    pub(super) async fn next(&mut self) -> News {
        loop {
            if let Some(news) = self.news.pop_front() {
                return news;
            }
            let mut report = self.hold().await;
            if let Some(receipt) = report.receipt.take() {
                let _ = receipt.send(());
            }
            self.news.extend(report.news);
        }
    }

    /// The next report, not committed.
    pub(super) async fn hold(&mut self) -> Report {
        let next = tokio::time::timeout(PATIENCE, self.reports.recv()).await;
        next.expect("a report in time").expect("the last report is Ended")
    }

    /// The next thing that the agent says.
    pub(super) async fn said(&mut self) -> String {
        loop {
            match self.next().await {
                News::Said(entry) => return entry.content,
                News::Opened { .. } => {}
                other => panic!("{other:?}"),
            }
        }
    }

    pub(super) async fn prompt(&self, text: &str) {
        self.orders.send(Order::Prompt { text: text.to_owned() }).await.unwrap();
    }

    pub(super) async fn close(&self, remove_workspace: bool, grace_secs: u32) {
        self.orders.send(Order::Close { remove_workspace, grace_secs }).await.unwrap();
    }

    /// Reads to the end; answers all news before it, and why it ended.
    pub(super) async fn end(&mut self) -> (Vec<News>, Cause) {
        let mut news = Vec::new();
        loop {
            match self.next().await {
                News::Ended(cause) => return (news, cause),
                other => news.push(other),
            }
        }
    }
}

/// Waits for a condition that other processes make true.
pub(super) async fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let wait = async {
        loop {
            if let Some(found) = look() {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.unwrap_or_else(|_| panic!("waited in vain: {what}"))
}

/// Runs git for a test; answers what it wrote.
pub(super) fn git(directory: &Path, arguments: &[&str]) -> String {
    let out = std::process::Command::new("git")
        .args(["-c", "user.name=t", "-c", "user.email=t@t", "-c", "init.defaultBranch=main"])
        // It would go on in the background, in the directory of a test that looks for what is left.
        .args(["-c", "maintenance.auto=false"])
        .args(arguments)
        .current_dir(directory)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .output()
        .unwrap();
    assert!(out.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8(out.stdout).unwrap()
}
