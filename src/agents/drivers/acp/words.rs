//! What the program's errors and ends are called for people.

use agent_client_protocol::v1::schema::{Error, ErrorCode, StopReason};
use serde_json::Value;

use crate::app::ports::sessions::Outcome;

/// An error in words, without a full stop.
pub(super) fn failure(error: &Error, logins: &[String]) -> String {
    // What JSON-RPC calls its code for "something else" says nothing before what is the matter.
    let message = error.message.trim();
    let message = clip(message.strip_prefix("Internal error: ").unwrap_or(message), 1_000);
    if error.code == ErrorCode::AuthRequired {
        return auth_required(&message, logins);
    }
    match kind(error).as_deref() {
        Some(kind) => format!("{}: {message}", kind_in_words(kind)),
        None => match detail(error) {
            Some(detail) if !message.contains(&detail) => format!("{message}: {detail}"),
            _ => message,
        },
    }
}

fn auth_required(message: &str, logins: &[String]) -> String {
    let mut text = format!(
        "the agent is not logged in ({message}); give its role what it needs to log in, as \
         `environment`, `environment_file` or `credentials`"
    );
    if !logins.is_empty() {
        text.push_str("; it knows: ");
        text.push_str(&logins.join(", "));
    }
    text
}

/// The machine's word for the error: claude-agent-acp and codex-acp each have their own place for it.
fn kind(error: &Error) -> Option<String> {
    let data = error.data.as_ref()?;
    let kind = data.get("errorKind").or_else(|| data.get("codexErrorInfo"))?;
    match kind {
        Value::String(word) => Some(clip(word, 100)),
        Value::Object(tagged) => tagged.keys().next().map(|word| clip(word, 100)),
        _ => None,
    }
}

fn kind_in_words(kind: &str) -> String {
    let words = match kind {
        "rate_limit" | "usageLimitExceeded" => "usage limit reached",
        "overloaded" | "serverOverloaded" => "the model's provider is overloaded",
        "authentication_failed" | "unauthorized" => "the model's provider refuses the login",
        "billing_error" => "the model's provider wants to be paid",
        "contextWindowExceeded" => "the conversation is too long for the model",
        "server_error" | "internalServerError" => "the model's provider failed",
        other => return format!("error `{other}`"),
    };
    words.to_owned()
}

/// What the error says beside its message, if that is text.
fn detail(error: &Error) -> Option<String> {
    let data = error.data.as_ref()?;
    let text = match data {
        Value::String(text) => Some(text.as_str()),
        data => ["details", "message", "reason", "error"]
            .into_iter()
            .find_map(|name| data.get(name).and_then(Value::as_str)),
    };
    text.map(|text| clip(text.trim(), 500)).filter(|text| !text.is_empty())
}

/// How a turn that ended by itself ended.
pub(super) fn outcome(reason: StopReason) -> Outcome {
    let why = match reason {
        StopReason::EndTurn => return Outcome::Done,
        StopReason::Cancelled => return Outcome::Canceled,
        StopReason::MaxTokens => "the agent reached the model's limit of tokens",
        StopReason::MaxTurnRequests => "the agent reached its limit of requests to the model",
        StopReason::Refusal => "the agent refused to go on",
        _ => "the agent stopped for a reason that this version doesn't know",
    };
    Outcome::Failed(why.to_owned())
}

/// At most `most` characters of a text; says how many are missing.
pub(super) fn clip(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        None => text.to_owned(),
        Some((end, _)) => {
            let (kept, left) = text.split_at(end);
            format!("{kept}… ({} more characters)", left.chars().count())
        }
    }
}

/// A text on one line.
pub(super) fn one_line(text: &str, most: usize) -> String {
    clip(text.split_whitespace().collect::<Vec<_>>().join(" ").as_str(), most)
}
