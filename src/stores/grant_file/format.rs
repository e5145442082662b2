//! What the named tokens' file says. Read strictly: a member that this version does not know may be a
//! restriction, and to leave one out would let somebody in who must stay out.

use std::sync::Arc;

use ipnet::IpNet;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::{
    app::ports::{Grant, Use},
    auth::{Digest, Generation, Networks, Projects, Scope, Scopes, Source, Token},
};

/// The largest file, in bytes: a secret takes about 300.
pub(super) const MAX_BYTES: usize = 128 * 1024 * 1024;

/// The version that is written. All up to it are read.
const VERSION: u64 = 1;

/// Why a text is no tokens' file. Tells where, never what stands there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Flaw {
    #[error("it is empty")]
    Empty,
    #[error("it is of version {0}, and this fleet-mcp knows versions up to {VERSION}")]
    Newer(u64),
    #[error("{what}, at line {line}, column {column}")]
    Malformed { what: &'static str, line: usize, column: usize },
    #[error("token `{name}`: {what}")]
    Token { name: String, what: &'static str },
    #[error("token `{0}` stands in it twice")]
    Twice(String),
    #[error("two of its secrets are the same, one of token `{0}`")]
    Shared(String),
}

/// What is looked at first: another version may have other members.
#[derive(Deserialize)]
struct Versioned {
    version: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    version: u64,
    tokens: Vec<Row>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    name: String,
    scopes: Vec<String>,
    /// Absent for all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    projects: Option<Vec<String>>,
    /// Absent for everywhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    from: Option<Vec<IpNet>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    lifetime_seconds: Option<u32>,
    /// Newest first.
    secrets: Vec<Kept>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    sha256: String,
    created_at: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    expires_at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    overlaps_until: Option<Timestamp>,
    #[serde(default)]
    requests: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    last_used_at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    last_used_from: Option<String>,
}

pub(super) fn parse(bytes: &[u8]) -> Result<Vec<Grant>, Flaw> {
    if bytes.trim_ascii().is_empty() {
        return Err(Flaw::Empty);
    }
    let Versioned { version } = serde_json::from_slice(bytes).map_err(|error| malformed(&error))?;
    if version > VERSION {
        return Err(Flaw::Newer(version));
    }
    let file: File = serde_json::from_slice(bytes).map_err(|error| malformed(&error))?;
    let grants: Vec<_> = file.tokens.into_iter().map(grant).collect::<Result<_, _>>()?;
    check(&grants)?;
    Ok(grants)
}

pub(super) fn render(grants: &[Grant]) -> Vec<u8> {
    let file = File { version: VERSION, tokens: grants.iter().map(row).collect() };
    // Plain data with text keys always serializes.
    let mut bytes = serde_json::to_vec_pretty(&file).unwrap_or_default();
    bytes.push(b'\n');
    bytes
}

/// serde's own text may quote what it found.
fn malformed(error: &serde_json::Error) -> Flaw {
    use serde_json::error::Category;
    let what = match error.classify() {
        Category::Eof => "it ends too early",
        Category::Syntax => "it is not JSON",
        Category::Data | Category::Io => "a member is missing, unknown or of the wrong kind",
    };
    Flaw::Malformed { what, line: error.line(), column: error.column() }
}

fn check(grants: &[Grant]) -> Result<(), Flaw> {
    let mut names = std::collections::HashSet::new();
    let mut secrets = std::collections::HashSet::new();
    for grant in grants {
        let name = &grant.token.name;
        if !names.insert(name) {
            return Err(Flaw::Twice(shown(name.as_str())));
        }
        if !grant.secrets.iter().all(|(secret, _)| secrets.insert(*secret.digest.as_bytes())) {
            return Err(Flaw::Shared(shown(name.as_str())));
        }
    }
    Ok(())
}

fn grant(row: Row) -> Result<Grant, Flaw> {
    let flaw = |what| Flaw::Token { name: shown(&row.name), what };
    let scope = |word: &String| Scope::ALL.into_iter().find(|scope| scope.as_str() == word);
    let scopes: Option<Scopes> = row.scopes.iter().map(scope).collect();
    let token = Token {
        name: row.name.parse().map_err(|_| flaw("it can't be called so"))?,
        scopes: scopes.ok_or_else(|| flaw("it has a scope that does not exist"))?,
        projects: row.projects.map_or(Projects::All, |names| {
            Projects::Only(names.into_iter().map(Into::into).collect())
        }),
        networks: row.from.map_or(Networks::All, |list| Networks::Only(list.into())),
        lifetime: row.lifetime_seconds.map(|secs| SignedDuration::from_secs(secs.into())),
    };
    let token = Arc::new(token);
    let secret = |kept: Kept| {
        let digest = digest(&kept.sha256).ok_or_else(|| flaw("a digest is no SHA-256 in hex"))?;
        let from = kept.last_used_from.as_deref().map(Source::parse);
        if from == Some(None) {
            return Err(flaw("the address of its last use is none"));
        }
        let generation = Generation {
            token: Arc::clone(&token),
            digest,
            created_at: kept.created_at,
            expires_at: kept.expires_at,
            overlaps_until: kept.overlaps_until,
        };
        let used = Use { requests: kept.requests, last: kept.last_used_at, from: from.flatten() };
        Ok((generation, used))
    };
    let secrets: Vec<_> = row.secrets.into_iter().map(secret).collect::<Result<_, Flaw>>()?;
    if secrets.is_empty() {
        return Err(flaw("it has no secret"));
    }
    Ok(Grant { token, secrets })
}

/// Shorter than any secret: somebody may have put one in a name's place.
fn shown(name: &str) -> String {
    name.chars().take(40).collect()
}

fn row(grant: &Grant) -> Row {
    let token = &grant.token;
    let kept = |(secret, used): &(Generation, Use)| Kept {
        sha256: hex(&secret.digest),
        created_at: secret.created_at,
        expires_at: secret.expires_at,
        overlaps_until: secret.overlaps_until,
        requests: used.requests,
        last_used_at: used.last,
        last_used_from: used.from.map(|from| from.to_string()),
    };
    Row {
        name: token.name.to_string(),
        scopes: token.scopes.iter().map(|scope| scope.as_str().to_owned()).collect(),
        projects: token
            .projects
            .names()
            .map(|all| all.iter().map(|name| name.to_string()).collect()),
        from: token.networks.list().map(<[IpNet]>::to_vec),
        lifetime_seconds: token
            .lifetime
            .map(|all| u32::try_from(all.as_secs()).unwrap_or(u32::MAX)),
        secrets: grant.secrets.iter().map(kept).collect(),
    }
}

fn hex(digest: &Digest) -> String {
    digest.as_bytes().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn digest(text: &str) -> Option<Digest> {
    let nibble = |byte: &u8| char::from(*byte).to_digit(16).map(|digit| digit as u8);
    let nibbles: Vec<u8> = text.as_bytes().iter().map(nibble).collect::<Option<_>>()?;
    let bytes: Vec<u8> = nibbles.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect();
    let whole = nibbles.len() == 64;
    bytes.try_into().ok().filter(|_| whole).map(Digest::from_bytes)
}
