//! A turn of the demo agent.

use std::{path::Path, time::Duration};

use agent_client_protocol::{
    Error,
    v1::{
        ConnectionTo,
        schema::{
            ContentBlock, ContentChunk, Cost, Diff, PermissionOption, PermissionOptionKind, Plan,
            PlanEntry, PlanEntryPriority, PlanEntryStatus, PromptRequest, PromptResponse,
            RequestPermissionOutcome, RequestPermissionRequest, SessionId, SessionNotification,
            SessionUpdate, StopReason, ToolCall, ToolCallContent, ToolCallLocation, ToolCallStatus,
            ToolCallUpdate, ToolCallUpdateFields, ToolKind, Usage, UsageUpdate,
        },
    },
};
use tokio_util::sync::CancellationToken;

use super::{ASKS, Demo, store, store::Transcript};

/// Who is on the other side.
type Client = ConnectionTo<agent_client_protocol::Client>;

const FILE: &str = "demo.txt";
/// Between two pieces of a `slow` task.
const SLOW: Duration = Duration::from_millis(200);
/// Ten minutes of `slow`.
const MOST_SLOW: u32 = 3_000;
/// Most pieces of `stream N`.
const MOST_PIECES: u32 = 100_000;
/// Characters of the task that it repeats.
const REPEATED: usize = 200;
const CONTEXT_SIZE: u64 = 100_000;

/// Says again what was said in a session.
pub(super) fn replay(id: &SessionId, seen: &Transcript, client: &Client) -> Result<(), Error> {
    for (task, said) in &seen.turns {
        let updates = [
            SessionUpdate::UserMessageChunk(chunk(task)),
            SessionUpdate::AgentMessageChunk(chunk(said)),
        ];
        for update in updates {
            client.send_notification(SessionNotification::new(id.clone(), update))?;
        }
    }
    Ok(())
}

/// A turn that has begun: what ends it, and what was said before it.
pub(super) struct Begun {
    canceled: CancellationToken,
    transcript: Transcript,
}

/// Begins a turn, from which on it can be canceled.
pub(super) fn begin(demo: &Demo, id: &SessionId) -> Result<Begun, Error> {
    let begun = demo.with(id, |session| {
        let idle = session.turn.is_none();
        idle.then(|| {
            let canceled = CancellationToken::new();
            session.turn = Some(canceled.clone());
            Begun { canceled, transcript: session.transcript.clone() }
        })
    })?;
    begun.ok_or_else(Error::invalid_request)
}

/// Does a task.
pub(super) async fn run(
    demo: &Demo,
    request: PromptRequest,
    begun: Begun,
    client: &Client,
) -> Result<PromptResponse, Error> {
    let id = request.session_id;
    let task = request.prompt.iter().filter_map(text).collect::<Vec<_>>().join("\n");
    let Begun { canceled, transcript } = begun;
    let mut turn = Turn { id, client, canceled, said: String::new() };
    let stop = turn.work(&task, &transcript).await;
    let Turn { id, said, .. } = turn;
    let tokens = |text: &str| u64::try_from(text.len() / 4 + 1).unwrap_or(u64::MAX);
    let (read, wrote) = (tokens(&task), tokens(&said));
    let transcript = demo.with(&id, |session| {
        session.turn = None;
        session.transcript.remember(task, said);
        session.transcript.clone()
    })?;
    store::save(&demo.store, &id.0, &transcript).await?;
    let usage = UsageUpdate::new(read + wrote, CONTEXT_SIZE).cost(Cost::new(0.0, "USD"));
    let update = SessionUpdate::UsageUpdate(usage);
    client.send_notification(SessionNotification::new(id, update))?;
    Ok(PromptResponse::new(stop?).usage(Usage::new(read + wrote, read, wrote)))
}

/// What a task asks for.
#[derive(Debug, Default, PartialEq, Eq)]
struct Words {
    ask: bool,
    /// Pieces of dawdling.
    slow: u32,
    fail: bool,
    stream: u32,
}

impl Words {
    fn of(task: &str) -> Self {
        let mut words = Self::default();
        let mut rest = task.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
        while let Some(word) = rest.next() {
            match word.to_lowercase().as_str() {
                "ask" => words.ask = true,
                "slow" => {
                    let pieces = rest.clone().next().and_then(|word| word.parse().ok());
                    words.slow = pieces.unwrap_or(MOST_SLOW).min(MOST_SLOW);
                }
                "fail" => words.fail = true,
                "stream" => {
                    let pieces = rest.next().and_then(|word| word.parse().ok());
                    words.stream = pieces.unwrap_or(100).min(MOST_PIECES);
                }
                _ => {}
            }
        }
        words
    }
}

struct Turn<'a> {
    id: SessionId,
    client: &'a Client,
    canceled: CancellationToken,
    said: String,
}

impl Turn<'_> {
    async fn work(&mut self, task: &str, session: &Transcript) -> Result<StopReason, Error> {
        let words = Words::of(task);
        self.tell(SessionUpdate::AgentThoughtChunk(chunk("A task for me.")))?;
        let repeated: String = task.chars().take(REPEATED).collect();
        for piece in ["I am ", "the demo agent. ", "You said: ", &repeated, "\n"] {
            self.say(piece)?;
        }
        if words.fail {
            return Err(Error::internal_error().data("the task told the demo agent to fail"));
        }
        for piece in 0..words.stream {
            self.say(&format!("{piece}\n"))?;
        }
        self.dawdle(words.slow).await?;
        if self.canceled.is_cancelled() {
            return Ok(StopReason::Cancelled);
        }
        self.plan(0)?;
        let written =
            self.write_file(&session.cwd, task, words.ask && session.mode == ASKS).await?;
        match written {
            Written::Yes => self.say("I wrote demo.txt.")?,
            Written::Refused => self.say("I was not allowed to write demo.txt.")?,
            Written::Canceled => return Ok(StopReason::Cancelled),
        }
        self.plan(2)?;
        Ok(StopReason::EndTurn)
    }

    async fn dawdle(&mut self, pieces: u32) -> Result<(), Error> {
        for second in 0..pieces {
            tokio::select! {
                () = self.canceled.cancelled() => break,
                () = tokio::time::sleep(SLOW) => self.say(&format!("{second}… "))?,
            }
        }
        Ok(())
    }

    /// Its one tool.
    async fn write_file(&self, cwd: &Path, task: &str, ask: bool) -> Result<Written, Error> {
        let path = cwd.join(FILE);
        let text = format!("{task}\n");
        let call = format!("write-{:08x}", rand::random::<u32>());
        let start = ToolCall::new(call.clone(), format!("Write {FILE}"))
            .kind(ToolKind::Edit)
            .status(ToolCallStatus::Pending)
            .locations(vec![ToolCallLocation::new(&path)]);
        self.tell(SessionUpdate::ToolCall(start))?;
        let step = |status: ToolCallStatus, content: Vec<ToolCallContent>| {
            let fields = ToolCallUpdateFields::new().status(status).content(content);
            self.tell(SessionUpdate::ToolCallUpdate(ToolCallUpdate::new(call.clone(), fields)))
        };
        let diff = || vec![ToolCallContent::Diff(Diff::new(&path, text.clone()))];
        if ask {
            let allowed = self.permission(&call, diff()).await?;
            if allowed != Written::Yes {
                step(ToolCallStatus::Failed, Vec::new())?;
                return Ok(allowed);
            }
        }
        step(ToolCallStatus::InProgress, Vec::new())?;
        match tokio::fs::write(&path, &text).await {
            Ok(()) => step(ToolCallStatus::Completed, diff())?,
            Err(error) => {
                step(ToolCallStatus::Failed, vec![error.to_string().into()])?;
                return Err(Error::internal_error().data(format!("{FILE}: {error}")));
            }
        }
        Ok(Written::Yes)
    }

    async fn permission(&self, call: &str, diff: Vec<ToolCallContent>) -> Result<Written, Error> {
        let options = [
            ("yes", "Yes", PermissionOptionKind::AllowOnce),
            ("always", "Yes, always", PermissionOptionKind::AllowAlways),
            ("no", "No", PermissionOptionKind::RejectOnce),
        ];
        let options =
            options.map(|(id, name, kind)| PermissionOption::new(id, name, kind)).to_vec();
        let fields = ToolCallUpdateFields::new()
            .title(format!("Write {FILE}"))
            .kind(ToolKind::Edit)
            .content(diff);
        let call = ToolCallUpdate::new(call.to_owned(), fields);
        let request = RequestPermissionRequest::new(self.id.clone(), call, options);
        let answer = self.client.send_request(request).block_task().await?;
        Ok(match answer.outcome {
            RequestPermissionOutcome::Selected(choice) if choice.option_id.0.as_ref() != "no" => {
                Written::Yes
            }
            RequestPermissionOutcome::Selected(_) => Written::Refused,
            _ => Written::Canceled,
        })
    }

    /// Its plan, with so many steps done.
    fn plan(&self, done: usize) -> Result<(), Error> {
        let steps =
            ["Read the task", "Write demo.txt"].into_iter().enumerate().map(|(at, step)| {
                let status = match at.cmp(&done) {
                    std::cmp::Ordering::Less => PlanEntryStatus::Completed,
                    std::cmp::Ordering::Equal => PlanEntryStatus::InProgress,
                    std::cmp::Ordering::Greater => PlanEntryStatus::Pending,
                };
                PlanEntry::new(step, PlanEntryPriority::Medium, status)
            });
        self.tell(SessionUpdate::Plan(Plan::new(steps.collect())))
    }

    fn say(&mut self, text: &str) -> Result<(), Error> {
        self.said.push_str(text);
        self.tell(SessionUpdate::AgentMessageChunk(chunk(text)))
    }

    fn tell(&self, update: SessionUpdate) -> Result<(), Error> {
        self.client.send_notification(SessionNotification::new(self.id.clone(), update))
    }
}

/// Whether the file was written.
#[derive(Debug, PartialEq, Eq)]
enum Written {
    Yes,
    Refused,
    Canceled,
}

fn chunk(text: &str) -> ContentChunk {
    ContentChunk::new(text.into())
}

fn text(block: &ContentBlock) -> Option<&str> {
    match block {
        ContentBlock::Text(text) => Some(&text.text),
        _ => None,
    }
}
