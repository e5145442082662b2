//! `start_agent_task`

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    Call, Effect, Verb, answer,
    untrusted::{NOTICE, Room},
    wire::last_message,
};
use crate::{
    app::{error::FleetError, fleet::Fleet},
    auth::Scope,
    fleet::{Task, snapshot::Member},
};

/// The tool's name.
pub(crate) const NAME: &str = "start_agent_task";

/// Of the texts of a task that is over.
pub(crate) const TEXTS: Room = Room::of(2_000, "show_agent_task_history");

pub(crate) struct StartAgentTask;

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Input {
    /// The agent's name, such as `sony`
    #[schemars(length(min = 1, max = 32))]
    agent_name: String,
    /// What is to be done: the goal, the limits and how to tell that it is reached; the agent sees nothing
    /// of this conversation
    #[schemars(length(min = 1, max = 65536))]
    task_description: String,
}

#[derive(Serialize, JsonSchema)]
pub(crate) struct Output {
    agent_name: String,
    task_description: String,
    task_id: i64,
    message: String,
    /// How the task ended; this and the rest only in what a handle of MCP's tasks leads to
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    state: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    last_message: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    untrusted: Option<String>,
}

impl Verb for StartAgentTask {
    const NAME: &'static str = NAME;
    const TITLE: &'static str = "Start task";
    const DESCRIPTION: &'static str = "Give an idle agent a task. It has its workspace as it left it, and remembers its \
        conversation. Returns at once. Next: wait_for_agent.";
    const SCOPE: Scope = Scope::Task;
    const EFFECT: Effect = Effect::Changes;
    type Input = Input;
    type Output = Output;

    async fn run(call: Call, input: Input) -> Result<Output, FleetError> {
        let member = call.fleet().start_task(&input.agent_name, &input.task_description).await?;
        let agent_name = member.agent.name.to_string();
        Ok(Output {
            message: format!(
                "Task assigned to agent '{agent_name}' successfully; next: wait_for_agent"
            ),
            agent_name,
            task_description: input.task_description,
            task_id: member.task.as_ref().map_or(0, |task| task.id.0),
            state: None,
            last_message: None,
            untrusted: None,
        })
    }
}

/// The tool's answer once the task is over, for clients that were given a handle at its start. It
/// fits the tool's output schema.
///
/// # Errors
/// When the store can't be read.
pub(crate) async fn outcome(
    fleet: Fleet<'_>,
    member: &Member,
    task: &Task,
) -> Result<Value, FleetError> {
    let agent_name = member.agent.name.to_string();
    let state = task.status.as_str();
    let why = task.message.as_ref().map(|why| format!(": {}", TEXTS.show(why))).unwrap_or_default();
    let last_message = last_message(fleet, task.id).await?;
    answer(Output {
        message: format!(
            "Task of agent '{agent_name}' ended as {state}{why}; show_agent_log has the conversation"
        ),
        agent_name,
        task_description: TEXTS.show(&task.description),
        task_id: task.id.0,
        state: Some(state.to_owned()),
        untrusted: Some(format!("last_message and the reason in message are {NOTICE}")),
        last_message,
    })
}
