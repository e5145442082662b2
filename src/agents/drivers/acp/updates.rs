//! The conversation as entries.

use std::path::PathBuf;

use agent_client_protocol::v1::schema::{
    ContentChunk, Notice, Plan, PlanEntryStatus, SessionUpdate, ToolCallUpdate,
};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::{
    tools::{self, Tools, text},
    words::clip,
};
use crate::fleet::{Entry, EntryKind};

/// Steps of a plan that are kept.
const PLAN_STEPS: usize = 100;
/// Characters of a message's identity that count.
const MESSAGE_ID_CHARS: usize = 256;

/// Makes entries of what the program says.
#[derive(Debug)]
pub(super) struct Narrator {
    tools: Tools,
    /// The message that the newest text belongs to.
    message: Option<(EntryKind, Option<String>)>,
    /// What tells the newest plan from others.
    plan: Option<Digest>,
}

type Digest = [u8; 16];

/// It as it is stored.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Saved {
    tools: tools::Saved,
    message: Option<(String, Option<String>)>,
    plan: Option<Digest>,
}

impl Narrator {
    pub(super) fn new(cwd: PathBuf) -> Self {
        Self { tools: Tools::new(cwd), message: None, plan: None }
    }

    pub(super) fn save(&self) -> Saved {
        let message = self.message.as_ref();
        Saved {
            tools: self.tools.save(),
            message: message.map(|(kind, id)| (kind.as_str().to_owned(), id.clone())),
            plan: self.plan,
        }
    }

    pub(super) fn restore(cwd: PathBuf, saved: Saved) -> Self {
        let message = saved.message.and_then(|(kind, id)| Some((EntryKind::from_word(&kind)?, id)));
        Self { tools: Tools::restore(cwd, saved.tools), message, plan: saved.plan }
    }

    /// The entries of an update. What the fleet has no entry for makes none.
    pub(super) fn tell(&mut self, update: SessionUpdate) -> Vec<Entry> {
        match update {
            SessionUpdate::AgentMessageChunk(chunk) => self.chunk(EntryKind::Message, chunk),
            SessionUpdate::AgentThoughtChunk(chunk) => self.chunk(EntryKind::Thought, chunk),
            SessionUpdate::ToolCall(call) => self.tools.start(call),
            SessionUpdate::ToolCallUpdate(update) => self.tools.update(update),
            SessionUpdate::Plan(plan) => self.plan(&plan),
            SessionUpdate::Notice(notice) => self.notice(&notice),
            _ => Vec::new(),
        }
    }

    /// What the program wants to do, in words, and the entries that come before.
    pub(super) fn question(&mut self, call: ToolCallUpdate) -> (Vec<Entry>, String) {
        self.tools.question(call)
    }

    /// What is still to be told when a turn ends; `end` is what becomes of what it leaves unfinished,
    /// if it did not end well.
    pub(super) fn end_turn(&mut self, end: Option<&str>) -> Vec<Entry> {
        self.message = None;
        self.plan = None;
        self.tools.forget(end)
    }

    fn chunk(&mut self, kind: EntryKind, chunk: ContentChunk) -> Vec<Entry> {
        let mut entries = self.tools.tell_pending();
        let content = text(&chunk.content).filter(|text| !text.is_empty());
        let Some(content) = content else { return entries };
        let id = chunk.message_id.map(|id| id.0.chars().take(MESSAGE_ID_CHARS).collect());
        let message = (kind, id);
        // Two messages in a row are two entries, if the program tells them apart.
        let apart =
            self.message.as_ref().is_some_and(|newest| newest.0 == kind && newest.1 != message.1);
        self.message = Some(message);
        entries.push(Entry { kind, content, joins: !apart });
        entries
    }

    fn plan(&mut self, plan: &Plan) -> Vec<Entry> {
        let mut entries = self.tools.tell_pending();
        let mut lines: Vec<String> = plan
            .entries
            .iter()
            .take(PLAN_STEPS)
            .map(|step| {
                let mark = match step.status {
                    PlanEntryStatus::Completed => "[x]",
                    PlanEntryStatus::InProgress => "[>]",
                    _ => "[ ]",
                };
                format!("{mark} {}", clip(step.content.trim(), 500))
            })
            .collect();
        if plan.entries.len() > PLAN_STEPS {
            lines.push(format!("… ({} more)", plan.entries.len() - PLAN_STEPS));
        }
        let content = lines.join("\n");
        // Agents send the whole plan again and again.
        let digest = digest(&content);
        if content.is_empty() || self.plan == Some(digest) {
            return entries;
        }
        self.plan = Some(digest);
        entries.push(Entry { kind: EntryKind::Plan, content, joins: false });
        entries
    }

    fn notice(&mut self, notice: &Notice) -> Vec<Entry> {
        let mut entries = self.tools.tell_pending();
        let mut content = clip(notice.title.trim(), 500);
        if let Some(description) = notice.description.as_deref().filter(|text| !text.is_empty()) {
            content.push('\n');
            content.push_str(&clip(description, 2_000));
        }
        if !content.is_empty() {
            entries.push(Entry { kind: EntryKind::Message, content, joins: false });
        }
        entries
    }
}

fn digest(text: &str) -> Digest {
    let mut short = Digest::default();
    short.copy_from_slice(&Sha256::digest(text)[..16]);
    short
}
