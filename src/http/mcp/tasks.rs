//! The protocol's extension for tasks. The fleet's own tasks are what it tells of: they are durable,
//! have an identity, and belong to whoever may see their agent. So a handle is good after a restart,
//! and nothing is kept for it here.

use std::sync::Arc;

use rmcp::{
    ErrorData, RoleServer,
    model::{
        CallToolResult, CreateTaskResult, DetailedTask, ErrorCode, GetTaskResult, InputRequests,
        InputResponses, JsonObject, ProtocolVersion, Task, TaskPayload, TaskStatus,
    },
    service::RequestContext,
};
use serde::Serialize;
use serde_json::{Value, json};

use super::{
    Caller,
    question::{Forms, Reply, form},
};
use crate::{
    app::error::{Code, FleetError},
    auth::Scope,
    fleet::{self, TaskId, snapshot::Member},
    tools::{self, start_agent_task},
};

/// How often a client may well ask, in milliseconds: agents work for minutes.
const POLL_MS: u64 = 5_000;

/// Whether the answer of this tool is to be a handle. Which tools these are is the server's choice;
/// whether the client understands a handle is said by each request.
pub(super) fn is_asked_for(tool: &str, context: &RequestContext<RoleServer>) -> bool {
    tool == start_agent_task::NAME
        && context
            .protocol_version()
            .is_some_and(|version| version >= ProtocolVersion::V_2026_07_28)
        && context.client_capabilities().is_some_and(|client| client.supports_tasks())
}

/// The handle of the task that the tool has begun; none for a client that could not ask for it.
pub(super) async fn handle(caller: &Caller, answer: &Value) -> Option<CreateTaskResult> {
    if !caller.principal.allows(Scope::Read) {
        return None;
    }
    let id = TaskId(answer["task_id"].as_i64()?);
    let (member, task) = caller.app.fleet_for(&caller.principal).show_task(id).await.ok()?;
    Some(CreateTaskResult::new(told(&member, &task)))
}

/// How a task is, and what came of it.
pub(super) async fn get(
    caller: &Caller,
    id: &str,
    forms: Forms,
) -> Result<GetTaskResult, ErrorData> {
    check(caller, Scope::Read, "tasks/get")?;
    let (member, task) = find(caller, id).await?;
    let payload = payload(caller, &member, &task, forms).await.map_err(|error| fault(&error))?;
    Ok(GetTaskResult::new(DetailedTask::new(told(&member, &task), payload)))
}

/// Has a task stopped, and no other one of its agent. One that is over stays as it is.
pub(super) async fn cancel(caller: &Caller, id: &str) -> Result<(), ErrorData> {
    check(caller, Scope::Task, "tasks/cancel")?;
    let (member, task) = find(caller, id).await?;
    let arguments = json!({"agent_name": member.agent.name.as_str(), "task_id": task.id.0});
    settled(caller.ask("cancel_agent_task", arguments).await)
}

/// Gives a person's answer to the question of a task. One to a question that is no longer open is
/// ignored, as the protocol has it.
pub(super) async fn update(
    caller: &Caller,
    id: &str,
    responses: &InputResponses,
) -> Result<(), ErrorData> {
    check(caller, Scope::Task, "tasks/update")?;
    let (member, task) = find(caller, id).await?;
    let Some(question) = &task.question else { return Ok(()) };
    let Some(response) = responses.get(&question.id) else { return Ok(()) };
    let reply = Reply::of(response).ok_or_else(|| no_reply("no result of the form"))?;
    let chosen = matches!(reply, Reply::Chosen(_));
    let Some(choice) = reply.choice(question) else {
        return if chosen { Err(no_reply("a choice that the form does not have")) } else { Ok(()) };
    };
    let arguments = json!({
        "agent_name": member.agent.name.as_str(),
        "question_id": question.id,
        "choice": choice.id,
    });
    settled(caller.ask("answer_agent", arguments).await)
}

fn no_reply(what: &str) -> ErrorData {
    ErrorData::invalid_params(format!("inputResponses: {what}"), None)
}

/// What comes too late is no fault of the client.
fn settled(done: Result<Value, FleetError>) -> Result<(), ErrorData> {
    match done {
        Err(error) if error.code != Code::Conflict => Err(fault(&error)),
        _ => Ok(()),
    }
}

fn check(caller: &Caller, scope: Scope, method: &str) -> Result<(), ErrorData> {
    tools::check_scope(&caller.principal, scope, method).map_err(|error| fault(&error))
}

async fn find(caller: &Caller, id: &str) -> Result<(Arc<Member>, fleet::Task), ErrorData> {
    let id = parse(id).ok_or_else(unknown)?;
    caller.app.fleet_for(&caller.principal).show_task(id).await.map_err(|error| fault(&error))
}

/// Exactly as [`told`] writes it.
fn parse(id: &str) -> Option<TaskId> {
    let number: i64 = id.parse().ok()?;
    (number.to_string() == id).then_some(TaskId(number))
}

fn told(member: &Member, task: &fleet::Task) -> Task {
    let (name, at) = (&member.agent.name, task.ended_at.unwrap_or(member.agent.updated_at));
    let words = match task.status {
        fleet::TaskStatus::Running => {
            format!("agent `{name}` is {}", member.agent.status.as_str())
        }
        fleet::TaskStatus::NeedsAttention => {
            format!("agent `{name}` waits for an answer (answer_agent)")
        }
        over => over.as_str().to_owned(),
    };
    let status = TaskStatus::Working;
    Task::new(task.id.0.to_string(), status, task.created_at.to_string(), at.to_string())
        .with_status_message(words)
        .with_poll_interval_ms(POLL_MS)
}

/// A task that failed is the tool's own bad news, which is a result. `failed` is for what the server
/// can't tell the end of.
async fn payload(
    caller: &Caller,
    member: &Member,
    task: &fleet::Task,
    forms: Forms,
) -> Result<TaskPayload, FleetError> {
    use fleet::TaskStatus::{Canceled, Done, Failed, Interrupted, NeedsAttention, Running};
    let fleet = caller.app.fleet_for(&caller.principal);
    let outcome = || start_agent_task::outcome(fleet, member, task);
    Ok(match task.status {
        Running => TaskPayload::Working,
        NeedsAttention => asked(member, task, forms),
        Done => {
            TaskPayload::Completed { result: object(CallToolResult::structured(outcome().await?)) }
        }
        Failed => TaskPayload::Completed {
            result: object(CallToolResult::structured_error(outcome().await?)),
        },
        Canceled => TaskPayload::Cancelled,
        Interrupted => {
            let why = task.message.as_deref().unwrap_or("interrupted");
            let why = start_agent_task::TEXTS.show(why);
            let error = ErrorData::new(ErrorCode::INTERNAL_ERROR, why, Some(outcome().await?));
            TaskPayload::Failed { error: object(error) }
        }
    })
}

/// The question as a form, for a client that can show one; for others somebody else answers it.
fn asked(member: &Member, task: &fleet::Task, forms: Forms) -> TaskPayload {
    let form = task.question.as_ref().and_then(|question| {
        Some((question.id.clone(), form(member, question).filter(|_| forms == Forms::Shown)?))
    });
    match form {
        Some(form) => TaskPayload::InputRequired { input_requests: InputRequests::from([form]) },
        None => TaskPayload::Working,
    }
}

/// What is told of a task always serializes to an object.
fn object(value: impl Serialize) -> JsonObject {
    match serde_json::to_value(value) {
        Ok(Value::Object(object)) => object,
        _ => JsonObject::new(),
    }
}

/// The same for what does not exist, what is gone, and what is not to be seen.
fn unknown() -> ErrorData {
    ErrorData::invalid_params("unknown task: taskId names none that this token may see", None)
}

fn fault(error: &FleetError) -> ErrorData {
    match error.code {
        Code::NotFound => unknown(),
        Code::InvalidInput | Code::InsufficientScope(_) => {
            ErrorData::invalid_params(error.message.clone(), None)
        }
        _ => ErrorData::internal_error(error.message.clone(), None),
    }
}
