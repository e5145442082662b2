//! From raw texts to values, one function for each kind of setting. `None` is "not of this kind";
//! the caller makes the message, because it knows the range and the origin.

use std::{
    net::{IpAddr, SocketAddr, ToSocketAddrs as _},
    path::{Component, Path, PathBuf},
    time::Duration,
};

use ipnet::IpNet;
use jiff::SignedDuration;
use tracing_subscriber::filter::{LevelFilter, Targets};

use super::{
    fragment::Raw,
    kind::{Kind, MAX_PROSE},
};
use crate::{
    app::settings::ForwardedHeader,
    fleet::{Driver, FleetToken, Permissions},
};

const SECONDS_A_DAY: u64 = 24 * 60 * 60;

impl Raw {
    /// The value for a message: on one line, and short.
    pub(super) fn shown(&self) -> String {
        match self {
            Self::Text(text) | Self::Bare(text) => shown(text),
            Self::List(_) => "an array".to_owned(),
            Self::Table(_) => "a table".to_owned(),
            Self::Other(what) => (*what).to_owned(),
        }
    }

    /// The text of a value that need not be quoted.
    fn scalar(&self) -> Option<&str> {
        match self {
            Self::Text(text) | Self::Bare(text) => Some(text),
            Self::List(_) | Self::Table(_) | Self::Other(_) => None,
        }
    }

    /// The text of a value that must be quoted in files.
    pub(super) fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }
}

pub(super) fn shown(text: &str) -> String {
    if text.is_empty() {
        return "an empty text".to_owned();
    }
    let mut shown: String = text.chars().take(64).flat_map(char::escape_debug).collect();
    if text.chars().nth(64).is_some() {
        shown.push('…');
    }
    format!("`{shown}`")
}

pub(super) fn boolean(raw: &Raw, _: Kind) -> Option<bool> {
    // More than `true` and `false`, because the original server silently took `1` for off.
    match raw.scalar()?.to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" | "on" => Some(true),
        "false" | "0" | "no" | "off" => Some(false),
        _ => None,
    }
}

/// A whole number, without the sign that Rust's own parser would let pass.
fn digits(text: &str) -> Option<u64> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

pub(super) fn count(raw: &Raw, kind: Kind) -> Option<usize> {
    let number = digits(raw.scalar()?)?;
    match kind {
        Kind::Count { min, max } if !(min..=max).contains(&number) => None,
        _ => usize::try_from(number).ok(),
    }
}

pub(super) fn size(raw: &Raw, kind: Kind) -> Option<usize> {
    let text = raw.scalar()?;
    let unit_at = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(unit_at);
    let factor: u64 = match unit.trim_start().to_ascii_lowercase().as_str() {
        "" if unit.is_empty() => 1,
        "b" => 1,
        "kb" => 1_000,
        "kib" => 1 << 10,
        "mb" => 1_000_000,
        "mib" => 1 << 20,
        "gb" => 1_000_000_000,
        "gib" => 1 << 30,
        _ => return None,
    };
    let bytes = digits(number)?.checked_mul(factor)?;
    match kind {
        Kind::Size { min, max } if !(min..=max).contains(&bytes) => None,
        _ => usize::try_from(bytes).ok(),
    }
}

pub(super) fn duration(raw: &Raw, kind: Kind) -> Option<Duration> {
    let text = raw.scalar()?;
    let days = text.strip_suffix('d').and_then(digits);
    let duration = match (digits(text), days) {
        (Some(seconds), _) => Duration::from_secs(seconds),
        (None, Some(days)) => Duration::from_secs(days.checked_mul(SECONDS_A_DAY)?),
        (None, None) => text.parse::<SignedDuration>().ok()?.try_into().ok()?,
    };
    match kind {
        Kind::Duration { min, max } if !(min..=max).contains(&duration) => None,
        _ => Some(duration),
    }
}

pub(super) fn seconds(raw: &Raw, kind: Kind) -> Option<u32> {
    let duration = duration(raw, kind).filter(|duration| duration.subsec_nanos() == 0)?;
    match kind {
        Kind::Seconds { min, max } if !(min..=max).contains(&duration.as_secs()) => None,
        _ => u32::try_from(duration.as_secs()).ok(),
    }
}

/// A line of text without control characters, maybe empty.
pub(super) fn line(raw: &Raw, _: Kind) -> Option<String> {
    raw.text().filter(|text| !text.chars().any(char::is_control)).map(str::to_owned)
}

/// A text that may have several lines.
pub(super) fn prose(raw: &Raw, _: Kind) -> Option<String> {
    let unwanted = |c: char| c.is_control() && !matches!(c, '\t' | '\n' | '\r');
    let text = raw.text().filter(|text| text.len() <= MAX_PROSE)?;
    (!text.contains(unwanted)).then(|| text.to_owned())
}

pub(super) fn arguments(raw: &Raw, kind: Kind) -> Option<Vec<String>> {
    match raw {
        Raw::List(items) => items.iter().map(|(item, _)| prose(item, kind)).collect(),
        _ => None,
    }
}

pub(super) fn driver(raw: &Raw, _: Kind) -> Option<Driver> {
    match raw.text()? {
        "acp" => Some(Driver::Acp),
        "command" => Some(Driver::Command),
        _ => None,
    }
}

pub(super) fn permissions(raw: &Raw, _: Kind) -> Option<Permissions> {
    match raw.text()? {
        "ask" => Some(Permissions::Ask),
        "deny" => Some(Permissions::Deny),
        "allow" => Some(Permissions::Allow),
        _ => None,
    }
}

pub(super) fn fleet_token(raw: &Raw, _: Kind) -> Option<FleetToken> {
    match raw.text()? {
        "off" => Some(FleetToken::Off),
        "read" => Some(FleetToken::Read),
        "task" => Some(FleetToken::Task),
        "manage" => Some(FleetToken::Manage),
        _ => None,
    }
}

/// Whether every shell could set it.
pub(super) fn is_variable(name: &str) -> bool {
    let valid = |c: char| c.is_ascii_alphanumeric() || c == '_';
    !name.is_empty() && !name.starts_with(|c: char| c.is_ascii_digit()) && name.chars().all(valid)
}

/// As [`Targets`] reads it, but a bare word must be a level: `debg` would be a target of that name,
/// and silence everything else. Without blanks, which would become part of a target's name.
pub(super) fn filter(raw: &Raw, _: Kind) -> Option<String> {
    let directives: Vec<&str> = raw.text()?.split(',').map(str::trim).collect();
    let is_level = |text: &str| !text.is_empty() && text.parse::<LevelFilter>().is_ok();
    let in_target = |c: char| c.is_ascii_alphanumeric() || "_:-.".contains(c);
    let understood = directives.iter().all(|directive| match directive.split_once('=') {
        Some((target, level)) => {
            !target.is_empty() && target.chars().all(in_target) && is_level(level)
        }
        None => is_level(directive),
    });
    let text = directives.join(",");
    (understood && text.parse::<Targets>().is_ok()).then_some(text)
}

/// Splits `scheme://authority/path`, without user, query, fragment, blanks and controls.
fn split_url(text: &str) -> Option<(&str, &str, &str)> {
    let unwanted = |c: char| c.is_control() || c.is_whitespace() || "@?#\\".contains(c);
    let (scheme, rest) = text.split_once("://").filter(|_| !text.contains(unwanted))?;
    let valid = |c: char| c.is_ascii_alphanumeric() || "+-.".contains(c);
    let path_at = rest.find('/').unwrap_or(rest.len());
    let (authority, path) = rest.split_at(path_at);
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (authority, None),
    };
    let port_is_good =
        port.is_none_or(|port| digits(port).is_some_and(|n| (1..=65535).contains(&n)));
    let scheme_is_good =
        scheme.starts_with(|c: char| c.is_ascii_alphabetic()) && scheme.chars().all(valid);
    (scheme_is_good && port_is_good && host_name(host).is_some())
        .then_some((scheme, authority, path))
}

/// Without a slash at the end, so that a path can be appended.
pub(super) fn url(raw: &Raw, _: Kind) -> Option<String> {
    let text = raw.text()?;
    let (scheme, ..) = split_url(text)?;
    ["http", "https"].contains(&scheme).then(|| text.trim_end_matches('/').to_owned())
}

/// As browsers send it: in lower case and without the scheme's own port.
pub(super) fn origin(text: &str) -> Option<String> {
    let text = text.to_ascii_lowercase();
    let (scheme, authority, path) = split_url(&text)?;
    let own_port = match scheme {
        "http" => ":80",
        "https" => ":443",
        _ => "",
    };
    let authority = authority.strip_suffix(own_port).unwrap_or(authority);
    path.is_empty().then(|| format!("{scheme}://{authority}"))
}

/// As the Host header has it: in lower case, IPv6 addresses in brackets.
pub(super) fn host_name(text: &str) -> Option<String> {
    let inner = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
    match inner.unwrap_or(text).parse::<IpAddr>() {
        Ok(IpAddr::V6(ip)) => return Some(format!("[{ip}]")),
        Ok(IpAddr::V4(ip)) if inner.is_none() => return Some(ip.to_string()),
        _ => {}
    }
    let valid = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    let good = !text.is_empty() && text.len() <= 253 && text.chars().all(valid);
    good.then(|| text.to_ascii_lowercase())
}

/// The header's name, in any case, as HTTP has it.
pub(super) fn forwarded_header(raw: &Raw, _: Kind) -> Option<ForwardedHeader> {
    match raw.text()?.to_ascii_lowercase().as_str() {
        "x-forwarded-for" => Some(ForwardedHeader::XForwardedFor),
        "forwarded" => Some(ForwardedHeader::Forwarded),
        _ => None,
    }
}

pub(super) fn network(text: &str) -> Option<IpNet> {
    text.parse::<IpNet>().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from))
}

/// A name of a project or role.
pub(super) fn name(text: &str) -> Option<String> {
    let good = (1..=64).contains(&text.chars().count())
        && !text.chars().any(char::is_control)
        && text.trim() == text;
    good.then(|| text.to_owned())
}

/// The one address that `host:port` stands for. A name may have several, `localhost` even on
/// machines without IPv6; the first IPv4 address can be listened on everywhere.
pub(super) fn address(text: &str) -> Result<SocketAddr, Option<String>> {
    if let Ok(address) = text.parse() {
        return Ok(address);
    }
    let (host, port) = text.rsplit_once(':').ok_or(None)?;
    let port = digits(port).and_then(|port| u16::try_from(port).ok()).ok_or(None)?;
    let host = host_name(host).filter(|host| !host.starts_with('[')).ok_or(None)?;
    let found: Vec<SocketAddr> = (host.as_str(), port)
        .to_socket_addrs()
        .map_err(|error| Some(format!("{} can't be resolved: {error}", shown(&host))))?
        .collect();
    let first = found.iter().find(|address| address.is_ipv4()).or(found.first());
    first.copied().ok_or_else(|| Some(format!("{} has no address", shown(&host))))
}

/// An absolute path: `~` is the home directory, and what is relative starts at `base`.
pub(super) fn path(text: &str, base: &Path, home: Option<&Path>) -> Result<PathBuf, String> {
    if text.is_empty() || text.contains('\0') {
        return Err(format!("{} is not {}", shown(text), Kind::Path));
    }
    let path = match text.strip_prefix('~') {
        None => base.join(text),
        Some(rest) if rest.is_empty() || rest.starts_with('/') => home
            .ok_or_else(|| format!("{} needs a home directory; set HOME", shown(text)))?
            .join(rest.trim_start_matches('/')),
        Some(_) => {
            return Err(format!(
                "{} is another user's home directory; write it out, or put `./` before a file of that name",
                shown(text)
            ));
        }
    };
    Ok(path.components().collect())
}

/// A program: a path if it has a slash, else a name to be found on PATH, as it is.
pub(super) fn command(text: &str, base: &Path, home: Option<&Path>) -> Result<PathBuf, String> {
    if text.contains('/') {
        return path(text, base, home);
    }
    let good = text.trim() == text && !text.starts_with(['~', '-', '.']);
    match good && !text.is_empty() && !text.contains(char::is_control) {
        true => Ok(text.into()),
        false => Err(format!("{} is not {}", shown(text), Kind::Command)),
    }
}

/// Where to place a file: a path below a home directory, in the one way to write it.
pub(super) fn path_below(text: &str) -> Option<PathBuf> {
    let path = Path::new(text);
    let below: PathBuf =
        path.components().filter(|part| matches!(part, Component::Normal(_))).collect();
    let good = below.as_os_str() == text && !text.is_empty() && !text.starts_with('~');
    (good && !text.contains(char::is_control)).then_some(below)
}

/// What to clone: a URL or `host:path` as it is, or a path on this machine.
pub(super) fn repository(text: &str, base: &Path, home: Option<&Path>) -> Result<String, String> {
    // git would take it for an option.
    if text.starts_with('-') || text.trim() != text || text.chars().any(char::is_control) {
        return Err("the value is not a path or URL that git can clone".to_owned());
    }
    let remote =
        text.find(':').is_some_and(|colon| !text.get(..colon).unwrap_or(text).contains('/'));
    if remote {
        return Ok(text.to_owned());
    }
    let path = path(text, base, home)?;
    path.into_os_string().into_string().map_err(|_| "the path is not UTF-8".to_owned())
}
