//! `show_agent`

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    Call, Effect, Verb,
    wire::{AgentDetails, TASK_BYTES, Task, check_chars, notice, room_for},
};
use crate::{app::error::FleetError, auth::Scope};

pub(crate) struct ShowAgent;

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Input {
    /// The agent's name, such as `sony`
    #[schemars(length(min = 1, max = 32))]
    agent_name: String,
    /// Most characters of each text; a longer one is cut and says so
    #[serde(default = "max_chars")]
    #[schemars(range(min = 1, max = 100_000))]
    max_chars: u32,
}

/// Unless it is said.
fn max_chars() -> u32 {
    2_000
}

#[derive(Serialize, JsonSchema)]
pub(crate) struct Output {
    agent: Agent,
    /// Where there is text of the agent: how to take it
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    untrusted: Option<String>,
}

#[derive(Serialize, JsonSchema)]
struct Agent {
    #[serde(flatten)]
    details: AgentDetails,
    /// Absent before the first
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Task")]
    task: Option<Task>,
}

impl Verb for ShowAgent {
    const NAME: &'static str = "show_agent";
    const TITLE: &'static str = "Show agent";
    const DESCRIPTION: &'static str = "Show one agent: its status, its newest task, how that ended, and what it asks if it \
        waits for an answer. Next: answer_agent for the question, show_agent_log for what it \
        said, start_agent_task if it is idle.";
    const SCOPE: Scope = Scope::Read;
    const EFFECT: Effect = Effect::Reads;
    type Input = Input;
    type Output = Output;

    async fn run(call: Call, input: Input) -> Result<Output, FleetError> {
        let member = call.fleet().show_agent(&input.agent_name)?;
        check_chars(input.max_chars)?;
        let room = room_for(&member.task, input.max_chars, TASK_BYTES, "ask for more max_chars");
        let task = member.task.as_ref().map(|task| Task::of(task, room));
        let untrusted = notice(&member.task, "agent.task");
        Ok(Output { agent: Agent { details: (&*member).into(), task }, untrusted })
    }
}
