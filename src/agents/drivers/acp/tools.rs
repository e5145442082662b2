//! What the program does with tools: one entry when a call starts, one when it ends.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    path::{Path, PathBuf},
};

use agent_client_protocol::v1::schema::{
    ContentBlock, Diff, EmbeddedResourceResource, ToolCall, ToolCallContent, ToolCallId,
    ToolCallStatus, ToolCallUpdate, ToolKind,
};
use serde::{Deserialize, Serialize};

use super::words::{clip, one_line};
use crate::fleet::{Entry, EntryKind};

/// Calls that may run at once; further ones are not told.
const MOST_CALLS: usize = 256;
/// Ended calls that are remembered, so that what comes late is not told as something new.
const MOST_ENDED: usize = 10_000;
/// Ended calls that are stored.
const MOST_ENDED_SAVED: usize = 256;
/// Bytes of calls that are stored.
const SAVED_BYTES: usize = 128 * 1024;
/// Longer identities are no identities.
const ID_BYTES: usize = 256;
/// What is kept of each part of a call, so that a call's memory has a bound.
const PART_CHARS: usize = 8_000;
const MOST_PARTS: usize = 8;
const TITLE_CHARS: usize = 500;
/// Characters of a result that are kept.
const RESULT_CHARS: usize = 2_000;
/// Lines of a change that a person is shown before it is allowed.
const DIFF_LINES: usize = 40;

/// The calls of a turn.
#[derive(Debug)]
pub(super) struct Tools {
    cwd: PathBuf,
    calls: HashMap<ToolCallId, Call>,
    ended: HashSet<ToolCallId>,
    /// The newest of them: those that are stored.
    ended_lately: VecDeque<ToolCallId>,
}

/// What is known of a call.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Call {
    call: ToolCall,
    /// Its start has been told, with this text of its content.
    told: Option<String>,
}

/// The calls of a turn as they are stored.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Saved {
    calls: Vec<Call>,
    ended: VecDeque<ToolCallId>,
}

impl Tools {
    pub(super) fn new(cwd: PathBuf) -> Self {
        Self { cwd, calls: HashMap::new(), ended: HashSet::new(), ended_lately: VecDeque::new() }
    }

    /// Calls lose what they carry, and at last are left out, when together they get too much.
    pub(super) fn save(&self) -> Saved {
        let mut bytes = 0;
        let calls = self.calls.values().filter_map(|call| {
            let mut call = call.clone();
            if bytes + call.size() > SAVED_BYTES / 2 {
                call.call.content.clear();
                call.call.locations.clear();
                (call.call.raw_input, call.call.raw_output) = (None, None);
                call.told = call.told.map(|_| String::new());
            }
            bytes += call.size();
            (bytes <= SAVED_BYTES).then_some(call)
        });
        Saved { calls: calls.collect(), ended: self.ended_lately.clone() }
    }

    pub(super) fn restore(cwd: PathBuf, saved: Saved) -> Self {
        let calls = saved.calls.into_iter().map(|call| (call.call.tool_call_id.clone(), call));
        let ended = saved.ended.iter().cloned().collect();
        Self { cwd, calls: calls.collect(), ended, ended_lately: saved.ended }
    }

    /// A call, as the program first tells of it.
    ///
    /// It often has no more than a placeholder for a title then ("Terminal", "bash"), and tells what
    /// it is about with the next update. So a pending call is told with the next thing that the
    /// program says, whatever that is.
    pub(super) fn start(&mut self, call: ToolCall) -> Vec<Entry> {
        let id = call.tool_call_id.clone();
        if self.calls.contains_key(&id) || self.ended.contains(&id) {
            return self.update(ToolCallUpdate::from(call));
        }
        let mut entries = self.tell_pending();
        let pending = call.status == ToolCallStatus::Pending;
        if self.keep(call) && !pending {
            entries.extend(self.tell(&id));
        }
        entries
    }

    /// What changes about a call.
    pub(super) fn update(&mut self, update: ToolCallUpdate) -> Vec<Entry> {
        let id = update.tool_call_id.clone();
        if self.ended.contains(&id) {
            return Vec::new();
        }
        let mut entries = self.tell_pending_but(&id);
        if self.merge(update) {
            entries.extend(self.tell(&id));
        }
        entries
    }

    /// Tells the starts that are not told yet.
    pub(super) fn tell_pending(&mut self) -> Vec<Entry> {
        let pending = self.pending();
        pending.iter().flat_map(|id| self.tell(id)).collect()
    }

    /// Forgets the calls of a turn that is over. What became of those without an end is told, if the
    /// turn did not end well.
    pub(super) fn forget(&mut self, end: Option<&str>) -> Vec<Entry> {
        let entries = match end {
            None => self.tell_pending(),
            Some(end) => {
                let open = self.calls.values().map(|known| self.title(&known.call));
                let mut open: Vec<_> = open.map(|title| format!("{title} — {end}")).collect();
                open.sort_unstable();
                open.into_iter().map(entry).collect()
            }
        };
        self.calls.clear();
        self.ended.clear();
        self.ended_lately.clear();
        entries
    }

    /// What the program wants to do, for the person who is to allow it: as much as is needed to
    /// decide.
    pub(super) fn question(&mut self, update: ToolCallUpdate) -> (Vec<Entry>, String) {
        let id = update.tool_call_id.clone();
        let mut alone;
        let mut entries = self.tell_pending_but(&id);
        let call = if self.merge(update.clone()) {
            entries.extend(self.tell(&id));
            self.calls.get(&id).map(|known| &known.call)
        } else {
            None
        };
        let call = match call {
            Some(call) => call,
            None => {
                alone = blank(&id);
                alone.update(update.fields);
                &alone
            }
        };
        let mut text = self.title(call);
        // The title is the program's word for it; its input is what will be done.
        let input = call.raw_input.as_ref().and_then(|input| {
            let command = input.get("command").and_then(serde_json::Value::as_str);
            let diffs = call.content.iter().any(|part| matches!(part, ToolCallContent::Diff(_)));
            match command {
                Some(command) if text.contains(command) => None,
                Some(command) => Some(clip(command, RESULT_CHARS)),
                None if diffs => None,
                None => Some(clip(&input.to_string(), RESULT_CHARS)).filter(|json| json != "{}"),
            }
        });
        for part in input.into_iter().chain(content(&call.content, &self.cwd, true)) {
            if !text.contains(&part) {
                text.push('\n');
                text.push_str(&part);
            }
        }
        (entries, clip(&text, PART_CHARS))
    }

    fn pending(&self) -> Vec<ToolCallId> {
        let pending = self.calls.iter().filter(|(_, call)| call.told.is_none());
        pending.map(|(id, _)| id.clone()).collect()
    }

    fn tell_pending_but(&mut self, id: &ToolCallId) -> Vec<Entry> {
        let others: Vec<_> = self.pending().into_iter().filter(|other| other != id).collect();
        others.iter().flat_map(|other| self.tell(other)).collect()
    }

    /// Whether the call is worth being told of.
    fn merge(&mut self, update: ToolCallUpdate) -> bool {
        let id = update.tool_call_id;
        if let Some(known) = self.calls.get_mut(&id) {
            known.call.update(update.fields);
            slim(&mut known.call);
            return true;
        }
        let mut call = blank(&id);
        call.update(update.fields);
        self.keep(call)
    }

    fn keep(&mut self, mut call: ToolCall) -> bool {
        let id = call.tool_call_id.clone();
        let fits = self.calls.len() < MOST_CALLS && id.0.len() <= ID_BYTES;
        if !fits || self.ended.contains(&id) {
            return false;
        }
        slim(&mut call);
        self.calls.insert(id, Call { call, told: None });
        true
    }

    /// What is to be told of a call now.
    fn tell(&mut self, id: &ToolCallId) -> Option<Entry> {
        let known = self.calls.get(id)?;
        let (call, told) = (&known.call, known.told.clone());
        let end = match call.status {
            ToolCallStatus::Completed => Some("completed"),
            ToolCallStatus::Failed => Some("failed"),
            _ => None,
        };
        let mut text = self.title(call);
        let body = clip(&content(&call.content, &self.cwd, false).join("\n"), RESULT_CHARS);
        let Some(end) = end else {
            if told.is_some() {
                return None;
            }
            if !body.is_empty() {
                text.push('\n');
                text.push_str(&body);
            }
            if let Some(known) = self.calls.get_mut(id) {
                known.told = Some(body);
            }
            return Some(entry(text));
        };
        text.push_str(" — ");
        text.push_str(end);
        let raw = call.raw_output.as_ref().and_then(serde_json::Value::as_str);
        let result =
            if body.is_empty() { raw.map(|raw| clip(raw, RESULT_CHARS)) } else { Some(body) };
        if let Some(result) = result.filter(|result| told.as_ref() != Some(result)) {
            text.push('\n');
            text.push_str(result.trim_end());
        }
        self.calls.remove(id);
        if self.ended.len() == MOST_ENDED {
            self.ended.clear();
        }
        self.ended.insert(id.clone());
        if self.ended_lately.len() == MOST_ENDED_SAVED {
            self.ended_lately.pop_front();
        }
        self.ended_lately.push_back(id.clone());
        Some(entry(text))
    }

    /// A call on one line: `edit: Write demo.txt (src/demo.txt)`.
    fn title(&self, call: &ToolCall) -> String {
        let title = one_line(&call.title, TITLE_CHARS);
        let name = call.name.as_deref().map(|name| one_line(name, 100));
        let title = Some(title).filter(|title| !title.is_empty()).or(name);
        let mut text = title.unwrap_or_else(|| "a tool".to_owned());
        if let Some(kind) = kind_word(call.kind) {
            text = format!("{kind}: {text}");
        }
        let places: Vec<String> = call
            .locations
            .iter()
            .take(3)
            .map(|location| relative(&location.path, &self.cwd))
            .filter(|path| !path.is_empty() && !text.contains(path))
            .collect();
        if !places.is_empty() {
            text.push_str(&format!(" ({})", places.join(", ")));
        }
        text
    }
}

impl Call {
    /// About how many bytes it is, stored.
    fn size(&self) -> usize {
        serde_json::to_string(self).map_or(0, |json| json.len())
    }
}

fn blank(id: &ToolCallId) -> ToolCall {
    ToolCall::new(id.clone(), "")
}

/// Keeps of a call what can be told.
fn slim(call: &mut ToolCall) {
    let cut = |text: &mut String| {
        if let Some((end, _)) = text.char_indices().nth(PART_CHARS) {
            text.truncate(end);
        }
    };
    call.meta = None;
    cut(&mut call.title);
    call.name.iter_mut().for_each(cut);
    call.locations.truncate(3);
    call.content.truncate(MOST_PARTS);
    for part in &mut call.content {
        match part {
            ToolCallContent::Content(part) => {
                let mut kept = text(&part.content).unwrap_or_default();
                cut(&mut kept);
                part.content = kept.into();
            }
            ToolCallContent::Diff(diff) => {
                cut(&mut diff.new_text);
                diff.old_text.iter_mut().for_each(cut);
            }
            _ => {}
        }
    }
    for value in [&mut call.raw_input, &mut call.raw_output].into_iter().flatten() {
        let json = value.to_string();
        if json.len() > PART_CHARS {
            *value = serde_json::Value::String(clip(&json, PART_CHARS));
        }
    }
}

fn entry(content: String) -> Entry {
    Entry { kind: EntryKind::ToolCall, content, joins: false }
}

fn kind_word(kind: ToolKind) -> Option<&'static str> {
    match kind {
        ToolKind::Read => Some("read"),
        ToolKind::Edit => Some("edit"),
        ToolKind::Delete => Some("delete"),
        ToolKind::Move => Some("move"),
        ToolKind::Search => Some("search"),
        ToolKind::Execute => Some("execute"),
        ToolKind::Think => Some("think"),
        ToolKind::Fetch => Some("fetch"),
        ToolKind::SwitchMode => Some("switch mode"),
        _ => None,
    }
}

/// What a call carries, part by part; changes in short, or as a person has to see them.
fn content(parts: &[ToolCallContent], cwd: &Path, whole: bool) -> Vec<String> {
    let texts = parts.iter().filter_map(|part| match part {
        ToolCallContent::Content(part) => text(&part.content),
        ToolCallContent::Diff(diff) if whole => Some(changes(diff, cwd)),
        ToolCallContent::Diff(diff) => Some(format!("changes {}", relative(&diff.path, cwd))),
        _ => None,
    });
    texts
        .map(|text| clip(text.trim_end(), RESULT_CHARS))
        .filter(|text| !text.trim().is_empty())
        .collect()
}

fn changes(diff: &Diff, cwd: &Path) -> String {
    let old = diff.old_text.as_deref().unwrap_or_default();
    let lines = old.lines().map(|line| format!("- {line}"));
    let mut lines = lines.chain(diff.new_text.lines().map(|line| format!("+ {line}")));
    let mut text = relative(&diff.path, cwd);
    for line in lines.by_ref().take(DIFF_LINES) {
        text.push('\n');
        text.push_str(&line);
    }
    match lines.count() {
        0 => text,
        more => format!("{text}\n… ({more} more lines)"),
    }
}

/// What a piece of content is as text.
pub(super) fn text(block: &ContentBlock) -> Option<String> {
    match block {
        ContentBlock::Text(text) => Some(text.text.clone()),
        ContentBlock::Image(_) => Some("[an image]".to_owned()),
        ContentBlock::Audio(_) => Some("[a sound]".to_owned()),
        ContentBlock::ResourceLink(link) => Some(format!("[{}]", clip(&link.uri, 500))),
        ContentBlock::Resource(embedded) => match &embedded.resource {
            EmbeddedResourceResource::TextResourceContents(text) => Some(text.text.clone()),
            _ => Some("[a file]".to_owned()),
        },
        _ => None,
    }
}

/// A path as somebody in the workspace would write it.
fn relative(path: &Path, cwd: &Path) -> String {
    let path = path.strip_prefix(cwd).unwrap_or(path);
    one_line(&path.to_string_lossy(), 300)
}
