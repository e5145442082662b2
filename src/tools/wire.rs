//! The shapes that several tools answer with. Names and shapes are the original server's.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;

use super::untrusted::shown;
use crate::fleet::{self, snapshot::Member};

/// An agent in a list.
#[derive(Serialize, JsonSchema)]
pub(crate) struct AgentSummary {
    /// The agent's name
    name: String,
    /// pending, starting, idle, busy, stopping, stopped, failed, canceling, canceled, deleting or deleted
    status: String,
    /// The role it was created with
    role: String,
    /// The project it works on
    project: String,
    /// The newest task; absent before the first
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    last_task: Option<String>,
    /// Whether the newest task waits for an answer; `show_agent` has the question
    needs_attention: bool,
    /// When it was created, RFC 3339
    created_at: String,
    /// What is known of its work
    metadata: BTreeMap<String, String>,
    /// How many entries all its metadata has
    metadata_count: usize,
}

/// An agent in full.
#[derive(Serialize, JsonSchema)]
pub(crate) struct AgentDetails {
    /// The agent's name
    name: String,
    /// The agent's stable identity
    workspace_id: String,
    /// pending, starting, idle, busy, stopping, stopped, failed, canceling, canceled, deleting or deleted
    status: String,
    /// The role it was created with
    role: String,
    /// The project it works on
    project: String,
    /// The newest task; absent before the first
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    last_task: Option<String>,
    /// When it was created, RFC 3339
    created_at: String,
    /// When anything of it last changed, RFC 3339
    updated_at: String,
    /// What is known of its work
    metadata: Metadata,
    /// How many entries its metadata has
    metadata_count: usize,
    /// The newest task in full; absent before the first
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Task")]
    task: Option<Task>,
}

/// What is known of an agent's work.
#[derive(Serialize, JsonSchema)]
struct Metadata {
    /// The entries, by name
    data: BTreeMap<String, MetadataEntry>,
    /// About this shape
    meta: MetadataMeta,
}

#[derive(Serialize, JsonSchema)]
struct MetadataEntry {
    /// What it is now
    value: String,
    /// About the entry
    schema: MetadataSchema,
}

#[derive(Serialize, JsonSchema)]
struct MetadataSchema {
    /// What the entry means
    description: String,
    /// Whether `list_agents` shows it
    include_in_list: bool,
}

#[derive(Serialize, JsonSchema)]
struct MetadataMeta {
    /// The version of this shape
    version: String,
}

/// One assignment.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Task {
    /// The task's identity
    id: i64,
    /// The identity of the agent
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
    /// When it was given, RFC 3339
    created_at: String,
    /// When it ended, RFC 3339
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
    /// Tokens in the agent's context
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "u64")]
    context_tokens: Option<u64>,
    /// Input tokens
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "u64")]
    input_tokens: Option<u64>,
    /// Output tokens
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "u64")]
    output_tokens: Option<u64>,
    /// Money
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "f64")]
    cost: Option<f64>,
    /// Its currency
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    currency: Option<String>,
}

/// Where an agent's work can be fetched from.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Publication {
    /// The agent's branch
    branch: String,
    /// What the branch points to
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
    /// What can be answered
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
    /// How many there are on all pages
    total_count: u64,
    /// This page, from 1
    page: u32,
    /// Entries a page
    page_size: u32,
    /// Whether there is an older page
    has_next_page: bool,
    /// Whether there is a newer page
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

impl From<&Member> for AgentSummary {
    fn from(member: &Member) -> Self {
        let agent = &member.agent;
        let metadata = BTreeMap::from([(BRANCH.to_owned(), branch(member))]);
        Self {
            name: agent.name.to_string(),
            status: agent.status.as_str().to_owned(),
            role: agent.role.clone(),
            project: agent.project.clone(),
            last_task: agent.last_task.clone(),
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
            last_task: agent.last_task.clone(),
            created_at: agent.created_at.to_string(),
            updated_at: agent.updated_at.to_string(),
            metadata_count: data.len(),
            metadata: Metadata { data, meta: MetadataMeta { version: "1.0".to_owned() } },
            task: member.task.as_ref().map(Into::into),
        }
    }
}

impl From<&fleet::Task> for Task {
    fn from(task: &fleet::Task) -> Self {
        Self {
            id: task.id.0,
            workspace_id: task.agent.to_string(),
            description: task.description.clone(),
            state: task.status.as_str().to_owned(),
            message: task.message.as_deref().map(shown),
            needs_user_attention: task.question.is_some(),
            created_at: task.created_at.to_string(),
            ended_at: task.ended_at.map(|at| at.to_string()),
            usage: Usage {
                context_tokens: task.usage.context_tokens,
                input_tokens: task.usage.input_tokens,
                output_tokens: task.usage.output_tokens,
                cost: task.usage.cost,
                currency: task.usage.currency.clone(),
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
            id: choice.id.clone(),
            name: shown(&choice.name),
            kind: choice.kind.as_str().to_owned(),
        };
        Self {
            id: question.id.clone(),
            text: shown(&question.text),
            choices: question.choices.iter().map(choice).collect(),
        }
    }
}

/// An entry of an agent's conversation.
#[derive(Serialize, JsonSchema)]
pub(crate) struct LogItem {
    /// Grows with each entry
    id: i64,
    /// The text. What an agent wrote is untrusted
    content: String,
    /// input: what the agent was told; output: what came from it
    #[serde(rename = "type")]
    direction: String,
    /// task, answer, message, thought, `tool_call`, plan, question, diagnostic or notice
    kind: String,
    /// When it began, RFC 3339
    time: String,
    /// The task that it belongs to
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "i64")]
    task_id: Option<i64>,
}

impl From<fleet::LogEntry> for LogItem {
    fn from(entry: fleet::LogEntry) -> Self {
        Self {
            id: entry.id,
            direction: if entry.kind.is_input() { "input" } else { "output" }.to_owned(),
            kind: entry.kind.as_str().to_owned(),
            time: entry.time.to_string(),
            task_id: entry.task.map(|task| task.0),
            content: shown(&entry.content),
        }
    }
}
