//! A hostile agent's lines, and orders between them: no turn ends twice or without having begun, questions
//! open and close in pairs, each line to the agent is one line of JSON, and a receipt is fired only after
//! everything that came of its line.

#![no_main]

use std::{collections::BTreeMap, path::PathBuf, sync::Arc};

use fleet_mcp::{
    agents::{
        drivers::acp::{self, Params},
        io::{AgentIo, AgentLine, Stream},
    },
    app::{
        clock::Clock,
        ports::sessions::{News, Order, Permissions, Report},
    },
    fleet::AgentId,
};
use fleet_mcp_fuzz::byte;
use jiff::Timestamp;
use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use tokio::sync::{mpsc, oneshot};

struct Noon;

impl Clock for Noon {
    fn now(&self) -> Timestamp {
        Timestamp::UNIX_EPOCH
    }
}

/// The fleet's end and the agent's end.
struct World {
    lines: mpsc::Sender<AgentLine>,
    input: mpsc::Receiver<String>,
    orders: mpsc::Sender<Order>,
    reports: mpsc::Receiver<Report>,
    receipts: Vec<oneshot::Receiver<()>>,
    turns: u32,
    ends: u32,
    last_request: Value,
    /// Questions, and what each can be answered with.
    open: BTreeMap<String, Vec<String>>,
}

impl World {
    async fn says(&mut self, stream: Stream, text: String) {
        let (receipt, committed) = oneshot::channel();
        self.receipts.push(committed);
        let _ = self.lines.send(AgentLine { stream, text, receipt }).await;
        self.settle().await;
    }

    async fn orders(&mut self, order: Order) {
        let _ = self.orders.send(order).await;
        self.settle().await;
    }

    /// Lets the driver work until it has nothing more to do, and takes all that it tells.
    async fn settle(&mut self) {
        let mut quiet = 0;
        while quiet < 6 {
            tokio::task::yield_now().await;
            quiet += 1;
            while let Ok(line) = self.input.try_recv() {
                quiet = 0;
                assert!(!line.contains('\n'));
                let json: Value = serde_json::from_str(&line).expect("JSON");
                if json["method"] == "session/prompt" {
                    self.turns += 1;
                }
                if json["method"].is_string() && !json["id"].is_null() {
                    self.last_request = json["id"].clone();
                }
            }
            while let Ok(report) = self.reports.try_recv() {
                quiet = 0;
                self.told(report);
            }
        }
    }

    fn told(&mut self, report: Report) {
        match report.news {
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
            News::Ended(_) => panic!("that is for the host to tell"),
            _ => {}
        }
        if let Some(receipt) = report.receipt {
            // It is the receipt of a line that is not told as dealt with before.
            let _ = receipt.send(());
        }
    }
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
    let (lines, heard) = mpsc::channel(64);
    let (input, written) = mpsc::channel(512);
    let (orders, ordered) = mpsc::channel(8);
    let (told, reports) = mpsc::channel(64);
    let params = Params {
        agent: AgentId(7),
        cwd: PathBuf::from("/ws"),
        resume: None,
        permissions,
        mode: None,
        model: None,
        fleet: None,
        clock: Arc::new(Noon),
    };
    let driver = tokio::spawn(acp::drive(AgentIo { lines: heard, input }, params, ordered, told));
    let mut world = World {
        lines,
        input: written,
        orders,
        reports,
        receipts: Vec::new(),
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
    let World { lines, orders, mut reports, mut receipts, input, .. } = world;
    drop((lines, orders, input));
    while let Some(report) = reports.recv().await {
        if let Some(receipt) = report.receipt {
            let _ = receipt.send(());
        }
    }
    let _ = driver.await.expect("it ends by itself");
    for receipt in &mut receipts {
        let waits = matches!(receipt.try_recv(), Err(oneshot::error::TryRecvError::Empty));
        assert!(!waits, "a host would keep this line for ever");
    }
}
