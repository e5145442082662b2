//! The demo agent, driven by the daemon's own driver.

use std::sync::Arc;

use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    sync::mpsc,
    task::JoinHandle,
};

use super::*;
use crate::{
    agents::{
        drivers::acp::{self, NotOpened, Params},
        io::{AgentIo, Heard, Say, Stream, What},
    },
    app::{
        clock::SystemClock,
        ports::sessions::{News, Order, Outcome, Permissions},
    },
    fleet::EntryKind,
};

struct Session {
    orders: mpsc::Sender<Order>,
    news: mpsc::Receiver<News>,
    driver: JoinHandle<Result<(), NotOpened>>,
    agent: JoinHandle<Result<(), Error>>,
}

impl Session {
    /// Opens a session with a demo agent at home in `dir`, over pipes.
    fn open(dir: &Path, change: impl FnOnce(&mut Params)) -> Self {
        let mut params = Params {
            cwd: dir.to_owned(),
            resume: None,
            permissions: Permissions::Ask,
            mode: None,
            model: None,
            fleet: None,
            clock: Arc::new(SystemClock),
        };
        change(&mut params);
        let (ours, theirs) = tokio::io::duplex(1024);
        let (read, write) = tokio::io::split(theirs);
        let home = dir.to_owned();
        let agent = tokio::spawn(async move { serve(read, write, &home).await });
        let (read, mut write) = tokio::io::split(ours);
        let (out, lines) = mpsc::channel(4);
        let (steps, mut stepped) = mpsc::channel::<crate::agents::io::Step>(1);
        let (tell, news) = mpsc::channel(4);
        tokio::spawn(async move {
            let mut read = BufReader::new(read).lines();
            while let Ok(Some(text)) = read.next_line().await {
                let line = Heard { number: 1, what: What::Line(Stream::Out, text) };
                if out.send(line).await.is_err() {
                    break;
                }
            }
        });
        tokio::spawn(async move {
            while let Some(step) = stepped.recv().await {
                for say in step.says {
                    match say {
                        Say::Line(line) => {
                            let _ = write.write_all(format!("{line}\n").as_bytes()).await;
                        }
                        _ => drop(write.shutdown().await),
                    }
                }
                for news in step.news {
                    let _ = tell.send(news).await;
                }
            }
        });
        let (orders, ordered) = mpsc::channel(4);
        let io = AgentIo { heard: lines, steps };
        let driver = tokio::spawn(acp::drive(io, params, None, ordered));
        Self { orders, news, driver, agent }
    }

    async fn opened(&mut self) -> String {
        match self.next().await {
            News::Opened { session: Some(session) } => session,
            news => panic!("{news:?}"),
        }
    }

    async fn next(&mut self) -> News {
        self.news.recv().await.expect("news")
    }

    async fn prompt(&self, text: &str) {
        self.orders.send(Order::Prompt { text: text.to_owned() }).await.unwrap();
    }

    /// Everything up to the end of the turn; questions get this choice.
    async fn turn(&mut self, choice: &str) -> (Vec<News>, Outcome) {
        let mut all = Vec::new();
        loop {
            match self.next().await {
                News::TurnEnded(outcome) => return (all, outcome),
                News::Asked(question) => {
                    let (question_id, choice) = (question.id.clone(), choice.to_owned());
                    let answer = Order::Answer { question: question_id, choice };
                    self.orders.send(answer).await.unwrap();
                    all.push(News::Asked(question));
                }
                news => all.push(news),
            }
        }
    }

    /// Ends as a session is closed: the agent ends when its input does.
    async fn close(self) {
        drop(self.orders);
        assert_eq!(self.driver.await.unwrap(), Ok(()));
        self.agent.await.unwrap().unwrap();
    }
}

/// All text of a kind.
fn said(news: &[News], kind: EntryKind) -> String {
    let entries = news.iter().filter_map(|news| match news {
        News::Said(entry) if entry.kind == kind => Some(entry.content.as_str()),
        _ => None,
    });
    entries.collect()
}

#[tokio::test]
async fn a_task_is_planned_done_and_written_to_a_file() {
    let dir = tempfile::tempdir().unwrap();
    let mut session = Session::open(dir.path(), |_| {});
    session.opened().await;

    session.prompt("Say hello").await;
    let (news, outcome) = session.turn("no").await;

    assert_eq!(outcome, Outcome::Done);
    let message = said(&news, EntryKind::Message);
    assert!(message.starts_with("I am the demo agent. You said: Say hello"), "{message}");
    let tools = said(&news, EntryKind::ToolCall);
    assert!(tools.starts_with("edit: Write demo.txt"), "{tools}");
    assert!(tools.ends_with("edit: Write demo.txt — completed\nchanges demo.txt"), "{tools}");
    assert!(said(&news, EntryKind::Plan).ends_with("[x] Read the task\n[x] Write demo.txt"));
    assert!(news.iter().any(|news| matches!(news, News::Spent(usage)
        if usage.cost == Some(0.0) && usage.output_tokens.is_some())));
    let file = std::fs::read_to_string(dir.path().join("demo.txt")).unwrap();
    assert_eq!(file, "Say hello\n");
    session.close().await;
}

#[tokio::test]
async fn permission_is_asked_when_the_task_says_so() {
    for (choice, written, says) in [
        ("yes", true, "edit: Write demo.txt — completed"),
        ("no", false, "edit: Write demo.txt — failed"),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let mut session = Session::open(dir.path(), |_| {});
        session.opened().await;

        session.prompt("ask me first").await;
        let (news, outcome) = session.turn(choice).await;

        assert_eq!(outcome, Outcome::Done);
        let asked = news.iter().find_map(|news| match news {
            News::Asked(question) => Some(question.text.as_str()),
            _ => None,
        });
        assert_eq!(asked, Some("edit: Write demo.txt\ndemo.txt\n+ ask me first"));
        assert!(said(&news, EntryKind::ToolCall).contains(says));
        assert_eq!(dir.path().join("demo.txt").exists(), written);
        session.close().await;
    }
}

#[tokio::test]
async fn a_policy_answers_for_the_person() {
    for (permissions, written) in [(Permissions::Allow, true), (Permissions::Deny, false)] {
        let dir = tempfile::tempdir().unwrap();
        let mut session = Session::open(dir.path(), |params| params.permissions = permissions);
        session.opened().await;

        session.prompt("ask").await;
        let (news, _) = session.turn("").await;

        assert!(said(&news, EntryKind::Question).contains("as its role says"));
        assert_eq!(dir.path().join("demo.txt").exists(), written);
        session.close().await;
    }
}

#[tokio::test]
async fn a_slow_task_goes_on_until_it_is_canceled() {
    let dir = tempfile::tempdir().unwrap();
    let mut session = Session::open(dir.path(), |_| {});
    session.opened().await;

    session.prompt("slow").await;
    while !matches!(session.next().await, News::Said(entry) if entry.content.contains('…')) {}
    session.orders.send(Order::Cancel).await.unwrap();
    let (_, outcome) = session.turn("").await;

    assert_eq!(outcome, Outcome::Canceled);
    session.close().await;
}

#[tokio::test]
async fn cancel_ends_a_task_that_waits_for_permission() {
    let dir = tempfile::tempdir().unwrap();
    let mut session = Session::open(dir.path(), |_| {});
    session.opened().await;

    session.prompt("ask").await;
    while !matches!(session.next().await, News::Asked(_)) {}
    session.orders.send(Order::Cancel).await.unwrap();
    let (news, outcome) = session.turn("").await;

    assert!(matches!(news[0], News::Withdrawn { .. }));
    assert_eq!(outcome, Outcome::Canceled);
    session.close().await;
}

#[tokio::test]
async fn many_pieces_arrive_in_order_and_failures_in_words() {
    let dir = tempfile::tempdir().unwrap();
    let mut session = Session::open(dir.path(), |_| {});
    session.opened().await;

    session.prompt("stream 1000").await;
    let (news, _) = session.turn("").await;
    let expected: String = (0..1000).map(|piece| format!("{piece}\n")).collect();
    assert!(said(&news, EntryKind::Message).contains(&expected));

    session.prompt("fail").await;
    let (_, outcome) = session.turn("").await;
    let why = "Internal error: the task told the demo agent to fail";
    assert_eq!(outcome, Outcome::Failed(why.to_owned()));
    session.close().await;
}

#[tokio::test]
async fn a_session_outlives_its_process_and_is_not_told_twice() {
    let dir = tempfile::tempdir().unwrap();
    let mut first = Session::open(dir.path(), |_| {});
    let id = first.opened().await;
    first.prompt("one").await;
    first.turn("").await;
    first.close().await;

    let mut second = Session::open(dir.path(), |params| params.resume = Some(id.clone()));
    assert_eq!(second.opened().await, id);
    second.close().await;

    let gone = |params: &mut Params| params.resume = Some("../demo-1".to_owned());
    let mut third = Session::open(dir.path(), gone);
    assert!(matches!(third.next().await, News::Said(entry) if entry.kind == EntryKind::Notice));
    assert_ne!(third.opened().await, id);
    third.close().await;
}

#[tokio::test]
async fn it_has_modes_and_models() {
    let dir = tempfile::tempdir().unwrap();
    let mut session = Session::open(dir.path(), |params| {
        params.mode = Some("auto".to_owned());
        params.model = Some("Demo 2".to_owned());
    });
    session.opened().await;
    session.prompt("ask").await;
    let (news, _) = session.turn("").await;
    assert!(!news.iter().any(|news| matches!(news, News::Asked(_))));
    session.close().await;

    let unknown = Session::open(dir.path(), |params| params.model = Some("gpt".to_owned()));
    let NotOpened(why) = unknown.driver.await.unwrap().unwrap_err();
    assert_eq!(why, "the agent has no model `gpt`; it has: `demo-1`, `demo-2`");
}
