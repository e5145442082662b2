//! Scripted programs: what they write, and what comes of it.

mod beside;
mod conversation;
mod hostile;
mod lines;
mod opening;
mod permissions;
mod saved;

use std::path::PathBuf;

use jiff::Timestamp;
use proptest::prelude::*;
use serde_json::{Value, json};
use tokio::{sync::mpsc, task::JoinHandle};

use super::{conversation::Conversation, *};
use crate::{
    agents::io::{Step, Stream},
    app::ports::sessions::{News, Outcome},
    fleet::{Entry, EntryKind, Question, task::ChoiceKind},
};

struct Noon;

impl Clock for Noon {
    fn now(&self) -> Timestamp {
        Timestamp::UNIX_EPOCH
    }
}

fn params() -> Params {
    Params {
        cwd: PathBuf::from("/ws"),
        resume: None,
        permissions: Permissions::Ask,
        mode: None,
        model: None,
        fleet: None,
        clock: Arc::new(Noon),
    }
}

/// A program without a process.
struct Script {
    talk: Conversation,
}

impl Script {
    fn start(params: Params) -> Self {
        Self { talk: Conversation::open(params, Timestamp::UNIX_EPOCH) }
    }

    /// A session that takes prompts.
    fn opened(params: Params) -> Self {
        let mut script = Self::start(params);
        script.answers(json!({"protocolVersion": 1, "agentCapabilities": {"loadSession": true}}));
        let news = script.answers(json!({"sessionId": "s"}));
        assert!(matches!(&news[..], [News::Opened { session: Some(_) }]), "{news:?}");
        script
    }

    /// A session in the middle of a turn.
    fn working(permissions: Permissions) -> Self {
        let mut script = Self::opened(Params { permissions, ..params() });
        script.obeys(Order::Prompt { text: "work".to_owned() });
        script
    }

    fn hears(&mut self, line: &str) -> Vec<News> {
        self.talk.hear(Stream::Out, line, Timestamp::UNIX_EPOCH)
    }

    fn says(&mut self, message: Value) -> Vec<News> {
        self.hears(&message.to_string())
    }

    fn obeys(&mut self, order: Order) -> Vec<News> {
        self.talk.obey(order)
    }

    /// Answers the newest request.
    fn answers(&mut self, result: Value) -> Vec<News> {
        let id = self.last_request()["id"].clone();
        self.says(json!({"jsonrpc": "2.0", "id": id, "result": result}))
    }

    fn refuses(&mut self, code: i32, message: &str, data: Value) -> Vec<News> {
        let id = self.last_request()["id"].clone();
        let error = json!({"code": code, "message": message, "data": data});
        self.says(json!({"jsonrpc": "2.0", "id": id, "error": error}))
    }

    fn last_request(&mut self) -> Value {
        let written = self.written();
        written.into_iter().rfind(|line| line["method"].is_string()).expect("a request")
    }

    fn update(&mut self, update: Value) -> Vec<News> {
        let params = json!({"sessionId": "s", "update": update});
        self.says(json!({"jsonrpc": "2.0", "method": "session/update", "params": params}))
    }

    fn asks(&mut self, id: Value, options: &[&str]) -> Vec<News> {
        let options: Vec<Value> = options
            .iter()
            .map(|kind| json!({"optionId": format!("{kind}!"), "name": kind, "kind": kind}))
            .collect();
        let call = json!({"toolCallId": "t", "title": "rm -r target", "kind": "execute",
            "rawInput": {"command": "rm -r target"}});
        let params = json!({"sessionId": "s", "toolCall": call, "options": options});
        self.says(json!({"jsonrpc": "2.0", "id": id, "method": "session/request_permission",
            "params": params}))
    }

    fn written(&mut self) -> Vec<Value> {
        self.talk.unwritten.drain(..).map(|line| serde_json::from_str(&line).unwrap()).collect()
    }

    /// The one line that was written.
    fn wrote(&mut self) -> Value {
        let written = self.written();
        assert_eq!(written.len(), 1, "{written:?}");
        written[0].clone()
    }
}

fn said(news: &[News]) -> Vec<(EntryKind, &str)> {
    let entries = news.iter().filter_map(|news| match news {
        News::Said(entry) => Some((entry.kind, entry.content.as_str())),
        _ => None,
    });
    entries.collect()
}

fn question(news: &[News]) -> &Question {
    let asked = news.iter().find_map(|news| match news {
        News::Asked(question) => Some(question),
        _ => None,
    });
    asked.expect("a question")
}

fn outcome(news: &[News]) -> &Outcome {
    let ended = news.iter().find_map(|news| match news {
        News::TurnEnded(outcome) => Some(outcome),
        _ => None,
    });
    ended.expect("an end")
}

fn chunk(kind: &str, text: &str) -> Value {
    json!({"sessionUpdate": kind, "content": {"type": "text", "text": text}})
}
