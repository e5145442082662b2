//! One log entry, owned and clean: what the queue carries and both sinks write.

use jiff::Timestamp;
use tracing::{Level, Metadata};

use super::text::Clean;
use crate::app::{
    audit::kinds,
    log_targets::AUDIT_TARGET,
    ports::event_store::{Event, Trail},
};

/// Our name in the journal and in human lines.
pub(super) const IDENTIFIER: &str = "fleet-mcp";

/// The name space of our fields.
pub(super) const PREFIX: &str = "FLEET_";

/// journald's limit for a field's name.
const NAME_LIMIT: usize = 64;

/// How urgent an entry is, as syslog(3) counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Priority {
    Error = 3,
    Warning = 4,
    Info = 6,
    Debug = 7,
}

impl From<&Level> for Priority {
    fn from(level: &Level) -> Self {
        match *level {
            Level::ERROR => Self::Error,
            Level::WARN => Self::Warning,
            Level::INFO => Self::Info,
            Level::DEBUG | Level::TRACE => Self::Debug,
        }
    }
}

/// An entry. Its texts have been cleaned, and its fields bear journal names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) time: Timestamp,
    pub(super) priority: Priority,
    /// Where it comes from; `None` for audit events, which carry exactly the fields they list.
    pub(super) target: Option<&'static str>,
    pub(super) message: String,
    pub(super) fields: Vec<(String, String)>,
}

impl Entry {
    /// An entry without message and fields yet.
    pub(super) fn of_event(metadata: &Metadata<'static>, time: Timestamp) -> Self {
        Self {
            time,
            priority: metadata.level().into(),
            target: (metadata.target() != AUDIT_TARGET).then_some(metadata.target()),
            message: String::new(),
            fields: Vec::new(),
        }
    }

    /// The entry of an audit event as it is to be recorded, with fields named as in human lines.
    pub(super) fn to_event(&self) -> Event {
        let mut event = Event {
            time: self.time,
            event: String::new(),
            trail: Trail::Audit,
            agent: None,
            token: None,
            message: self.message.clone(),
            fields: Vec::new(),
        };
        for (name, value) in &self.fields {
            match name.strip_prefix(PREFIX) {
                Some("EVENT") => event.event.clone_from(value),
                Some("AGENT") => event.agent = Some(value.clone()),
                Some("TOKEN") => event.token = Some(value.clone()),
                Some(name) => event.fields.push((name.to_ascii_lowercase(), value.clone())),
                // `MESSAGE_ID` says the same as the event's word.
                None => {}
            }
        }
        event.trail = kinds::of(&event.event).map_or(Trail::Audit, |kind| kind.trail);
        event
    }

    /// What the log has to say about itself.
    pub(super) fn own_warning(time: Timestamp, message: String) -> Self {
        Self {
            time,
            priority: Priority::Warning,
            target: Some("fleet_mcp::log"),
            message: Clean::plain(format_args!("{message}")),
            fields: Vec::new(),
        }
    }

    /// The same entry with one more field, named as in code.
    pub(super) fn with(mut self, name: &str, value: impl std::fmt::Display) -> Self {
        self.push(name, Clean::plain(format_args!("{value}")));
        self
    }

    /// Adds a field named as in code; the value must be clean.
    pub(super) fn push(&mut self, name: &str, value: String) {
        let prefix = if self.target.is_some() { PREFIX } else { "" };
        self.fields.push((field_name(prefix, name), value));
    }
}

/// A name that journald accepts: it drops fields with any other, and reserves leading underscores.
fn field_name(prefix: &str, name: &str) -> String {
    let name: String = prefix
        .chars()
        .chain(name.chars())
        .map(|character| match character.to_ascii_uppercase() {
            upper @ ('A'..='Z' | '0'..='9') => upper,
            _ => '_',
        })
        .skip_while(|character| !character.is_ascii_uppercase())
        .take(NAME_LIMIT)
        .collect();
    if name.is_empty() { "FIELD".to_owned() } else { name }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn field_names_are_such_that_journald_keeps_them() {
        let long = "x".repeat(100);
        let cases = [
            ("", "MESSAGE_ID", "MESSAGE_ID"),
            ("", "_PID", "PID"),
            ("", "2fast", "FAST"),
            ("", "_1", "FIELD"),
            (PREFIX, "http.path", "FLEET_HTTP_PATH"),
            (PREFIX, "a=b\nC", "FLEET_A_B_C"),
            (PREFIX, "größe", "FLEET_GR__E"),
            (PREFIX, &long, &format!("FLEET_{}", "X".repeat(58))),
        ];

        for (prefix, name, expected) in cases {
            assert_eq!(field_name(prefix, name), expected);
        }
    }
}
