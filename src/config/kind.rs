//! What the values of settings may be, in words for whoever has to write them.

use std::{fmt, time::Duration};

pub(super) const KIB: u64 = 1024;
pub(super) const MIB: u64 = 1024 * KIB;

/// Longest text of several lines, in bytes: it goes to the agent with each task.
pub(super) const MAX_PROSE: usize = 64 * 1024;

/// What a setting's value may be. Its [`Display`](fmt::Display) completes "the value is not …".
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the Display texts are the documentation")]
pub enum Kind {
    Boolean,
    Count { min: u64, max: u64 },
    Size { min: u64, max: u64 },
    Duration { min: Duration, max: Duration },
    Seconds { min: u64, max: u64 },
    Path,
    Text,
    Filter,
    Url,
    Addresses,
    Hosts,
    Origins,
    Networks,
    Names,
    Prose,
    OneOf(&'static [&'static str]),
    Command,
    Arguments,
    Variables,
    Files,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Boolean => f.write_str("a boolean; use `true` or `false`"),
            Self::Count { min, max } => write!(f, "a whole number from {min} to {max}"),
            Self::Size { min, max } => {
                write!(f, "a size from {} to {}, such as `4 MiB`", Size(*min), Size(*max))
            }
            Self::Duration { min, max } => {
                write!(f, "a duration from {} to {}, such as `10s` or `5m`", Span(*min), Span(*max))
            }
            Self::Seconds { min, max } => {
                let [min, max] = [min, max].map(|secs| Span(Duration::from_secs(*secs)));
                write!(f, "a duration in whole seconds from {min} to {max}, such as `5s`")
            }
            Self::Path => f.write_str("a path"),
            Self::Text => f.write_str("a text of printable characters"),
            Self::Filter => f.write_str(
                "a log filter; use `off`, `error`, `warn`, `info`, `debug`, `trace` or `target=level`, separated by commas",
            ),
            Self::Url => f.write_str("an http or https URL without user, query and fragment"),
            Self::Addresses => f.write_str(
                "an address to listen on; use `host:port`, with `0.0.0.0` or `[::]` for every interface",
            ),
            Self::Hosts => f.write_str("a host name or IP address; leave out scheme, port and path"),
            Self::Origins => f.write_str("an origin; use `scheme://host` or `scheme://host:port`"),
            Self::Networks => f.write_str("an IP address or network, such as `10.0.0.0/8`"),
            Self::Names => f.write_str("a name of 1 to 64 printable characters"),
            Self::Prose => write!(
                f,
                "a text of at most {}, without control characters but tabs and line breaks",
                Size(MAX_PROSE as u64)
            ),
            Self::OneOf(words) => {
                let (last, others) = words.split_last().unwrap_or((&"", &[]));
                for (at, word) in others.iter().enumerate() {
                    let separator = if at + 1 == others.len() { " or " } else { ", " };
                    write!(f, "`{word}`{separator}")?;
                }
                write!(f, "`{last}`")
            }
            Self::Command => f.write_str("a program; use a path, or a name to be found on PATH"),
            Self::Arguments => f.write_str(
                "an array of texts without control characters but tabs and line breaks",
            ),
            Self::Variables => f.write_str("a table; use `{ NAME = \"value\" }`"),
            Self::Files => f.write_str("a table; use `{ \"path/below/home\" = \"file to copy\" }`"),
        }
    }
}

impl Kind {
    /// Whether a setting of this kind takes several values: an array in files, else separated by commas.
    pub fn is_list(&self) -> bool {
        matches!(self, Self::Addresses | Self::Hosts | Self::Origins | Self::Networks | Self::Names)
    }
}

struct Size(u64);

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            n if n >= MIB && n % MIB == 0 => write!(f, "{} MiB", n / MIB),
            n if n >= KIB && n % KIB == 0 => write!(f, "{} KiB", n / KIB),
            n => write!(f, "{n} B"),
        }
    }
}

struct Span(Duration);

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.0.as_secs(), self.0.subsec_millis()) {
            (0, millis @ 1..) => write!(f, "{millis}ms"),
            (seconds @ 86_401.., 0) if seconds % 86_400 == 0 => write!(f, "{}d", seconds / 86_400),
            (seconds @ 1.., 0) if seconds % 3600 == 0 => write!(f, "{}h", seconds / 3600),
            (seconds @ 1.., 0) if seconds % 60 == 0 => write!(f, "{}m", seconds / 60),
            (seconds, _) => write!(f, "{seconds}s"),
        }
    }
}
