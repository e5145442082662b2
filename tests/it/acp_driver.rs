//! What the ACP driver makes of an agent program that misbehaves, over real pipes.

use std::{
    io::{BufRead, BufReader, Write as _},
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::Arc,
    thread,
    time::Duration,
};

use fleet_mcp::{
    agents::{
        drivers::acp::{self, NotOpened, Params},
        io::{AgentIo, Heard, Say, Step, Stream, What},
    },
    app::{
        clock::SystemClock,
        ports::sessions::{News, Order, Outcome, Permissions},
    },
    fleet::EntryKind,
};
use tokio::{sync::mpsc, task::JoinHandle};

use crate::support::example;

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(30);

/// The program.
pub(crate) fn program() -> PathBuf {
    example("misbehaving")
}

/// A session with the program, and the processes that it left.
struct Session {
    child: Child,
    orders: Option<mpsc::Sender<Order>>,
    news: mpsc::Receiver<News>,
    driver: JoinHandle<Result<(), NotOpened>>,
}

impl Session {
    fn start(mode: &[&str]) -> Self {
        let mut child = Command::new(program())
            .args(mode)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (out, lines) = mpsc::channel(16);
        read(child.stdout.take().unwrap(), Stream::Out, out.clone());
        read(child.stderr.take().unwrap(), Stream::Err, out);
        let (input, mut written) = mpsc::channel::<String>(16);
        let mut stdin = child.stdin.take().unwrap();
        thread::spawn(move || {
            while let Some(line) = written.blocking_recv() {
                if writeln!(stdin, "{line}").is_err() {
                    break;
                }
            }
        });
        let (steps, stepped) = mpsc::channel(1);
        let (tell, news) = mpsc::channel(4);
        tokio::spawn(carry_out(stepped, input, tell));
        let params = Params {
            cwd: PathBuf::from("/"),
            resume: None,
            permissions: Permissions::Ask,
            mode: None,
            model: None,
            fleet: None,
            clock: Arc::new(SystemClock),
        };
        let (orders, ordered) = mpsc::channel(4);
        let io = AgentIo { heard: lines, steps };
        let driver = tokio::spawn(acp::drive(io, params, None, ordered));
        Self { child, orders: Some(orders), news, driver }
    }

    /// In the middle of a turn.
    async fn working(mode: &[&str]) -> Self {
        let mut session = Self::start(mode);
        assert!(matches!(session.next().await, Some(News::Opened { .. })));
        session.order(Order::Prompt { text: "work".to_owned() }).await;
        session.until(|news| text(news).contains("working")).await;
        session
    }

    async fn order(&self, order: Order) {
        self.orders.as_ref().unwrap().send(order).await.unwrap();
    }

    async fn next(&mut self) -> Option<News> {
        tokio::time::timeout(PATIENCE, self.news.recv()).await.unwrap()
    }

    /// What is told up to this.
    async fn until(&mut self, is_it: impl Fn(&News) -> bool) -> Vec<News> {
        let mut all = Vec::new();
        while let Some(news) = self.next().await {
            let found = is_it(&news);
            all.push(news);
            if found {
                return all;
            }
        }
        panic!("the session ended after {all:?}");
    }

    async fn outcome(&mut self) -> (Vec<News>, Outcome) {
        let mut all = self.until(|news| matches!(news, News::TurnEnded(_))).await;
        match all.pop() {
            Some(News::TurnEnded(outcome)) => (all, outcome),
            news => panic!("{news:?}"),
        }
    }

    /// What is told until nothing more is: no turn ends any more.
    async fn rest(&mut self) -> Vec<News> {
        let mut all = Vec::new();
        while let Some(news) = self.next().await {
            assert!(!matches!(news, News::TurnEnded(_)), "{news:?}");
            all.push(news);
        }
        all
    }

    /// Ends a program that doesn't end by itself; the driver ends with it.
    async fn kill(mut self) {
        self.child.kill().unwrap();
        self.rest().await;
        self.ended().await;
    }

    /// Ends as sessions do: with the program's input.
    async fn close(mut self) {
        self.orders = None;
        self.rest().await;
        self.ended().await;
    }

    async fn ended(mut self) -> Option<i32> {
        assert_eq!(self.driver.await.unwrap(), Ok(()));
        self.child.wait().unwrap().code()
    }
}

/// Does with steps what a link would, with a program that may no longer read.
async fn carry_out(
    mut steps: mpsc::Receiver<Step>,
    input: mpsc::Sender<String>,
    tell: mpsc::Sender<News>,
) {
    let mut input = Some(input);
    while let Some(step) = steps.recv().await {
        for say in step.says {
            match (say, &input) {
                (Say::Line(line), Some(input)) => drop(input.send(line).await),
                _ => input = None,
            }
        }
        for news in step.news {
            let _ = tell.send(news).await;
        }
    }
}

/// Lines as the host would make them.
fn read(stream: impl std::io::Read + Send + 'static, name: Stream, out: mpsc::Sender<Heard>) {
    thread::spawn(move || {
        let mut stream = BufReader::new(stream);
        let mut bytes = Vec::new();
        while matches!(stream.read_until(b'\n', &mut bytes), Ok(1..)) {
            let text = String::from_utf8_lossy(bytes.trim_ascii_end()).into_owned();
            if out.blocking_send(Heard { number: 1, what: What::Line(name, text) }).is_err() {
                break;
            }
            bytes.clear();
        }
    });
}

fn text(news: &News) -> &str {
    match news {
        News::Said(entry) => &entry.content,
        _ => "",
    }
}

fn said(news: &[News], kind: EntryKind) -> String {
    let entries = news.iter().filter_map(|news| match news {
        News::Said(entry) if entry.kind == kind => Some(entry.content.as_str()),
        _ => None,
    });
    entries.collect()
}

#[tokio::test]
async fn a_program_that_behaves_is_done_and_ends_with_its_input() {
    let mut session = Session::working(&["ok"]).await;

    let (_, outcome) = session.outcome().await;

    assert_eq!(outcome, Outcome::Done);
    session.close().await;
}

#[tokio::test]
async fn slow_and_silent_turns_end_when_canceled() {
    for mode in ["slow", "hang"] {
        let mut session = Session::working(&[mode]).await;

        session.order(Order::Cancel).await;
        let (_, outcome) = session.outcome().await;

        assert_eq!(outcome, Outcome::Canceled, "{mode}");
        session.close().await;
    }
}

#[tokio::test]
async fn permission_is_a_question_and_its_answer_reaches_the_program() {
    let mut session = Session::working(&["permission"]).await;
    let asked = session.until(|news| matches!(news, News::Asked(_))).await;
    let Some(News::Asked(question)) = asked.last() else { panic!("{asked:?}") };
    assert_eq!(question.text, "execute: rm -rf /");

    let choice = "no".to_owned();
    session.order(Order::Answer { question: question.id.clone(), choice }).await;
    let (news, outcome) = session.outcome().await;

    assert_eq!(said(&news, EntryKind::Message), "chosen: no\n");
    assert_eq!(outcome, Outcome::Done);
    session.order(Order::Prompt { text: "again".to_owned() }).await;
    session.until(|news| matches!(news, News::Asked(_))).await;
    session.order(Order::Cancel).await;
    let (news, outcome) = session.outcome().await;
    assert!(news.iter().any(|news| matches!(news, News::Withdrawn { .. })));
    assert_eq!(said(&news, EntryKind::Message), "chosen: cancelled\n");
    assert_eq!(outcome, Outcome::Canceled);
    session.close().await;
}

#[tokio::test]
async fn a_crash_leaves_the_turn_to_the_host() {
    let mut session = Session::working(&["crash"]).await;

    session.rest().await;

    assert_eq!(session.ended().await, Some(3));
}

#[tokio::test]
async fn a_program_that_ignores_cancel_or_the_end_of_its_input_is_heard_until_it_is_killed() {
    let mut session = Session::working(&["ignore-cancel"]).await;
    session.order(Order::Cancel).await;
    session.until(|news| text(news).contains("going on")).await;
    session.kill().await;

    let mut session = Session::working(&["ignore-eof"]).await;
    session.outcome().await;
    session.orders = None;
    session.until(|news| text(news) == "end of input ignored\n").await;
    session.kill().await;
}

#[tokio::test]
async fn a_flood_arrives_whole_and_in_order() {
    let mut session = Session::working(&["flood", "5000"]).await;

    let (news, outcome) = session.outcome().await;

    let expected: String = (0..5000).map(|piece| format!("{piece}\n")).collect();
    assert!(said(&news, EntryKind::Message).contains(&expected));
    assert_eq!(outcome, Outcome::Done);
    session.close().await;
}

#[tokio::test]
async fn garbage_is_kept_as_diagnostics_and_the_turn_goes_on() {
    let mut session = Session::start(&["garbage-line"]);
    assert!(matches!(session.next().await, Some(News::Opened { .. })));
    session.order(Order::Prompt { text: "work".to_owned() }).await;

    let (mut news, outcome) = session.outcome().await;
    session.orders = None;
    // Standard error has an order of its own.
    news.extend(session.rest().await);

    assert_eq!(outcome, Outcome::Done);
    let diagnostics = said(&news, EntryKind::Diagnostic);
    for part in [
        "outside the protocol: Debugger attached.\n",
        "outside the protocol: {\"jsonrpc\":\"2.0\",\n",
        "outside the protocol: []\n",
        "outside the protocol: \u{FFFD}\u{FFFD}\0\n",
        "outside the protocol: error: Method not found\n",
        "outside the protocol: an answer to request 4711\n",
        // The two streams of a program may interleave anywhere between lines.
        "Trace: something\n",
        "    at somewhere\n",
    ] {
        assert!(diagnostics.contains(part), "{part}: {diagnostics}");
    }
    session.ended().await;
}

#[tokio::test]
async fn an_orphan_does_not_keep_the_turn() {
    let mut session = Session::working(&["orphan"]).await;

    let (news, outcome) = session.outcome().await;

    assert_eq!(outcome, Outcome::Done);
    let message = said(&news, EntryKind::Message);
    let orphan = message.trim().strip_prefix("orphan ").unwrap();
    assert!(Command::new("kill").arg(orphan).status().unwrap().success());
    session.close().await;
}

#[tokio::test]
async fn a_usage_limit_is_told_in_words() {
    let mut session = Session::working(&["quota-error"]).await;

    let (_, outcome) = session.outcome().await;

    assert_eq!(outcome, Outcome::Failed("usage limit reached: Usage limit reached".to_owned()));
    session.close().await;
}

#[tokio::test]
async fn a_program_that_never_answers_can_be_closed() {
    let mut session = Session::start(&["silent-start"]);

    session.orders = None;

    assert!(session.rest().await.is_empty());
    assert_eq!(session.ended().await, Some(0));
}

#[tokio::test]
async fn a_big_line_arrives_whole() {
    let mut session = Session::working(&["big-line", "4000000"]).await;

    let (news, outcome) = session.outcome().await;

    assert_eq!(said(&news, EntryKind::Message).len(), 4_000_000);
    assert_eq!(outcome, Outcome::Done);
    session.close().await;
}
