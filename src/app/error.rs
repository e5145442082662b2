//! Why a use case of the fleet could not be carried out, for whoever asked.

use crate::{
    auth::Scope,
    fleet::{TaskId, lifecycle::Refused},
};

/// An answer that says what is wrong and what would be right. Never holds internals.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct FleetError {
    /// What kind of fault it is.
    pub code: Code,
    /// One or two sentences.
    pub message: String,
}

/// The kinds of faults, as every interface names them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    /// The arguments can't be understood or are outside their limits.
    InvalidInput,
    /// What was named does not exist.
    NotFound,
    /// It is not the moment for it, or somebody else was faster.
    Conflict,
    /// The token lacks this scope.
    InsufficientScope(Scope),
    /// The daemon can't do it just now.
    Unavailable,
}

impl Code {
    /// The word for it on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::InvalidInput => "INVALID_INPUT",
            Self::NotFound => "NOT_FOUND",
            Self::Conflict => "CONFLICT",
            Self::Unavailable => "SERVICE_UNAVAILABLE",
            Self::InsufficientScope(_) => "INSUFFICIENT_SCOPE",
        }
    }

    /// HTTP's number for it, which both planes answer with.
    pub fn http_status(self) -> u16 {
        match self {
            Self::InvalidInput => 400,
            Self::InsufficientScope(_) => 403,
            Self::NotFound => 404,
            Self::Conflict => 409,
            Self::Unavailable => 503,
        }
    }
}

impl FleetError {
    /// The arguments are wrong.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self { code: Code::InvalidInput, message: message.into() }
    }

    /// It is not the moment for it.
    pub fn conflict(message: impl Into<String>) -> Self {
        Self { code: Code::Conflict, message: message.into() }
    }

    /// The daemon can't do it just now.
    pub fn unavailable(message: impl Into<String>) -> Self {
        Self { code: Code::Unavailable, message: message.into() }
    }

    /// There is no such task, or none that is to be seen.
    pub fn no_task(id: TaskId) -> Self {
        Self { code: Code::NotFound, message: format!("task `{}` not found", id.0) }
    }

    /// The token lacks a scope that something needs.
    pub fn insufficient_scope(token: &str, scope: Scope, what: &str) -> Self {
        let message = format!("token `{token}` lacks the scope `{scope}` that `{what}` needs");
        Self { code: Code::InsufficientScope(scope), message }
    }

    /// Something does not exist; names what there is, or says that there is nothing.
    pub fn not_found<'a>(
        noun: &str,
        name: &str,
        there_is: impl IntoIterator<Item = &'a str>,
    ) -> Self {
        let name: String = name.chars().take(MAX_ECHO).collect();
        let all: Vec<_> = there_is.into_iter().take(MAX_NAMED + 1).collect();
        let known = match all.as_slice() {
            [] => format!("there are no {noun}s yet"),
            few if few.len() <= MAX_NAMED => format!("there is: {}", few.join(", ")),
            many => format!("there is: {}, and more", many[..MAX_NAMED].join(", ")),
        };
        Self { code: Code::NotFound, message: format!("{noun} `{name}` not found; {known}") }
    }
}

/// Most characters of what the caller sent that an answer repeats.
const MAX_ECHO: usize = 64;
/// Most names that an answer lists.
const MAX_NAMED: usize = 20;

impl From<Refused> for FleetError {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Conflict(message) => Self::conflict(message),
            Refused::Invalid(message) => Self::invalid(message),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn not_found_says_what_there_is_within_bounds() {
        let names: Vec<_> = (0..30).map(|n| format!("a{n}")).collect();

        let none = FleetError::not_found("agent", "x", []);
        let few = FleetError::not_found("project", "x", ["a", "b"]);
        let many = FleetError::not_found("agent", &"x".repeat(999), names.iter().map(|n| &**n));

        assert_eq!(none.message, "agent `x` not found; there are no agents yet");
        assert_eq!(few.message, "project `x` not found; there is: a, b");
        assert!(many.message.ends_with("a19, and more"), "{}", many.message);
        assert!(many.message.len() < 300);
    }
}
