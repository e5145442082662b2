//! How agents, tasks and log entries look as rows. The fleet's types know nothing of it.

use jiff::Timestamp;
use rusqlite::{Row, types::Type};
use serde::{Deserialize, Serialize};

use crate::fleet::{
    Agent, AgentId, AgentName, EntryKind, LogEntry, Question, Slot, Status, Task, TaskId,
    TaskStatus, Usage,
    lifecycle::Standing,
    task::{Choice, ChoiceKind},
};

/// What [`task`] reads, in its order; prefixed, because a task is also read beside its agent.
macro_rules! task_columns {
    () => {
        "t.id, t.agent_id, t.description, t.status, t.message, t.created_at, t.ended_at, \
         t.context_tokens, t.input_tokens, t.output_tokens, t.cost, t.currency, t.question"
    };
}
/// What [`agent`], [`session`] and [`standing`] read, in their order.
macro_rules! agent_columns {
    () => {
        "a.id, a.name, a.status, a.role, a.project, a.last_task, a.created_at, a.updated_at, \
         a.slot, a.session, a.since, a.verdict, a.verdict_words, a.restarts"
    };
}
/// What [`entry`] reads, in its order.
macro_rules! entry_columns {
    () => {
        "id, task_id, time, kind, content"
    };
}
pub(super) use {agent_columns, entry_columns, task_columns};

/// How many columns an agent takes, with its session and its standing.
pub(super) const AGENT_COLUMNS: usize = 14;

/// A word in the database that this version has no meaning for.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` is no {1}")]
struct Unknown(String, &'static str);

pub(super) fn agent(row: &Row<'_>) -> rusqlite::Result<Agent> {
    let word = |at: usize| row.get::<_, String>(at);
    Ok(Agent {
        id: AgentId(row.get(0)?),
        name: word(1)?.parse::<AgentName>().map_err(|e| senseless(1, e))?,
        status: word(2)?.parse::<Status>().map_err(|e| senseless(2, e))?,
        role: row.get(3)?,
        project: row.get(4)?,
        last_task: row.get(5)?,
        created_at: time(row, 6)?,
        updated_at: time(row, 7)?,
        slot: row.get::<_, Option<String>>(8)?.map(|name| slot(8, name)).transpose()?,
    })
}

pub(super) fn session(row: &Row<'_>) -> rusqlite::Result<Option<String>> {
    row.get(9)
}

fn slot(at: usize, name: String) -> rusqlite::Result<Slot> {
    Slot::new(&name).ok_or_else(|| senseless(at, Unknown(name, "slot")))
}

pub(super) fn standing(row: &Row<'_>) -> rusqlite::Result<Standing> {
    let verdict: Option<String> = row.get(11)?;
    let verdict =
        verdict.map(|_| word(row, 11, "task status", TaskStatus::from_word)).transpose()?;
    Ok(Standing {
        // Before version 4 it was not stored.
        since: optional_time(row, 10)?.map_or_else(|| time(row, 7), Ok)?,
        verdict: verdict.zip(row.get(12)?),
        restarts: row.get(13)?,
    })
}

/// A task whose columns start at `first`.
pub(super) fn task(row: &Row<'_>, first: usize) -> rusqlite::Result<Task> {
    let count = |at: usize| row.get::<_, Option<i64>>(at).map(|n| n.map(i64::cast_unsigned));
    Ok(Task {
        id: TaskId(row.get(first)?),
        agent: AgentId(row.get(first + 1)?),
        description: row.get(first + 2)?,
        status: word(row, first + 3, "task status", TaskStatus::from_word)?,
        message: row.get(first + 4)?,
        created_at: time(row, first + 5)?,
        ended_at: optional_time(row, first + 6)?,
        usage: Usage {
            context_tokens: count(first + 7)?,
            input_tokens: count(first + 8)?,
            output_tokens: count(first + 9)?,
            cost: row.get(first + 10)?,
            currency: row.get(first + 11)?,
        },
        question: question(row, first + 12)?,
    })
}

pub(super) fn entry(row: &Row<'_>) -> rusqlite::Result<LogEntry> {
    Ok(LogEntry {
        id: row.get(0)?,
        task: row.get::<_, Option<i64>>(1)?.map(TaskId),
        time: time(row, 2)?,
        kind: word(row, 3, "kind of log entry", EntryKind::from_word)?,
        content: row.get(4)?,
    })
}

/// A time as its column holds it.
pub(super) fn micros(time: Timestamp) -> i64 {
    time.as_microsecond()
}

pub(super) fn time(row: &Row<'_>, at: usize) -> rusqlite::Result<Timestamp> {
    Timestamp::from_microsecond(row.get(at)?).map_err(|e| senseless(at, e))
}

fn optional_time(row: &Row<'_>, at: usize) -> rusqlite::Result<Option<Timestamp>> {
    let micros: Option<i64> = row.get(at)?;
    micros.map(Timestamp::from_microsecond).transpose().map_err(|e| senseless(at, e))
}

fn word<T>(
    row: &Row<'_>,
    at: usize,
    what: &'static str,
    meaning: fn(&str) -> Option<T>,
) -> rusqlite::Result<T> {
    let word: String = row.get(at)?;
    meaning(&word).ok_or_else(|| senseless(at, Unknown(word, what)))
}

pub(super) fn senseless(
    column: usize,
    why: impl std::error::Error + Send + Sync + 'static,
) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(column, Type::Text, Box::new(why))
}

/// A question's column.
#[derive(Serialize, Deserialize)]
struct QuestionColumn {
    id: String,
    text: String,
    choices: Vec<ChoiceColumn>,
    asked_at: i64,
}

#[derive(Serialize, Deserialize)]
struct ChoiceColumn {
    id: String,
    name: String,
    kind: String,
}

/// A question as its column holds it.
pub(super) fn question_column(question: &Question) -> rusqlite::Result<String> {
    let choice = |choice: &Choice| ChoiceColumn {
        id: choice.id.clone(),
        name: choice.name.clone(),
        kind: choice.kind.as_str().to_owned(),
    };
    let column = QuestionColumn {
        id: question.id.clone(),
        text: question.text.clone(),
        choices: question.choices.iter().map(choice).collect(),
        asked_at: micros(question.asked_at),
    };
    serde_json::to_string(&column).map_err(|e| rusqlite::Error::ToSqlConversionFailure(Box::new(e)))
}

fn question(row: &Row<'_>, at: usize) -> rusqlite::Result<Option<Question>> {
    let Some(text) = row.get::<_, Option<String>>(at)? else { return Ok(None) };
    let column: QuestionColumn = serde_json::from_str(&text).map_err(|e| senseless(at, e))?;
    let choice = |choice: ChoiceColumn| match ChoiceKind::from_word(&choice.kind) {
        Some(kind) => Ok(Choice { id: choice.id, name: choice.name, kind }),
        None => Err(senseless(at, Unknown(choice.kind, "kind of answer"))),
    };
    Ok(Some(Question {
        id: column.id,
        text: column.text,
        choices: column.choices.into_iter().map(choice).collect::<Result<_, _>>()?,
        asked_at: Timestamp::from_microsecond(column.asked_at).map_err(|e| senseless(at, e))?,
    }))
}
