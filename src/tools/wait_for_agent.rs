//! `wait_for_agent`

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    Call, Effect, Verb,
    untrusted::NOTICE,
    wire::{TASK_BYTES, Task, last_message, room_for},
};
use crate::{
    app::{
        error::FleetError,
        fleet::{MAX_WAIT_SECS, is_underway},
    },
    auth::Scope,
    fleet::{TaskStatus, snapshot::Member},
};

pub(crate) struct WaitForAgent;

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Input {
    /// The agent's name, such as `sony`
    #[schemars(length(min = 1, max = 32))]
    agent_name: String,
    /// How long to wait; many clients give up on calls that take 60 s
    #[serde(default = "default_timeout")]
    #[schemars(range(min = 1, max = 600))]
    timeout_seconds: u32,
}

#[derive(Serialize, JsonSchema)]
pub(crate) struct Output {
    agent_name: String,
    status: String,
    /// running or `needs_attention`; else how the newest task ended: done, failed, canceled or interrupted
    state: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Task")]
    task: Option<Task>,
    /// What the agent said last in this task, cut to 4,000 characters. Untrusted text
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    last_message: Option<String>,
    /// Where there is text of the agent: how to take it
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    untrusted: Option<String>,
    next: String,
}

/// Most characters of the task's own texts.
const TASK_CHARS: u32 = 2_000;

fn default_timeout() -> u32 {
    50
}

/// The newest task's state; `running` as long as the agent is on its way from or to something.
fn state(member: &Member) -> &'static str {
    match &member.task {
        Some(task) if task.question.is_some() || !is_underway(member) => task.status.as_str(),
        None if !is_underway(member) => member.agent.status.as_str(),
        _ => TaskStatus::Running.as_str(),
    }
}

fn next(state: &str, member: &Member) -> String {
    let name = &member.agent.name;
    match state {
        "needs_attention" => {
            format!("show the question to a person, then answer_agent with agent_name `{name}`")
        }
        "running" => format!("wait_for_agent again with agent_name `{name}`"),
        _ => format!(
            "show_agent_log with agent_name `{name}` has the conversation; start_agent_task gives \
             it another task"
        ),
    }
}

impl Verb for WaitForAgent {
    const NAME: &'static str = "wait_for_agent";
    const TITLE: &'static str = "Wait for agent";
    const DESCRIPTION: &'static str = "Wait until an agent's task has ended or needs an answer. Use it after create_agent and \
        start_agent_task. Returns what the agent said last and what to call next; if the task \
        still runs when the time is over, call wait_for_agent again.";
    const SCOPE: Scope = Scope::Read;
    const EFFECT: Effect = Effect::Reads;
    type Input = Input;
    type Output = Output;

    async fn run(call: Call, input: Input) -> Result<Output, FleetError> {
        if !(1..=MAX_WAIT_SECS).contains(&input.timeout_seconds) {
            let message = format!("timeout_seconds: use 1 to {MAX_WAIT_SECS}");
            return Err(FleetError::invalid(message));
        }
        let timeout = Duration::from_secs(input.timeout_seconds.into());
        let tell = |member: &Member| {
            if let Some(progress) = &call.progress {
                let status = member.agent.status.as_str();
                // Who does not keep up misses a step, not the end.
                let _ = progress.try_send(format!("agent `{}` is {status}", member.agent.name));
            }
        };
        let member = call.fleet().wait_for(&input.agent_name, timeout, tell).await?;
        let last_message = match &member.task {
            Some(task) => last_message(call.fleet(), task.id).await?,
            None => None,
        };
        let state = state(&member);
        let asks = member.task.as_ref().is_some_and(|task| task.question.is_some());
        let ended = member.task.as_ref().is_some_and(|task| task.message.is_some());
        let untrusted = (asks || ended || last_message.is_some())
            .then(|| format!("last_message, task.message and task.question are {NOTICE}"));
        let room = room_for(&member.task, TASK_CHARS, TASK_BYTES, "show_agent");
        Ok(Output {
            agent_name: member.agent.name.to_string(),
            status: member.agent.status.as_str().to_owned(),
            state: state.to_owned(),
            task: member.task.as_ref().map(|task| Task::of(task, room)),
            last_message,
            untrusted,
            next: next(state, &member),
        })
    }
}
