//! The names of tokens.

use std::{fmt, str::FromStr, sync::Arc};

/// The name of the primary token, whose secret is in the token file.
pub const PRIMARY: &str = "default";

/// What the names of agents' tokens begin with.
const AGENT: &str = "agent:";

/// Most characters of a name.
const MAX_LEN: usize = 64;

/// 1 to 64 characters of `a-z 0-9 . _ @ -`, the first a letter or a digit: `alice`, `ci.deploy`,
/// `bob@laptop`. What comes in is folded to lower case. The tokens of agents are named `agent:sony`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TokenName(Arc<str>);

/// Why a text is no token's name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "a token's name has 1 to {MAX_LEN} characters of a-z, 0-9, `.`, `_`, `@` and `-`, the first a \
     letter or a digit"
)]
pub struct InvalidName;

impl TokenName {
    /// The primary token's.
    pub fn primary() -> Self {
        Self(PRIMARY.into())
    }

    /// That of an agent's own token. The agent's name fits.
    pub fn of_agent(agent: &str) -> Self {
        Self(format!("{AGENT}{agent}").into())
    }

    /// The agent whose token it is, if it is an agent's.
    pub fn agent(&self) -> Option<&str> {
        self.0.strip_prefix(AGENT)
    }

    /// Whether it is the primary token's.
    pub fn is_primary(&self) -> bool {
        &*self.0 == PRIMARY
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The text, shared.
    pub fn shared(&self) -> Arc<str> {
        Arc::clone(&self.0)
    }
}

impl FromStr for TokenName {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let name = text.to_ascii_lowercase();
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let own = name.strip_prefix(AGENT).unwrap_or(&name);
        let fits = (1..=MAX_LEN).contains(&own.len())
            && own.bytes().all(|byte| plain(byte) || b"._@-".contains(&byte))
            && own.as_bytes().first().is_some_and(|&byte| plain(byte));
        if fits { Ok(Self(name.into())) } else { Err(InvalidName) }
    }
}

impl fmt::Display for TokenName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_short_plain_and_lower_case() {
        for good in ["a", "alice", "ci.deploy", "bob@laptop", "7_x-y", &"a".repeat(64)] {
            assert_eq!(good.parse::<TokenName>().unwrap().as_str(), good);
        }
        assert_eq!("Alice".parse::<TokenName>().unwrap().as_str(), "alice");
        assert!("Default".parse::<TokenName>().unwrap().is_primary());
        let own = TokenName::of_agent("sony");
        assert_eq!((own.as_str().parse().as_ref(), own.agent()), (Ok(&own), Some("sony")));
        for bad in ["", "-a", ".a", "a b", "a/b", "uid:0", "é", "a\n", "a%", &"a".repeat(65)] {
            assert_eq!(bad.parse::<TokenName>(), Err(InvalidName), "{bad:?}");
        }
    }
}
