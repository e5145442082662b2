//! A hostile agent's lines, orders between them, and daemons that take over in the middle: no turn ends twice
//! or without having begun, questions open and close in pairs, each line to the agent is one line of JSON, and
//! every line that was heard is told as heard.

#![no_main]

use std::{collections::BTreeMap, path::PathBuf, sync::Arc};

use fleet_mcp::{
    agents::{
        drivers::acp::{self, Params},
        io::{AgentIo, Heard, Resumed, Say, Step, Stream, What},
    },
    app::{
        clock::Clock,
        ports::sessions::{News, Order, Permissions},
    },
};
use fleet_mcp_fuzz::byte;
use jiff::Timestamp;
use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use tokio::{sync::mpsc, task::JoinHandle};

struct Noon;

impl Clock for Noon {
    fn now(&self) -> Timestamp {
        Timestamp::UNIX_EPOCH
    }
}

type Driver = JoinHandle<Result<(), acp::NotOpened>>;

/// The fleet's end and the agent's end.
struct World {
    driver: Driver,
    heard: mpsc::Sender<Heard>,
    steps: mpsc::Receiver<Step>,
    orders: mpsc::Sender<Order>,
    permissions: Permissions,
    /// The number of the newest line.
    said: u64,
    /// Of the newest step.
    last: Resumed,
    resumable: bool,
    turns: u32,
    ends: u32,
    last_request: Value,
    /// Questions, and what each can be answered with.
    open: BTreeMap<String, Vec<String>>,
}

impl World {
    async fn says(&mut self, stream: Stream, text: String) {
        self.said += 1;
        let _ = self.heard.send(Heard { number: self.said, what: What::Line(stream, text) }).await;
        self.settle().await;
    }

    async fn orders(&mut self, order: Order) {
        let _ = self.orders.send(order).await;
        self.settle().await;
    }

    /// Another daemon goes on where this one was, if it can.
    async fn take_over(&mut self) {
        if self.resumable {
            self.driver.abort();
            let from = Some(self.last.clone());
            (self.driver, self.heard, self.steps, self.orders) = start(self.permissions, from);
            self.settle().await;
        }
    }

    /// Lets the driver work until it has nothing more to do, and takes all that it tells.
    async fn settle(&mut self) {
        let mut quiet = 0;
        while quiet < 6 {
            tokio::task::yield_now().await;
            quiet += 1;
            while let Ok(step) = self.steps.try_recv() {
                quiet = 0;
                self.step(step);
            }
        }
    }

    fn step(&mut self, step: Step) {
        assert!(self.last.heard <= step.heard && step.heard <= self.said);
        assert!(self.last.obeyed <= step.obeyed);
        self.resumable = step.state.is_some();
        let state = step.state.unwrap_or_default();
        self.last = Resumed { obeyed: step.obeyed, heard: step.heard, state };
        for say in step.says {
            let Say::Line(line) = say else { continue };
            assert!(!line.contains('\n'));
            let json: Value = serde_json::from_str(&line).expect("JSON");
            if json["method"] == "session/prompt" {
                self.turns += 1;
            }
            if json["method"].is_string() && !json["id"].is_null() {
                self.last_request = json["id"].clone();
            }
        }
        step.news.into_iter().for_each(|news| self.told(news));
    }

    fn told(&mut self, news: News) {
        match news {
            News::TurnEnded(_) => {
                self.ends += 1;
                assert!(self.ends <= self.turns);
                assert!(self.open.is_empty(), "a question outlives its turn");
            }
            News::Said(entry) => assert!(!entry.content.is_empty()),
            News::Asked(question) => {
                assert!(!question.choices.is_empty());
                assert!(self.ends < self.turns, "a question without a turn");
                let choices = question.choices.into_iter().map(|choice| choice.id).collect();
                assert!(self.open.insert(question.id, choices).is_none());
            }
            News::Withdrawn { question } => assert!(self.open.remove(&question).is_some()),
            News::Ended(_) => panic!("that is for the session to tell"),
            _ => {}
        }
    }
}

type Ends = (Driver, mpsc::Sender<Heard>, mpsc::Receiver<Step>, mpsc::Sender<Order>);

fn start(permissions: Permissions, from: Option<Resumed>) -> Ends {
    let (heard, hears) = mpsc::channel(64);
    let (tells, steps) = mpsc::channel(64);
    let (orders, ordered) = mpsc::channel(8);
    let params = Params {
        cwd: PathBuf::from("/ws"),
        resume: None,
        permissions,
        mode: None,
        model: None,
        fleet: None,
        clock: Arc::new(Noon),
    };
    let io = AgentIo { heard: hears, steps: tells };
    (tokio::spawn(acp::drive(io, params, from, ordered)), heard, steps, orders)
}

fuzz_target!(|data: &[u8]| {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
    runtime.expect("a runtime").block_on(play(data));
});

async fn play(data: &[u8]) {
    let mut data = data;
    let permissions = match byte(&mut data) % 4 {
        0 => Permissions::Deny,
        1 => Permissions::Allow,
        _ => Permissions::Ask,
    };
    let opened = byte(&mut data) % 4 != 0;
    let (driver, heard, steps, orders) = start(permissions, None);
    let mut world = World {
        driver,
        heard,
        steps,
        orders,
        permissions,
        said: 0,
        last: Resumed { obeyed: 0, heard: 0, state: String::new() },
        resumable: false,
        turns: 0,
        ends: 0,
        last_request: Value::Null,
        open: BTreeMap::new(),
    };
    world.settle().await;
    if opened {
        world.says(Stream::Out, r#"{"id":1,"result":{"protocolVersion":1}}"#.to_owned()).await;
        world.says(Stream::Out, r#"{"id":2,"result":{"sessionId":"s"}}"#.to_owned()).await;
        world.orders(Order::Prompt { text: "work".to_owned() }).await;
        assert_eq!(world.turns, 1);
    }
    for line in data.split(|byte| *byte == b'\n').take(64) {
        match line {
            b"P" => world.orders(Order::Prompt { text: "work".to_owned() }).await,
            b"C" => world.orders(Order::Cancel).await,
            b"T" => world.take_over().await,
            [b'A', rest @ ..] => {
                let Some((question, choices)) = world.open.pop_first() else { continue };
                let choice = String::from_utf8_lossy(rest).into_owned();
                // What is no choice answers nothing.
                if !choices.contains(&choice) {
                    world.open.insert(question.clone(), choices);
                }
                world.orders(Order::Answer { question, choice }).await;
            }
            // The answer to whatever was asked last, so that sessions get somewhere.
            [b'R', rest @ ..] => {
                let (id, result) = (&world.last_request, String::from_utf8_lossy(rest));
                let line = format!(r#"{{"id":{id},"result":{result}}}"#);
                world.says(Stream::Out, line).await;
            }
            [b'E', rest @ ..] => {
                let text = String::from_utf8_lossy(rest).into_owned();
                world.says(Stream::Err, text).await;
            }
            line => world.says(Stream::Out, String::from_utf8_lossy(line).into_owned()).await,
        }
    }
    assert!(world.turns - world.ends <= 1);
    let World { driver, heard, mut steps, orders, said, mut last, .. } = world;
    drop((heard, orders));
    while let Some(step) = steps.recv().await {
        last.heard = last.heard.max(step.heard);
    }
    if driver.await.expect("it ends by itself").is_ok() {
        assert_eq!(last.heard, said, "a host would keep a line for ever");
    }
}
