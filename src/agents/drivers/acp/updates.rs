//! The conversation as entries.

use std::path::PathBuf;

use agent_client_protocol::v1::schema::{
    ContentChunk, MessageId, Notice, Plan, PlanEntryStatus, SessionUpdate, ToolCallUpdate,
};

use super::{
    tools::{Tools, text},
    words::clip,
};
use crate::fleet::{Entry, EntryKind};

/// Steps of a plan that are kept.
const PLAN_STEPS: usize = 100;

/// Makes entries of what the program says.
#[derive(Debug)]
pub(super) struct Narrator {
    tools: Tools,
    /// The message that the newest text belongs to.
    message: Option<(EntryKind, Option<MessageId>)>,
    plan: Option<String>,
}

impl Narrator {
    pub(super) fn new(cwd: PathBuf) -> Self {
        Self { tools: Tools::new(cwd), message: None, plan: None }
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
        let message = (kind, chunk.message_id);
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
        if content.is_empty() || self.plan.as_ref() == Some(&content) {
            return entries;
        }
        self.plan = Some(content.clone());
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
