//! The shapes that several tools answer with. Names and shapes are the original server's.
//!
//! What is said of a field here is in its schema, which every client is sent: only what its name does
//! not tell. docs/tools.md has the rest.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;

use super::untrusted::{NOTICE, Room, shown};
use crate::{
    app::{error::FleetError, fleet::Fleet},
    fleet::{self, snapshot::Member},
};

/// An agent in a list.
#[derive(Serialize, JsonSchema)]
pub(crate) struct AgentSummary {
    name: String,
    /// pending, starting, idle, busy, stopping, stopped, failed, canceling, canceled, deleting or deleted
    status: String,
    role: String,
    project: String,
    /// The newest task; absent before the first
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    last_task: Option<String>,
    /// Whether the newest task waits for an answer; `show_agent` has the question
    needs_attention: bool,
    created_at: String,
    /// What is known of its work
    metadata: BTreeMap<String, String>,
    metadata_count: usize,
}

/// An agent in full.
#[derive(Serialize, JsonSchema)]
pub(crate) struct AgentDetails {
    name: String,
    workspace_id: String,
    /// pending, starting, idle, busy, stopping, stopped, failed, canceling, canceled, deleting or deleted
    status: String,
    role: String,
    project: String,
    /// The newest task; absent before the first
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    last_task: Option<String>,
    created_at: String,
    updated_at: String,
    /// What is known of its work
    metadata: Metadata,
    metadata_count: usize,
}

/// What is known of an agent's work.
#[derive(Serialize, JsonSchema)]
struct Metadata {
    data: BTreeMap<String, MetadataEntry>,
    meta: MetadataMeta,
}

#[derive(Serialize, JsonSchema)]
struct MetadataEntry {
    value: String,
    schema: MetadataSchema,
}

#[derive(Serialize, JsonSchema)]
struct MetadataSchema {
    description: String,
    include_in_list: bool,
}

#[derive(Serialize, JsonSchema)]
struct MetadataMeta {
    version: String,
}

/// One assignment.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Task {
    id: i64,
    workspace_id: String,
    /// What was to be done
    description: String,
    /// running, `needs_attention`, done, failed, canceled or interrupted
    state: String,
    /// How it ended, or what the agent waits for
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    message: Option<String>,
    /// Whether it waits for an answer: see question and `answer_agent`
    needs_user_attention: bool,
    created_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    ended_at: Option<String>,
    /// What it has cost, as far as the agent tells
    usage: Usage,
    /// What the agent asks
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Question")]
    question: Option<Question>,
}

#[derive(Serialize, JsonSchema)]
struct Usage {
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "u64")]
    context_tokens: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "u64")]
    input_tokens: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "u64")]
    output_tokens: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "f64")]
    cost: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    currency: Option<String>,
}

/// Where an agent's work can be fetched from.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Publication {
    branch: String,
    commit: String,
    /// The project's bare repository on the server
    repository: String,
    /// What to run in a clone of the project, on the server, to get the work
    fetch: String,
}

/// A question that an agent waits to have answered.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Question {
    /// What `answer_agent` takes as `question_id`
    id: String,
    /// What the agent wants to do. Written by the agent: untrusted
    text: String,
    choices: Vec<Choice>,
}

#[derive(Serialize, JsonSchema)]
struct Choice {
    /// What `answer_agent` takes as `choice`
    id: String,
    /// What people read. Written by the agent: untrusted
    name: String,
    /// `allow_once`, `allow_always`, `reject_once` or `reject_always`
    kind: String,
}

/// What belongs to every page.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Paging {
    total_count: u64,
    page: u32,
    page_size: u32,
    has_next_page: bool,
    has_previous_page: bool,
}

impl Paging {
    pub(crate) fn of(total: u64, page: u32, page_size: u32) -> Self {
        Self {
            total_count: total,
            page,
            page_size,
            has_next_page: u64::from(page) * u64::from(page_size) < total,
            has_previous_page: page > 1,
        }
    }
}

/// The branch that the agent works on.
const BRANCH: &str = "branch";

fn branch(member: &Member) -> String {
    format!("fleet/{}", member.agent.name)
}

impl AgentSummary {
    /// With its newest task whole, or as much of it as there is room for.
    pub(crate) fn of(member: &Member, room: Option<Room>) -> Self {
        let agent = &member.agent;
        let metadata = BTreeMap::from([(BRANCH.to_owned(), branch(member))]);
        Self {
            name: agent.name.to_string(),
            status: agent.status.as_str().to_owned(),
            role: agent.role.clone(),
            project: agent.project.clone(),
            last_task: agent
                .last_task
                .as_deref()
                .map(|text| room.map_or_else(|| shown(text), |room| room.show(text))),
            needs_attention: member.task.as_ref().is_some_and(|task| task.question.is_some()),
            created_at: agent.created_at.to_string(),
            metadata_count: metadata.len(),
            metadata,
        }
    }
}

impl From<&Member> for AgentDetails {
    fn from(member: &Member) -> Self {
        let agent = &member.agent;
        let entry = MetadataEntry {
            value: branch(member),
            schema: MetadataSchema {
                description: "The branch that the agent works on".to_owned(),
                include_in_list: true,
            },
        };
        let data = BTreeMap::from([(BRANCH.to_owned(), entry)]);
        Self {
            name: agent.name.to_string(),
            workspace_id: agent.id.to_string(),
            status: agent.status.as_str().to_owned(),
            role: agent.role.clone(),
            project: agent.project.clone(),
            last_task: agent.last_task.as_deref().map(|text| LAST_TASK.show(text)),
            created_at: agent.created_at.to_string(),
            updated_at: agent.updated_at.to_string(),
            metadata_count: data.len(),
            metadata: Metadata { data, meta: MetadataMeta { version: "1.0".to_owned() } },
        }
    }
}

/// Of texts that are nowhere longer, but for what the agent puts into them.
pub(crate) const QUESTION: Room = Room::of(8_200, "the agent asks at too great length");
pub(crate) const CHOICE: Room = Room::of(520, "the agent names it at too great length");
const CURRENCY: Room = Room::of(8, "no currency");
/// Of the newest task, in a page of a list.
pub(crate) const LIST_TASK: Room = Room::of(200, "show_agent");
/// Of the newest task, beside the task itself.
const LAST_TASK: Room = Room::of(2_000, "task.description of show_agent");
/// Bytes of the texts of all entries on a page of a log.
pub(crate) const LOG_BYTES: usize = 192 * 1024;
/// Bytes of the texts of a task that is shown alone.
pub(crate) const TASK_BYTES: usize = 96 * 1024;
/// Bytes of the texts of all tasks on a page.
pub(crate) const TASKS_BYTES: usize = 64 * 1024;

/// How much of the texts of these tasks there is room for.
pub(crate) fn room_for<'a>(
    tasks: impl IntoIterator<Item = &'a fleet::Task>,
    chars: u32,
    bytes: usize,
    more: &'static str,
) -> Room {
    let texts = tasks
        .into_iter()
        .flat_map(|task| [Some(&*task.description), task.message.as_deref()].into_iter().flatten());
    Room::shared(texts, chars as usize, bytes, more)
}

/// Most characters of a text that can be asked for.
const MAX_CHARS: u32 = 100_000;

pub(crate) fn check_chars(chars: u32) -> Result<(), FleetError> {
    let fits = (1..=MAX_CHARS).contains(&chars);
    fits.then_some(())
        .ok_or_else(|| FleetError::invalid(format!("max_chars: use 1 to {MAX_CHARS}")))
}

/// What is said beside an answer with text of an agent, if there is any in these tasks.
pub(crate) fn notice<'a>(
    tasks: impl IntoIterator<Item = &'a fleet::Task>,
    place: &str,
) -> Option<String> {
    let speaks = |task: &fleet::Task| task.message.is_some() || task.question.is_some();
    let any = tasks.into_iter().any(speaks);
    any.then(|| format!("message and question of {place} are {NOTICE}"))
}

impl Task {
    pub(crate) fn of(task: &fleet::Task, room: Room) -> Self {
        Self {
            id: task.id.0,
            workspace_id: task.agent.to_string(),
            description: room.show(&task.description),
            state: task.status.as_str().to_owned(),
            message: task.message.as_deref().map(|text| room.show(text)),
            needs_user_attention: task.question.is_some(),
            created_at: task.created_at.to_string(),
            ended_at: task.ended_at.map(|at| at.to_string()),
            usage: Usage {
                context_tokens: task.usage.context_tokens,
                input_tokens: task.usage.input_tokens,
                output_tokens: task.usage.output_tokens,
                cost: task.usage.cost,
                currency: task.usage.currency.as_deref().map(|text| CURRENCY.show(text)),
            },
            question: task.question.as_ref().map(Into::into),
        }
    }
}

impl From<&fleet::Publication> for Publication {
    fn from(publication: &fleet::Publication) -> Self {
        Self {
            branch: publication.branch.clone(),
            commit: publication.commit.clone(),
            repository: publication.repository.display().to_string(),
            fetch: publication.fetch(),
        }
    }
}

impl From<&fleet::Question> for Question {
    fn from(question: &fleet::Question) -> Self {
        let choice = |choice: &fleet::task::Choice| Choice {
            id: shown(&choice.id),
            name: CHOICE.show(&choice.name),
            kind: choice.kind.as_str().to_owned(),
        };
        Self {
            id: question.id.clone(),
            text: QUESTION.show(&question.text),
            choices: question.choices.iter().map(choice).collect(),
        }
    }
}

/// Of the last message.
const LAST_MESSAGE: Room = Room::of(4_000, "show_agent_log");

/// What an agent said last in a task, fit to be shown.
pub(super) async fn last_message(
    fleet: Fleet<'_>,
    task: fleet::TaskId,
) -> Result<Option<String>, FleetError> {
    Ok(fleet.last_words(task).await?.map(|text| LAST_MESSAGE.show(&text)))
}

/// An entry of an agent's conversation.
#[derive(Serialize, JsonSchema)]
pub(crate) struct LogItem {
    id: i64,
    /// The text. What an agent wrote is untrusted
    content: String,
    /// input: what the agent was told; output: what came from it
    #[serde(rename = "type")]
    direction: String,
    /// task, answer, message, thought, `tool_call`, plan, question, diagnostic or notice
    kind: String,
    time: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "i64")]
    task_id: Option<i64>,
}

impl LogItem {
    pub(crate) fn of(entry: &fleet::LogEntry, room: Room) -> Self {
        Self {
            id: entry.id,
            direction: if entry.kind.is_input() { "input" } else { "output" }.to_owned(),
            kind: entry.kind.as_str().to_owned(),
            time: entry.time.to_string(),
            task_id: entry.task.map(|task| task.0),
            content: room.show(&entry.content),
        }
    }
}

#[cfg(test)]
mod tests;
