//! `show_agent_task_history`

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    Call, Effect, Verb,
    wire::{Paging, TASKS_BYTES, Task, check_chars, notice, room_for},
};
use crate::{
    app::{error::FleetError, ports::fleet_store::Page},
    auth::Scope,
};

pub(crate) struct ShowAgentTaskHistory;

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Input {
    /// The agent's name, such as `sony`
    #[schemars(length(min = 1, max = 32))]
    agent_name: String,
    /// The page, from 1, the newest
    #[serde(default = "first_page")]
    #[schemars(range(min = 1))]
    page: u32,
    /// Tasks a page
    #[serde(default = "page_size")]
    #[schemars(range(min = 1, max = 100))]
    page_size: u32,
    /// Most characters of each text; a longer one is cut and says so
    #[serde(default = "max_chars")]
    #[schemars(range(min = 1, max = 100_000))]
    max_chars: u32,
}

/// Unless it is said.
fn max_chars() -> u32 {
    500
}

#[derive(Serialize, JsonSchema)]
pub(crate) struct Output {
    agent_name: String,
    tasks: Vec<Task>,
    /// Where there is text of the agent: how to take it
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    untrusted: Option<String>,
    #[serde(flatten)]
    paging: Paging,
}

fn first_page() -> u32 {
    1
}

fn page_size() -> u32 {
    20
}

impl Verb for ShowAgentTaskHistory {
    const NAME: &'static str = "show_agent_task_history";
    const TITLE: &'static str = "Show task history";
    const DESCRIPTION: &'static str = "Show an agent's tasks and how they ended, newest first. Use it to see what an agent has \
        worked on before; show_agent has the newest task alone, show_agent_log the conversation.";
    const SCOPE: Scope = Scope::Read;
    const EFFECT: Effect = Effect::Reads;
    type Input = Input;
    type Output = Output;

    async fn run(call: Call, input: Input) -> Result<Output, FleetError> {
        let page = Page { number: input.page, size: input.page_size };
        check_chars(input.max_chars)?;
        let found = call.fleet().history(&input.agent_name, page).await?;
        let more = "ask for more max_chars, or fewer on a page";
        let room = room_for(&found.items, input.max_chars, TASKS_BYTES, more);
        Ok(Output {
            agent_name: input.agent_name,
            untrusted: notice(&found.items, "tasks"),
            tasks: found.items.iter().map(|task| Task::of(task, room)).collect(),
            paging: Paging::of(found.total, input.page, input.page_size),
        })
    }
}
