//! What the token file says: written exactly, read tolerantly.

use std::{collections::BTreeMap, io::Write as _};

use jiff::{Timestamp, civil, tz::TimeZone};
use serde::Serialize;
use serde_json::{error::Category, value::RawValue};
use zeroize::Zeroizing;

use crate::{
    app::ports::PrimaryToken,
    auth::{Secret, secret::InvalidSecret},
};

/// The largest token file, in bytes; ours have about 130.
pub(in crate::stores) const MAX_BYTES: usize = 64 * 1024;

/// Members of the file that are not ours, kept when it is replaced: as they were written, since a number
/// may have more digits than any type of ours.
pub(in crate::stores) type Others = BTreeMap<String, Box<RawValue>>;

/// Why a text is no token file. Tells where, never what stands there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(in crate::stores) enum Flaw {
    #[error("it is empty")]
    Empty,
    #[error("it starts with a byte order mark")]
    ByteOrderMark,
    #[error("it is not UTF-8 text, from byte {0} on")]
    NotUtf8(usize),
    #[error("it ends too early, at line {line}, column {column}")]
    CutShort { line: usize, column: usize },
    #[error("it is not JSON, from line {line}, column {column} on")]
    NotJson { line: usize, column: usize },
    #[error("it holds {0} instead of an object")]
    NotAnObject(&'static str),
    #[error("the member `{0}` is missing")]
    Missing(&'static str),
    #[error("the member `{0}` is not a text")]
    NotText(&'static str),
    #[error("the member `value` is no token: {0}")]
    Value(InvalidSecret),
    #[error("the member `created_at` is no time such as 2025-11-11T10:30:00Z")]
    CreatedAt,
}

/// Understands a token file. A time without a zone is `zone`'s: the original wrote local time.
pub(in crate::stores) fn parse(
    bytes: &[u8],
    zone: &TimeZone,
) -> Result<(PrimaryToken, Others), Flaw> {
    if bytes.starts_with(b"\xef\xbb\xbf") {
        return Err(Flaw::ByteOrderMark);
    }
    let text = std::str::from_utf8(bytes).map_err(|e| Flaw::NotUtf8(e.valid_up_to()))?;
    if text.trim().is_empty() {
        return Err(Flaw::Empty);
    }
    // Borrowed: what is not taken out of the text leaves no copy of the secret behind.
    let mut members: BTreeMap<String, &RawValue> =
        serde_json::from_str(text).map_err(|error| flaw(text, &error))?;
    let secret = Secret::parse(take_text(&mut members, "value")?).map_err(Flaw::Value)?;
    let created_at = parse_time(&take_text(&mut members, "created_at")?, zone)?;
    let others = members.into_iter().map(|(name, value)| (name, value.to_owned())).collect();
    Ok((PrimaryToken { secret, created_at }, others))
}

/// Writes a token file; `None` if it would be larger than [`MAX_BYTES`], so than can be read.
pub(super) fn render(token: &PrimaryToken, others: &Others) -> Option<Zeroizing<Vec<u8>>> {
    #[derive(Serialize)]
    struct File<'a> {
        value: &'a str,
        created_at: String,
        #[serde(flatten)]
        others: &'a Others,
    }

    let file = File {
        value: token.secret.expose(),
        created_at: token.created_at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        others,
    };
    // Never grows: a buffer that moves leaves a copy of the secret behind.
    let mut bytes = Zeroizing::new(vec![0; MAX_BYTES]);
    let mut rest = bytes.as_mut_slice();
    serde_json::to_writer_pretty(&mut rest, &file).ok()?;
    rest.write_all(b"\n").ok()?;
    let unused = rest.len();
    bytes.truncate(MAX_BYTES - unused);
    Some(bytes)
}

fn take_text(
    members: &mut BTreeMap<String, &RawValue>,
    name: &'static str,
) -> Result<String, Flaw> {
    let value = members.remove(name).ok_or(Flaw::Missing(name))?;
    serde_json::from_str(value.get()).map_err(|_| Flaw::NotText(name))
}

/// The error's own text may quote what it found.
fn flaw(text: &str, error: &serde_json::Error) -> Flaw {
    let (line, column) = (error.line(), error.column());
    match error.classify() {
        Category::Eof => Flaw::CutShort { line, column },
        Category::Data => Flaw::NotAnObject(kind(text)),
        Category::Syntax | Category::Io => Flaw::NotJson { line, column },
    }
}

fn parse_time(text: &str, zone: &TimeZone) -> Result<Timestamp, Flaw> {
    if let Ok(time) = text.parse::<Timestamp>() {
        return Ok(time);
    }
    let local: civil::DateTime = text.parse().map_err(|_| Flaw::CreatedAt)?;
    zone.to_timestamp(local).map_err(|_| Flaw::CreatedAt)
}

fn kind(text: &str) -> &'static str {
    match text.trim_start().as_bytes().first() {
        Some(b'n') => "null",
        Some(b't' | b'f') => "a truth value",
        Some(b'"') => "a text",
        Some(b'[') => "an array",
        _ => "a number",
    }
}

#[cfg(test)]
mod tests {
    use jiff::tz;

    use super::*;

    const SECRET: &str = "rQ3vK9pL2mN4oP6qR8sT0uV1wX3yZ5aB7cD9eF1gH3iJ5kL7";

    fn file(created_at: &str) -> String {
        format!(r#"{{"value": "{SECRET}", "created_at": "{created_at}"}}"#)
    }

    #[test]
    fn times_are_read_with_and_without_a_zone() {
        let zone = TimeZone::fixed(tz::offset(2));
        for (text, means) in [
            ("2025-11-11T10:30:00Z", "2025-11-11T10:30:00Z"),
            ("2025-11-11T10:30:00.25+01:00", "2025-11-11T09:30:00.25Z"),
            ("2025-11-11t10:30:00z", "2025-11-11T10:30:00Z"),
            ("2026-11-23T03:23:58.032414", "2026-11-23T01:23:58.032414Z"),
            ("2026-11-23 03:23:58", "2026-11-23T01:23:58Z"),
        ] {
            let (token, _) = parse(file(text).as_bytes(), &zone).unwrap();

            assert_eq!(token.created_at, means.parse().unwrap(), "{text}");
        }
    }

    #[test]
    fn other_times_are_refused() {
        for text in ["", "yesterday", "1731321000", "2025-13-11T10:30:00Z", "10:30:00"] {
            let flaw = parse(file(text).as_bytes(), &TimeZone::UTC).unwrap_err();

            assert_eq!(flaw, Flaw::CreatedAt, "{text}");
        }
    }

    #[test]
    fn file_is_written_exactly() {
        let (token, others) =
            parse(file("2025-11-11T10:30:00.99+00:00").as_bytes(), &TimeZone::UTC).unwrap();

        let bytes = render(&token, &others).unwrap();

        let expected = format!(
            "{{\n  \"value\": \"{SECRET}\",\n  \"created_at\": \"2025-11-11T10:30:00Z\"\n}}\n"
        );
        assert_eq!(std::str::from_utf8(&bytes).unwrap(), expected);
    }

    #[test]
    fn file_that_could_not_be_read_again_is_not_written() {
        let (token, mut others) =
            parse(file("2025-11-11T10:30:00Z").as_bytes(), &TimeZone::UTC).unwrap();
        let long = serde_json::value::to_raw_value(&"x".repeat(MAX_BYTES - 100)).unwrap();
        others.insert("note".to_owned(), long);

        assert!(render(&token, &others).is_none());
    }
}
