//! An agent's question as a form of the protocol, and what comes back. Who puts it to a person, and
//! when, is for `elicitation` and `tasks`.

use rmcp::{
    RoleServer,
    model::{
        ElicitRequest, ElicitRequestParams, ElicitResult, ElicitationAction, ElicitationSchema,
        EnumSchema, InputRequest, PrimitiveSchemaDefinition,
    },
    service::RequestContext,
};
use serde_json::Value;

use crate::{
    fleet::{
        Question,
        snapshot::Member,
        task::{Choice, ChoiceKind},
    },
    tools::{
        untrusted::{NOTICE, shown},
        wire,
    },
};

/// The one field of the form.
const FIELD: &str = "choice";

/// Whether a client can put a form before a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Forms {
    Shown,
    Unknown,
}

impl Forms {
    /// As the request says. Elicitation without further words means forms.
    pub(super) fn of(context: &RequestContext<RoleServer>) -> Self {
        let elicitation = context.client_capabilities().and_then(|client| client.elicitation);
        match elicitation {
            Some(kinds) if kinds.form.is_some() || kinds.url.is_none() => Self::Shown,
            _ => Self::Unknown,
        }
    }
}

/// What a person has done with the form.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Reply {
    /// The choice of this text, which may be none of the form's.
    Chosen(String),
    /// A no to what was asked, without a choice.
    Declined,
    /// Nothing: the question stays open.
    Closed,
}

impl Reply {
    /// `None` if this is no result of the form.
    pub(super) fn of(response: &Value) -> Option<Self> {
        let result: ElicitResult = serde_json::from_value(response.clone()).ok()?;
        Some(match result.action {
            ElicitationAction::Accept => {
                Self::Chosen(result.content.as_ref()?.get(FIELD)?.as_str()?.to_owned())
            }
            ElicitationAction::Decline => Self::Declined,
            _ => Self::Closed,
        })
    }

    /// The choice of this question that it stands for. To decline is to say no, where there is a no.
    pub(super) fn choice(self, question: &Question) -> Option<&Choice> {
        let of_kind = |kind| question.choices.iter().find(|choice| choice.kind == kind);
        match self {
            Self::Chosen(id) => question.choices.iter().find(|choice| shown(&choice.id) == id),
            Self::Declined => {
                of_kind(ChoiceKind::RejectOnce).or_else(|| of_kind(ChoiceKind::RejectAlways))
            }
            Self::Closed => None,
        }
    }
}

/// `None` if the question has no choices.
pub(super) fn form(member: &Member, question: &Question) -> Option<InputRequest> {
    let ids = question.choices.iter().map(|choice| shown(&choice.id)).collect();
    let titles = question.choices.iter().map(title).collect();
    let one = EnumSchema::builder(ids).enum_titles(titles).ok()?.title("Your answer").build();
    let field = PrimitiveSchemaDefinition::Enum(one);
    let params = ElicitRequestParams::FormElicitationParams {
        meta: None,
        message: message(member, question),
        requested_schema: ElicitationSchema::builder()
            .required_property(FIELD, field)
            .build()
            .ok()?,
    };
    Some(InputRequest::Elicitation(ElicitRequest::new(params)))
}

fn message(member: &Member, question: &Question) -> String {
    let agent = &member.agent;
    format!(
        "Agent `{}` of the project `{}` asks for permission. What it wants to do, {NOTICE}:\n\n{}",
        agent.name,
        agent.project,
        wire::QUESTION.show(&question.text)
    )
}

/// What a choice means is the fleet's word; what it is called is the agent's, who may call a yes a no.
fn title(choice: &Choice) -> String {
    format!("{} ({})", wire::CHOICE.show(&choice.name), choice.kind.as_str().replace('_', " "))
}
