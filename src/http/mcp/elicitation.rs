//! An agent's question, put to the person at the client while `wait_for_agent` waits: the call is
//! answered with a form, and is made again with what the person has chosen (multi round trip requests
//! of 2026-07-28). What is chosen is answered as `answer_agent` does.
//!
//! Whoever can't be asked gets the question as the tool tells it. So does whoever has closed the form:
//! no answer is not a no.

use std::sync::Arc;

use rmcp::{
    RoleServer,
    model::{
        CallToolRequestParams, InputRequests, InputRequiredResult, ProtocolVersion,
        RequestStateCodec, SealOptions,
    },
    service::RequestContext,
};
use serde_json::json;

use super::{
    Caller,
    question::{Forms, Reply, form},
};
use crate::{
    auth::Scope,
    fleet::{Question, snapshot::Member},
};

/// The tool that waits.
const WAITS: &str = "wait_for_agent";
/// The tool that answers.
const ANSWERS: &str = "answer_agent";
/// The name of the form among the requests for input.
const FORM: &str = "answer";

/// How long a form can be answered: a person may be out for lunch. The question itself may end sooner.
const TTL: std::time::Duration = std::time::Duration::from_secs(60 * 60);

/// Seals which question a form is of. What an earlier daemon has sealed is not opened: then it is asked
/// again.
pub(super) struct Seal(RequestStateCodec);

impl Default for Seal {
    fn default() -> Self {
        let key: [u8; RequestStateCodec::MIN_KEY_LENGTH] = rand::random();
        Self(RequestStateCodec::new_unchecked(key))
    }
}

/// A call whose client can put questions to a person.
pub(super) struct Asker<'a> {
    caller: &'a Caller,
    seal: &'a Seal,
    agent: String,
}

impl<'a> Asker<'a> {
    /// `None` if this call waits for no agent, its client can't ask, or its token may not answer.
    pub(super) fn of(
        request: &CallToolRequestParams,
        context: &RequestContext<RoleServer>,
        caller: &'a Caller,
        seal: &'a Seal,
    ) -> Option<Self> {
        let agent = request.arguments.as_ref()?.get("agent_name")?.as_str()?;
        let asks =
            request.name == WAITS && has_forms(context) && caller.principal.allows(Scope::Task);
        asks.then(|| Self { caller, seal, agent: agent.to_ascii_lowercase() })
    }

    /// Passes on what the person has chosen, if anything. Whether there is more to ask: who has closed
    /// the form, or has chosen too late, is told how things are.
    pub(super) async fn hear(&self, request: &CallToolRequestParams) -> bool {
        let state = request.request_state.as_deref();
        let Some(asked) = state.and_then(|state| self.open(state)) else { return true };
        let responses = request.input_responses.as_ref();
        let Some(response) = responses.and_then(|responses| responses.get(FORM)) else {
            return true;
        };
        let member = self.member();
        let question = member.as_deref().and_then(question).filter(|open| open.id == asked);
        let (Some(question), Some(reply)) = (question, Reply::of(response)) else { return false };
        let Some(choice) = reply.choice(question) else { return false };
        let answer = json!({"agent_name": self.agent, "question_id": asked, "choice": choice.id});
        self.caller.ask(ANSWERS, answer).await.is_ok()
    }

    /// The form for the agent's present question.
    pub(super) fn form(&self) -> Option<InputRequiredResult> {
        let member = self.member()?;
        let question = question(&member)?;
        let requests = InputRequests::from([(FORM.to_owned(), form(&member, question)?)]);
        let bound = self.bound();
        let options = SealOptions::new().associated_data(bound.as_bytes()).ttl(TTL);
        let state = self.seal.0.seal_with(question.id.as_bytes(), &options);
        Some(InputRequiredResult::new(Some(requests), Some(state)))
    }

    fn member(&self) -> Option<Arc<Member>> {
        self.caller.app.fleet_for(&self.caller.principal).show_agent(&self.agent).ok()
    }

    /// The question that a form was of, if we have sealed it for this principal and agent.
    fn open(&self, state: &str) -> Option<String> {
        let opened = self.seal.0.open_with(state, self.bound().as_bytes());
        opened.ok().and_then(|question| String::from_utf8(question).ok())
    }

    /// Neither name has a line break.
    fn bound(&self) -> String {
        format!("{}\n{}", self.caller.principal.name(), self.agent)
    }
}

fn question(member: &Member) -> Option<&Question> {
    member.task.as_ref()?.question.as_ref()
}

/// Whether the client speaks the version that has forms without sessions, and shows them.
fn has_forms(context: &RequestContext<RoleServer>) -> bool {
    let version = context.protocol_version();
    version.is_some_and(|version| version >= ProtocolVersion::V_2026_07_28)
        && Forms::of(context) == Forms::Shown
}
