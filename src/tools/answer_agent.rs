//! `answer_agent`

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Call, Effect, Verb};
use crate::{app::error::FleetError, auth::Scope};

pub(crate) struct AnswerAgent;

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Input {
    /// Name of the agent
    #[schemars(length(min = 1, max = 32))]
    agent_name: String,
    /// The answer: the id or the kind of one of the choices, such as `allow_once` or `reject_once`
    #[schemars(length(min = 1, max = 256))]
    choice: String,
    /// The question's id; the present question if it is left out
    #[serde(default)]
    #[schemars(with = "String", length(min = 1, max = 256))]
    question_id: Option<String>,
}

#[derive(Serialize, JsonSchema)]
pub(crate) struct Output {
    /// The agent
    agent_name: String,
    /// What was done, and what to call next
    message: String,
}

impl Verb for AnswerAgent {
    const NAME: &'static str = "answer_agent";
    const TITLE: &'static str = "Answer agent";
    const DESCRIPTION: &'static str = "Answer the question that an agent waits with (show_agent and wait_for_agent have it). \
        Ask a person first: nobody knows that what the agent wants to do is safe.";
    const SCOPE: Scope = Scope::Task;
    const EFFECT: Effect = Effect::Changes;
    type Input = Input;
    type Output = Output;

    async fn run(call: Call, input: Input) -> Result<Output, FleetError> {
        let answered =
            call.fleet().answer(&input.agent_name, input.question_id, input.choice).await?;
        let agent_name = answered.agent.name.to_string();
        let message = format!("Agent '{agent_name}' has the answer; next: wait_for_agent");
        Ok(Output { agent_name, message })
    }
}
