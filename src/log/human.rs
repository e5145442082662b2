//! Entries as lines for people: `2025-11-11 10:30:00 - fleet-mcp - INFO - Authentication enabled`.

use std::fmt::Write;

use jiff::tz::TimeZone;

use super::entry::{Entry, IDENTIFIER, PREFIX, Priority};

/// An entry as one line, with its newline.
pub(super) fn line(entry: &Entry, zone: &TimeZone) -> String {
    let time = entry.time.to_zoned(zone.clone());
    let mut line = format!(
        "{} - {IDENTIFIER} - {} - {}",
        time.strftime("%Y-%m-%d %H:%M:%S"),
        word(entry.priority),
        entry.message
    );
    for (name, value) in entry.fields.iter().filter(|(name, _)| name != "MESSAGE_ID") {
        let name = name.strip_prefix(PREFIX).unwrap_or(name).to_ascii_lowercase();
        // Writing to a string cannot fail.
        let _ = match needs_quotes(value) {
            true => write!(line, " {name}=\"{}\"", quoted(value)),
            false => write!(line, " {name}={value}"),
        };
    }
    line.push('\n');
    line
}

/// The words of Python's logging, which log readers know.
fn word(priority: Priority) -> &'static str {
    match priority {
        Priority::Error => "ERROR",
        Priority::Warning => "WARNING",
        Priority::Info => "INFO",
        Priority::Debug => "DEBUG",
    }
}

/// Bare, such a value could pass for none or for further fields.
fn needs_quotes(value: &str) -> bool {
    value.is_empty() || value.contains(|c: char| c.is_whitespace() || c == '"')
}

fn quoted(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(priority: Priority, message: &str, fields: &[(&str, &str)]) -> Entry {
        Entry {
            time: "2025-11-11T10:30:00Z".parse().unwrap(),
            priority,
            target: None,
            message: message.to_owned(),
            fields: fields.iter().map(|(n, v)| (n.to_string(), v.to_string())).collect(),
        }
    }

    #[test]
    fn line_is_as_specified() {
        let line = line(&entry(Priority::Info, "Authentication enabled", &[]), &TimeZone::UTC);

        assert_eq!(line, "2025-11-11 10:30:00 - fleet-mcp - INFO - Authentication enabled\n");
    }

    #[test]
    fn time_is_local() {
        let zone = TimeZone::fixed(jiff::tz::offset(2));

        let line = line(&entry(Priority::Error, "x", &[]), &zone);

        assert_eq!(line, "2025-11-11 12:30:00 - fleet-mcp - ERROR - x\n");
    }

    #[test]
    fn fields_follow_the_message_without_prefix_and_message_id() {
        let entry = entry(
            Priority::Warning,
            "401 invalid_token from 203.0.113.7: POST /mcp",
            &[("MESSAGE_ID", "f00"), ("FLEET_REASON", "invalid_token"), ("FLEET_STATUS", "401")],
        );

        assert_eq!(
            line(&entry, &TimeZone::UTC),
            "2025-11-11 10:30:00 - fleet-mcp - WARNING - 401 invalid_token from 203.0.113.7: \
             POST /mcp reason=invalid_token status=401\n"
        );
    }

    #[test]
    fn value_cannot_pass_for_another_field() {
        let cases = [
            ("x status=200", "a=\"x status=200\""),
            ("say \"\\\"", "a=\"say \\\"\\\\\\\"\""),
            ("no\u{a0}break", "a=\"no\u{a0}break\""),
            ("", "a=\"\""),
            ("curl/8.5", "a=curl/8.5"),
        ];

        for (value, expected) in cases {
            let line = line(&entry(Priority::Debug, "m", &[("FLEET_A", value)]), &TimeZone::UTC);
            assert_eq!(line, format!("2025-11-11 10:30:00 - fleet-mcp - DEBUG - m {expected}\n"));
        }
    }
}
