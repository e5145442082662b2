//! The supervisor with a store and sessions that do what a test says.

mod orders;

use std::{
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicI64, Ordering::SeqCst},
    },
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};

use super::*;
use crate::{
    app::{
        error::Code,
        ports::{
            event_store::Retention,
            fleet_store::{Change, Page, Paged, Stored, StoredFleet},
            sessions::{Cause, News, Order, Outcome, Retake, Retaken, SessionSpec, Whose},
        },
        settings::{AuthSettings, FleetSettings, HttpSettings, LogSettings, PrimarySource},
    },
    fleet::{
        AgentId, Driver, Entry, EntryKind, FleetToken, Limits, LogEntry, Permissions, Program,
        Project, Publication, Role, Status, Task, TaskId, TaskStatus,
    },
};

#[derive(Default)]
struct Store {
    commits: Mutex<Vec<Vec<Change>>>,
    refuses: AtomicBool,
}

impl FleetStore for Store {
    fn load(&self) -> Result<StoredFleet, StoreError> {
        Ok(StoredFleet { agents: Vec::new(), next_agent: AgentId(1), next_task: TaskId(1) })
    }

    fn commit(&self, changes: Vec<Change>) -> Stored<()> {
        let refused = self.refuses.load(SeqCst);
        if !refused {
            self.commits.lock().unwrap().push(changes);
        }
        let error = || StoreError {
            what: "the disk is full".to_owned(),
            help: "make room".to_owned(),
            source: None,
        };
        Box::pin(async move { if refused { Err(error()) } else { Ok(()) } })
    }

    fn task(&self, _: TaskId) -> Stored<Option<Task>> {
        Box::pin(async { Ok(None) })
    }

    fn last_message(&self, _: TaskId) -> Stored<Option<String>> {
        Box::pin(async { Ok(None) })
    }

    fn history(&self, _: AgentId, _: Page) -> Stored<Paged<Task>> {
        Box::pin(async { Ok(Paged { items: Vec::new(), total: 0 }) })
    }

    fn log(&self, _: AgentId, _: Page) -> Stored<Paged<LogEntry>> {
        Box::pin(async { Ok(Paged { items: Vec::new(), total: 0 }) })
    }

    fn log_after(&self, _: AgentId, _: i64, _: usize) -> Stored<Vec<LogEntry>> {
        Box::pin(async { Ok(Vec::new()) })
    }
}

/// A session that was opened: what it is, what it is told, and where it tells.
struct Opened {
    spec: SessionSpec,
    orders: mpsc::Receiver<Order>,
    reports: mpsc::Sender<Report>,
}

impl Opened {
    async fn tell(&self, news: News) {
        self.reports.send(Report::of(self.spec.agent, news)).await.unwrap();
    }

    /// Tells something and waits until it is durable.
    async fn tell_and_wait(&self, news: News) {
        let (receipt, durable) = oneshot::channel();
        let report = Report { receipt: Some(receipt), ..Report::of(self.spec.agent, news) };
        self.reports.send(report).await.unwrap();
        durable.await.unwrap();
    }

    async fn told(&mut self) -> Order {
        self.orders.recv().await.expect("the supervisor holds the line")
    }
}

struct Doubles(mpsc::Sender<Opened>);

impl Sessions for Doubles {
    fn open(&self, spec: SessionSpec, reports: mpsc::Sender<Report>) -> mpsc::Sender<Order> {
        let (sender, orders) = mpsc::channel(64);
        self.0.try_send(Opened { spec, orders, reports }).unwrap();
        sender
    }

    fn publish(&self, whose: Whose, reports: mpsc::Sender<Report>) -> mpsc::Sender<Order> {
        let (sender, _orders) = mpsc::channel(64);
        for news in [News::NothingToPublish("there is none".to_owned()), News::Ended(Cause::Closed)]
        {
            reports.try_send(Report::of(whose.agent, news)).unwrap();
        }
        sender
    }

    fn remove(&self, whose: Whose, reports: mpsc::Sender<Report>) {
        let news = News::Ended(Cause::Closed);
        reports.try_send(Report::of(whose.agent, news)).unwrap();
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

struct StillClock(AtomicI64);

impl Clock for StillClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_second(self.0.load(SeqCst)).unwrap()
    }
}

struct Bench {
    store: Arc<Store>,
    supervisor: Supervisor,
    snapshot: watch::Receiver<Arc<Snapshot>>,
    opened: mpsc::Receiver<Opened>,
}

pub(in crate::app) fn settings() -> Settings {
    let minute = SignedDuration::from_mins(1);
    Settings {
        listen: Vec::new(),
        state_dir: "/".into(),
        control_socket: "/".into(),
        auth: AuthSettings { enabled: false, token_file: "/".into(), primary: PrimarySource::File },
        http: HttpSettings::for_tests(),
        log: LogSettings { filter: String::new(), access_file: None, journal_socket: "/".into() },
        projects: vec![Project {
            name: "scratch".to_owned(),
            description: String::new(),
            repository: None,
        }],
        roles: vec![Role {
            name: "demo".to_owned(),
            description: String::new(),
            projects: Vec::new(),
            default: true,
            agent: "demo".to_owned(),
            prompt: Some("Be brief.".to_owned()),
            mode: None,
            model: None,
            permissions: Permissions::Ask,
            fleet_token: FleetToken::Off,
            environment: Vec::new(),
            environment_file: None,
            credentials: Vec::new(),
        }],
        programs: vec![Program {
            name: "demo".to_owned(),
            driver: Driver::Acp,
            command: "demo".into(),
            arguments: Vec::new(),
            environment: Vec::new(),
        }],
        fleet: FleetSettings {
            slots: None,
            max_agents: 3,
            max_tasks: 2,
            max_log_bytes: 1024,
            close_grace_secs: 5,
            limits: Limits {
                turn: minute,
                silence: minute,
                answer: minute,
                cancel: minute,
                opening: minute,
            },
        },
        events: Retention { max_age: Duration::ZERO, max_bytes: 0 },
    }
}

fn bench() -> Bench {
    let store = Arc::new(Store::default());
    let (sender, opened) = mpsc::channel(64);
    let (supervisor, revived) = Supervisor::revive(Parts {
        slots: None,
        store: Arc::clone(&store) as _,
        sessions: Arc::new(Doubles(sender)),
        settings: watch::Sender::new(Arc::new(settings())).subscribe(),
        metrics: Arc::default(),
        clock: Arc::new(StillClock(AtomicI64::new(1000))),
    })
    .unwrap();
    let snapshot = revived.snapshot();
    tokio::spawn(revived.work(CancellationToken::new()));
    Bench { store, supervisor, snapshot, opened }
}

impl Bench {
    async fn create(&mut self, name: &str) -> Result<Opened, FleetError> {
        let wish = Wish::Create {
            name: name.parse().unwrap(),
            project: "scratch".to_owned(),
            role: "demo".to_owned(),
            task: "dig".to_owned(),
        };
        self.supervisor.ask(wish, Projects::All).await?;
        Ok(self.opened.recv().await.unwrap())
    }

    async fn until(&mut self, name: &str, holds: impl Fn(&Member) -> bool) -> Arc<Member> {
        let name: AgentName = name.parse().unwrap();
        let found = |snapshot: &Arc<Snapshot>| snapshot.agents.get(&name).is_some_and(|m| holds(m));
        let waited = tokio::time::timeout(Duration::from_secs(10), self.snapshot.wait_for(found));
        Arc::clone(&waited.await.unwrap().unwrap().agents[&name])
    }

    fn logged(&self) -> Vec<Entry> {
        let commits = self.store.commits.lock().unwrap();
        let entry = |change: &Change| match change {
            Change::Append { entry, .. } => Some(entry.clone()),
            _ => None,
        };
        commits.iter().flatten().filter_map(entry).collect()
    }
}

#[tokio::test]
async fn a_task_is_opened_prompted_logged_and_done() {
    let mut bench = bench();
    let mut session = bench.create("sony").await.unwrap();
    assert_eq!((session.spec.resume.as_deref(), session.spec.project.as_str()), (None, "scratch"));

    session.tell(News::Opened { session: Some("s1".to_owned()) }).await;
    let Order::Prompt { text } = session.told().await else { panic!("no prompt") };
    let said = Entry { kind: EntryKind::Message, content: "digging".to_owned(), joins: true };
    session.tell_and_wait(News::Said(said.clone())).await;
    session.tell(News::TurnEnded(Outcome::Done)).await;
    let member = bench.until("sony", |member| member.agent.status == Status::Idle).await;

    assert_eq!(text, "Be brief.\n\ndig");
    assert_eq!(member.task.as_ref().unwrap().status, TaskStatus::Done);
    assert!(bench.logged().contains(&said));
    assert_eq!(bench.logged()[0].content, "dig");
}

#[tokio::test]
async fn of_two_who_start_at_once_one_gets_the_agent() {
    let mut bench = bench();
    let session = bench.create("sony").await.unwrap();
    session.tell(News::Opened { session: None }).await;
    session.tell(News::TurnEnded(Outcome::Done)).await;
    bench.until("sony", |member| member.agent.status == Status::Idle).await;
    let start = || Wish::Start { name: "sony".parse().unwrap(), task: "dig".to_owned() };

    let (first, second) = tokio::join!(
        bench.supervisor.ask(start(), Projects::All),
        bench.supervisor.ask(start(), Projects::All)
    );

    assert!(first.is_ok());
    assert_eq!(second.unwrap_err().code, Code::Conflict);
}

#[tokio::test]
async fn what_the_store_refuses_has_not_happened_and_is_told_again_once_it_does_not() {
    let mut bench = bench();
    let mut session = bench.create("sony").await.unwrap();
    session.tell(News::Opened { session: None }).await;
    session.told().await;
    bench.store.refuses.store(true, SeqCst);

    let refused = bench.create("papi").await.map(|_| ()).unwrap_err();
    let delete = bench
        .supervisor
        .ask(Wish::Delete("sony".parse().unwrap()), Projects::All)
        .await
        .unwrap_err();
    session.tell(News::TurnEnded(Outcome::Done)).await;
    // It is no reason to be restarted.
    let answered = tokio::time::timeout(Duration::from_secs(10), bench.supervisor.ping()).await;
    bench.store.refuses.store(false, SeqCst);
    let member = bench.until("sony", |member| member.agent.status == Status::Idle).await;

    assert!(answered.is_ok(), "the supervisor does not answer");
    assert_eq!((refused.code, delete.code), (Code::Unavailable, Code::Unavailable));
    assert_eq!(member.task.as_ref().unwrap().status, TaskStatus::Done);
    assert!(bench.snapshot.borrow().agents.len() == 1 && bench.opened.try_recv().is_err());
}

#[tokio::test]
async fn limits_of_agents_and_tasks_are_told_with_their_number() {
    let mut bench = bench();
    let first = bench.create("a").await.unwrap();
    bench.create("b").await.unwrap();

    let tasks = bench.create("c").await.map(|_| ()).unwrap_err();
    first.tell(News::Opened { session: None }).await;
    first.tell(News::TurnEnded(Outcome::Done)).await;
    bench.until("a", |member| member.agent.status == Status::Idle).await;
    let third = bench.create("c").await.unwrap();
    third.tell(News::Ended(Cause::NotOpened("no git".to_owned()))).await;
    bench.until("c", |member| member.agent.status == Status::Failed).await;
    let agents = bench.create("d").await.map(|_| ()).unwrap_err();

    assert!(tasks.message.contains("2 tasks are running"), "{}", tasks.message);
    assert!(agents.message.contains("3 agents"), "{}", agents.message);
    let taken = bench.create("a").await.map(|_| ()).unwrap_err();
    assert_eq!(taken.code, Code::Conflict);
}

#[tokio::test]
async fn a_deleted_agent_is_gone_once_its_session_has_ended() {
    let mut bench = bench();
    let mut session = bench.create("sony").await.unwrap();

    bench.supervisor.ask(Wish::Delete("sony".parse().unwrap()), Projects::All).await.unwrap();
    let Order::Close { remove_workspace: true, .. } = session.told().await else {
        panic!("not closed")
    };
    assert_eq!(bench.snapshot.borrow().agents.len(), 1);
    session.tell(News::Ended(Cause::Closed)).await;
    let gone = bench.snapshot.wait_for(|snapshot| snapshot.agents.is_empty());

    assert!(tokio::time::timeout(Duration::from_secs(10), gone).await.is_ok());
    let commits = bench.store.commits.lock().unwrap();
    assert!(commits.iter().flatten().any(|c| *c == Change::RemoveAgent(session.spec.agent)));
}

#[tokio::test]
async fn a_log_is_cut_before_it_outgrows_its_limit_by_much() {
    let mut bench = bench();
    let session = bench.create("sony").await.unwrap();

    for _ in 0..100 {
        let entry = Entry { kind: EntryKind::Message, content: "x".repeat(100), joins: false };
        session.tell_and_wait(News::Said(entry)).await;
    }

    let commits = bench.store.commits.lock().unwrap();
    let mut since_cut = 0;
    for change in commits.iter().flatten() {
        match change {
            Change::Append { entry, .. } => since_cut += entry.content.len(),
            Change::Trim { max_bytes, .. } => {
                assert_eq!(*max_bytes, 1024);
                since_cut = 0;
            }
            _ => {}
        }
        assert!(since_cut <= 1024 / 8 + 200, "{since_cut}");
    }
}

#[tokio::test]
async fn agent_outside_somebodys_projects_is_unknown_to_each_wish_and_named_to_nobody() {
    let mut bench = bench();
    bench.create("sony").await.unwrap();
    let elsewhere = Projects::Only(["website".into()].into());
    let name = || "sony".parse().unwrap();
    let start = Wish::Start { name: name(), task: "x".to_owned() };
    let answer = Wish::Answer { name: name(), question: None, choice: "yes".to_owned() };

    for wish in [
        start,
        answer,
        Wish::Cancel { name: name(), task: None },
        Wish::Restart(name()),
        Wish::Delete(name()),
    ] {
        let refused = bench.supervisor.ask(wish, elsewhere.clone()).await.unwrap_err();

        assert_eq!(refused.message, "agent `sony` not found; there are no agents yet");
        assert_eq!(refused.code, Code::NotFound);
    }
    let scratch = Projects::Only(["Scratch".into()].into());
    bench.supervisor.ask(Wish::Cancel { name: name(), task: None }, scratch).await.unwrap();
}

fn publication() -> Publication {
    let (repository, branch) = ("/p/site.git".into(), "fleet/sony".to_owned());
    Publication { repository, branch, commit: "c0ffee".to_owned() }
}

#[tokio::test]
async fn whoever_wants_work_published_hears_where_it_is_once_that_is_durable() {
    let mut bench = bench();
    let mut session = bench.create("sony").await.unwrap();
    session.tell(News::Opened { session: None }).await;
    session.told().await;
    bench.until("sony", |member| member.agent.status == Status::Busy).await;

    let wish = Wish::Publish("sony".parse().unwrap());
    let (_, end) = bench.supervisor.ask_and_hear(wish, Projects::All).await.unwrap();
    assert!(matches!(session.told().await, Order::Publish { uncommitted: false }));
    bench.store.refuses.store(true, SeqCst);
    session.tell(News::Published(publication())).await;
    bench.store.refuses.store(false, SeqCst);

    let work = tokio::time::timeout(Duration::from_secs(10), end).await.unwrap().unwrap();
    assert_eq!(work.branch, Branch::Published(publication()));
    let said = "the work is published: git fetch /p/site.git fleet/sony";
    assert_eq!(bench.logged().last().unwrap().content, said);
}

#[tokio::test]
async fn a_session_that_ends_leaves_nobody_waiting_for_its_work() {
    let mut bench = bench();
    let session = bench.create("sony").await.unwrap();
    session.tell(News::Opened { session: None }).await;
    bench.until("sony", |member| member.agent.status == Status::Busy).await;
    let wish = Wish::Publish("sony".parse().unwrap());
    let (_, end) = bench.supervisor.ask_and_hear(wish, Projects::All).await.unwrap();

    session.tell(News::Ended(Cause::Exited(3))).await;

    let Branch::Failed(why) = end.await.unwrap().branch else { panic!() };
    assert_eq!(why, "the agent's program ended with exit status 3");
    let wish = || Wish::Publish("sony".parse().unwrap());
    let (_, end) = bench.supervisor.ask_and_hear(wish(), Projects::All).await.unwrap();
    assert_eq!(end.await.unwrap().branch, Branch::Nothing("there is none".to_owned()));
}

#[tokio::test]
async fn whoever_deletes_an_agent_hears_what_is_left_of_it() {
    let mut bench = bench();
    let session = bench.create("sony").await.unwrap();
    let wish = Wish::Delete("sony".parse().unwrap());
    let (_, end) = bench.supervisor.ask_and_hear(wish, Projects::All).await.unwrap();

    session.tell(News::NotPublished("the disk is full".to_owned())).await;
    let (workspace, why) = ("/w/sony".into(), "its branch could not be published".to_owned());
    session.tell(News::Kept { workspace, why }).await;
    session.tell(News::Ended(Cause::Closed)).await;

    let words = "the work is not published: the disk is full; the workspace `/w/sony` is kept: its \
                 branch could not be published";
    assert_eq!(end.await.unwrap().words().as_deref(), Some(words));
}
