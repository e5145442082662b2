//! The daemon's use cases over a store in memory, with agents that have no processes.

use std::{path::PathBuf, sync::Arc};

use fleet_mcp::{
    app::{
        App, FleetAccess, Phase,
        clock::{Clock, SystemClock},
        doctor,
        metrics::{Figures, Metrics, ProcessFigures, StoreFigures},
        ports::{
            Examine, Reload, ReloadError, Reloaded,
            sessions::{
                Cause, News, Order, Outcome, Report, Retake, Retaken, SessionSpec, Sessions, Whose,
            },
        },
        recorder::Recorder,
        settings::PrimarySource,
        supervisor::{Parts, Supervisor},
        tokens::{Stores, Tokens},
    },
    config::{self, Flags, Sources},
    fleet::{
        AgentId, Entry, EntryKind, Question,
        task::{Choice, ChoiceKind},
    },
    stores::{FleetDb, GrantFile, TokenFile},
};
use tempfile::TempDir;
use tokio::{
    runtime::Runtime,
    sync::{mpsc, watch},
};
use tokio_util::sync::CancellationToken;

/// A daemon without its sockets.
pub struct Daemon {
    pub app: Arc<App>,
    pub runtime: Runtime,
    pub directory: TempDir,
}

impl Daemon {
    /// Starts it, with authentication off.
    pub fn start() -> Self {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let directory = super::directory();
        let app = runtime.block_on(start(&directory));
        Self { app, runtime, directory }
    }
}

async fn start(directory: &TempDir) -> Arc<App> {
    let state_dir = directory.path().join("state");
    fleet_mcp::stores::prepare_dir(&state_dir, fleet_mcp::stores::Whose::Ours).expect("a place");
    let settings = Arc::new(settings(directory));
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let db = Arc::new(FleetDb::open(&settings.state_dir).expect("a database"));
    let stores = Stores {
        primary: Arc::new(TokenFile::new(settings.auth.token_file.clone(), &state_dir)),
        source: PrimarySource::File,
        grants: Arc::new(GrantFile::new(&settings.state_dir)),
    };
    let tokens = Arc::new(Tokens::new(stores, Arc::clone(&clock)));
    tokens.load_or_create().expect("a token");
    let (recorder, waiting) = Recorder::new();
    let metrics = Arc::<Metrics>::default();
    let settings = watch::Sender::new(settings);
    let (supervisor, mut revived) = Supervisor::revive(Parts {
        store: Arc::clone(&db) as _,
        sessions: Arc::new(NoProcesses),
        slots: None,
        settings: settings.subscribe(),
        metrics: Arc::clone(&metrics),
        clock: Arc::clone(&clock),
    })
    .expect("a fleet");
    let access = FleetAccess {
        snapshot: revived.snapshot(),
        logs: revived.logs(),
        supervisor,
        store: Arc::clone(&db) as _,
        events: Arc::clone(&db) as _,
        recorder,
        metrics,
        figures: Arc::new(NoFigures),
        isolation: "none".to_owned(),
        slots: None,
        listeners: Arc::default(),
    };
    revived.begin().await;
    let stop = CancellationToken::new();
    tokio::spawn(waiting.work(db, settings.subscribe(), Arc::clone(&clock), stop.clone()));
    tokio::spawn(revived.work(stop));
    let app = Arc::new(App::new(settings, tokens, access, clock));
    app.set_listeners(Vec::new());
    app.enter(Phase::Ready);
    app
}

fn settings(directory: &TempDir) -> fleet_mcp::app::settings::Settings {
    let path = directory.path().to_str().expect("UTF-8");
    let variable = |name: &str, value: String| (name.into(), value.into());
    let sources = Sources {
        environment: vec![
            variable("HOME", path.to_owned()),
            variable("FLEET_MCP_STATE_DIR", format!("{path}/state")),
        ],
        working_dir: directory.path().to_owned(),
        euid: 0,
        program: PathBuf::from("/usr/bin/true"),
        flags: Flags::default(),
    };
    config::load(&sources).expect("settings").settings
}

struct NoFigures;

impl Figures for NoFigures {
    fn log_entries_dropped(&self) -> u64 {
        0
    }

    fn store(&self) -> StoreFigures {
        StoreFigures::default()
    }

    fn process(&self) -> ProcessFigures {
        ProcessFigures::default()
    }
}

/// Every task is done at once, but `ask`: that asks for ever.
struct NoProcesses;

impl Sessions for NoProcesses {
    fn open(&self, spec: SessionSpec, reports: mpsc::Sender<Report>) -> mpsc::Sender<Order> {
        let (orders, ordered) = mpsc::channel(16);
        tokio::spawn(session(spec.agent, ordered, reports));
        orders
    }

    fn publish(&self, whose: Whose, reports: mpsc::Sender<Report>) -> mpsc::Sender<Order> {
        let (orders, _) = mpsc::channel(16);
        tokio::spawn(async move {
            tell(whose.agent, News::NothingToPublish("it is empty".to_owned()), &reports).await;
            tell(whose.agent, News::Ended(Cause::Closed), &reports).await;
        });
        orders
    }

    fn remove(&self, whose: Whose, reports: mpsc::Sender<Report>) {
        tokio::spawn(async move {
            tell(whose.agent, News::Ended(Cause::Closed), &reports).await;
        });
    }

    fn outlive(&self) -> bool {
        false
    }

    fn retake(&self, _: AgentId, _: Retake, _: mpsc::Sender<Report>) -> Retaken {
        Retaken::Gone
    }

    fn release_rest(&self) {}

    fn let_go(&self) {}
}

async fn session(agent: AgentId, mut orders: mpsc::Receiver<Order>, reports: mpsc::Sender<Report>) {
    tell(agent, News::Opened { session: None }, &reports).await;
    let mut asked = 0;
    while let Some(order) = orders.recv().await {
        match order {
            Order::Prompt { text } if text.ends_with("ask") => {
                tell(agent, News::Asked(question(asked)), &reports).await;
            }
            Order::Answer { question: answered, choice } => {
                let open = question(asked);
                assert_eq!(answered, open.id);
                assert!(open.choices.iter().any(|offered| offered.id == choice), "{choice:?}");
                asked += 1;
                tell(agent, News::Asked(question(asked)), &reports).await;
            }
            Order::Cancel => tell(agent, News::TurnEnded(Outcome::Canceled), &reports).await,
            Order::Prompt { text } => {
                let entry = Entry { kind: EntryKind::Message, content: text, joins: false };
                tell(agent, News::Said(entry), &reports).await;
                tell(agent, News::TurnEnded(Outcome::Done), &reports).await;
            }
            Order::Publish { .. } => {
                tell(agent, News::NothingToPublish("it is empty".to_owned()), &reports).await;
            }
            Order::Close { .. } => break,
        }
    }
    tell(agent, News::Ended(Cause::Closed), &reports).await;
}

/// One that has choices of two kinds, and an id that is shown otherwise than it is.
fn question(number: u64) -> Question {
    let choice = |id: &str, kind| Choice { id: id.to_owned(), name: id.to_owned(), kind };
    Question {
        id: format!("q{number}"),
        text: "May I?".to_owned(),
        choices: vec![
            choice("yes", ChoiceKind::AllowOnce),
            choice("n\u{202e}o", ChoiceKind::RejectOnce),
        ],
        asked_at: jiff::Timestamp::UNIX_EPOCH,
    }
}

async fn tell(agent: AgentId, news: News, reports: &mpsc::Sender<Report>) {
    // Nobody hears it once the daemon ends.
    let _ = reports.send(Report::of(agent, news)).await;
}

/// Reloads nothing, and looks at nothing.
pub struct Nothing;

impl Examine for Nothing {
    fn examine(self: Arc<Self>) -> std::pin::Pin<Box<dyn Future<Output = doctor::Report> + Send>> {
        Box::pin(async { doctor::Report { good: 0, findings: Vec::new() } })
    }
}

impl Reload for Nothing {
    fn reload(
        self: Arc<Self>,
    ) -> std::pin::Pin<Box<dyn Future<Output = Result<Reloaded, ReloadError>> + Send>> {
        Box::pin(async { Ok(Reloaded::default()) })
    }
}
