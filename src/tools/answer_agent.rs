//! `answer_agent`

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Call, Effect, Verb, untrusted::shown};
use crate::{
    app::error::FleetError,
    auth::Scope,
    fleet::{snapshot::Member, task::ChoiceKind},
};

pub(crate) struct AnswerAgent;

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Input {
    /// The agent's name, such as `sony`
    #[schemars(length(min = 1, max = 32))]
    agent_name: String,
    /// The id or the kind of one of the question's choices, such as `allow_once` or `reject_once`
    #[schemars(length(min = 1, max = 4096))]
    choice: String,
    /// The question's id, so that no other is answered; the present question by default
    #[serde(default)]
    #[schemars(with = "String", length(min = 1, max = 256))]
    question_id: Option<String>,
}

#[derive(Serialize, JsonSchema)]
pub(crate) struct Output {
    agent_name: String,
    message: String,
}

impl Verb for AnswerAgent {
    const NAME: &'static str = "answer_agent";
    const TITLE: &'static str = "Answer agent";
    const DESCRIPTION: &'static str = "Answer the question that an agent waits with; wait_for_agent and show_agent have it. \
        Show it to a person first: nobody knows that what the agent wants to do is safe. Next: \
        wait_for_agent.";
    const SCOPE: Scope = Scope::Task;
    const EFFECT: Effect = Effect::Changes;
    type Input = Input;
    type Output = Output;

    async fn run(call: Call, input: Input) -> Result<Output, FleetError> {
        let member = call.fleet().show_agent(&input.agent_name)?;
        let choice = meant(&member, input.choice)?;
        let answered = call.fleet().answer(&input.agent_name, input.question_id, choice).await?;
        let agent_name = answered.agent.name.to_string();
        let message = format!("Agent '{agent_name}' has the answer; next: wait_for_agent");
        Ok(Output { agent_name, message })
    }
}

/// The choice in the agent's own spelling: what can't be seen was spelled out where it was shown.
fn meant(member: &Member, choice: String) -> Result<String, FleetError> {
    if ChoiceKind::from_word(&choice).is_some() {
        return Ok(choice);
    }
    let question = member.task.as_ref().and_then(|task| task.question.as_ref());
    let choices = question.map_or(&[][..], |question| &question.choices);
    let mut alike = choices.iter().filter(|known| shown(&known.id) == choice);
    let Some(meant) = alike.next() else { return Ok(choice) };
    if alike.any(|other| other.id != meant.id) {
        let help = "choice: two choices of the agent look like this; answer by the kind";
        return Err(FleetError::invalid(help));
    }
    Ok(meant.id.clone())
}
