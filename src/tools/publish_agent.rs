//! `publish_agent`

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Call, Effect, Verb, wire::Publication};
use crate::{app::error::FleetError, auth::Scope, fleet::Status};

pub(crate) struct PublishAgent;

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Input {
    /// The agent's name, such as `sony`
    #[schemars(length(min = 1, max = 32))]
    agent_name: String,
}

#[derive(Serialize, JsonSchema)]
pub(crate) struct Output {
    agent_name: String,
    /// Where its work is
    #[serde(flatten)]
    publication: Publication,
    message: String,
}

impl Verb for PublishAgent {
    const NAME: &'static str = "publish_agent";
    const TITLE: &'static str = "Publish work";
    const DESCRIPTION: &'static str = "Publish an agent's branch in a bare repository on the server; the answer has the git \
        fetch that gets it. Use it once wait_for_agent says done: then uncommitted work is \
        committed first. While a task runs, only commits are published. The agent stays.";
    const SCOPE: Scope = Scope::Task;
    const EFFECT: Effect = Effect::Changes;
    type Input = Input;
    type Output = Output;

    async fn run(call: Call, input: Input) -> Result<Output, FleetError> {
        let (member, publication) = call.fleet().publish_agent(&input.agent_name).await?;
        let agent_name = member.agent.name.to_string();
        let in_turn = matches!(member.agent.status, Status::Busy | Status::Canceling);
        let missing = match in_turn {
            true => " (its task runs: what it has not committed yet is left out)",
            false => "",
        };
        let message = format!(
            "Work of agent '{agent_name}' published{missing}; get it with: {}",
            publication.fetch()
        );
        Ok(Output { agent_name, publication: (&publication).into(), message })
    }
}
