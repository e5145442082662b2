//! What the program must not do without being allowed to.

use agent_client_protocol::v1::schema::{
    PermissionOption, PermissionOptionKind, RequestId, RequestPermissionOutcome,
    RequestPermissionResponse, SelectedPermissionOutcome,
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::words::one_line;
use crate::{
    app::ports::sessions::Permissions,
    fleet::{
        Question,
        task::{Choice, ChoiceKind},
    },
};

/// Questions that may be open at once. A person looks at one.
const MOST_OPEN: usize = 16;
const MOST_CHOICES: usize = 16;
/// Longer identities are no identities: such a choice is not offered.
const CHOICE_ID_BYTES: usize = 512;

/// What a request for permission gets.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Decision {
    /// A person is asked.
    Ask,
    /// This choice, by policy.
    Choose(Choice),
    /// No answer but "canceled", for this reason.
    Cancel(&'static str),
}

/// What can be chosen.
pub(super) fn choices(options: Vec<PermissionOption>) -> Vec<Choice> {
    let known = options.into_iter().filter_map(|option| {
        let kind = match option.kind {
            PermissionOptionKind::AllowOnce => ChoiceKind::AllowOnce,
            PermissionOptionKind::AllowAlways => ChoiceKind::AllowAlways,
            PermissionOptionKind::RejectOnce => ChoiceKind::RejectOnce,
            PermissionOptionKind::RejectAlways => ChoiceKind::RejectAlways,
            _ => return None,
        };
        let id = option.option_id.to_string();
        let fits = !id.is_empty() && id.len() <= CHOICE_ID_BYTES;
        fits.then(|| Choice { id, name: one_line(&option.name, 200), kind })
    });
    known.take(MOST_CHOICES).collect()
}

/// What the policy says. A blanket rule allows once, never always.
pub(super) fn decide(policy: Permissions, choices: &[Choice]) -> Decision {
    if choices.is_empty() {
        return Decision::Cancel("it offers no choice");
    }
    let of = |kind| choices.iter().find(|choice| choice.kind == kind).cloned();
    match policy {
        Permissions::Ask => Decision::Ask,
        Permissions::Allow => of(ChoiceKind::AllowOnce).map_or(Decision::Ask, Decision::Choose),
        Permissions::Deny => of(ChoiceKind::RejectOnce)
            .map_or(Decision::Cancel("the role denies what needs permission"), Decision::Choose),
    }
}

/// The questions that wait for a person. Stored as they are.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Questions {
    /// Tells the questions of this session from those of an earlier one, so that a late answer
    /// allows nothing else.
    prefix: String,
    asked: u64,
    open: Vec<Open>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Open {
    question: String,
    request: RequestId,
    choices: Vec<String>,
}

impl Questions {
    pub(super) fn new(now: Timestamp) -> Self {
        Self { prefix: format!("q{:x}", now.as_millisecond()), asked: 0, open: Vec::new() }
    }

    /// A question to be asked; `None` if too many are open.
    pub(super) fn ask(
        &mut self,
        request: RequestId,
        text: String,
        choices: Vec<Choice>,
        now: Timestamp,
    ) -> Option<Question> {
        if self.open.len() == MOST_OPEN {
            return None;
        }
        self.asked += 1;
        let id = format!("{}-{}", self.prefix, self.asked);
        self.open.push(Open {
            question: id.clone(),
            request,
            choices: choices.iter().map(|choice| choice.id.clone()).collect(),
        });
        Some(Question { id, text, choices, asked_at: now })
    }

    /// The request that this answers.
    ///
    /// # Errors
    /// The question is not open, or has no such choice; it stays as it is.
    pub(super) fn answer(&mut self, question: &str, choice: &str) -> Result<RequestId, Unanswered> {
        let at = self.open.iter().position(|open| open.question == question);
        let at = at.ok_or(Unanswered::NotOpen)?;
        if !self.open[at].choices.iter().any(|known| known == choice) {
            return Err(Unanswered::NoSuchChoice);
        }
        Ok(self.open.remove(at).request)
    }

    /// Takes back what this request asked: the question's identity.
    pub(super) fn withdraw(&mut self, request: &RequestId) -> Option<String> {
        let at = self.open.iter().position(|open| open.request == *request)?;
        Some(self.open.remove(at).question)
    }

    /// Takes back everything: questions and the requests that asked them.
    pub(super) fn withdraw_all(&mut self) -> Vec<(String, RequestId)> {
        self.open.drain(..).map(|open| (open.question, open.request)).collect()
    }
}

/// Why an answer was not passed on.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Unanswered {
    NotOpen,
    NoSuchChoice,
}

pub(super) fn chosen(choice: &str) -> RequestPermissionResponse {
    let selected = SelectedPermissionOutcome::new(choice.to_owned());
    RequestPermissionResponse::new(RequestPermissionOutcome::Selected(selected))
}

pub(super) fn canceled() -> RequestPermissionResponse {
    RequestPermissionResponse::new(RequestPermissionOutcome::Cancelled)
}
