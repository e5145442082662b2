//! The plain secret of a token, and the digest that stands for it everywhere else.

use std::fmt;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;
use zeroize::Zeroize as _;

use super::form::{self, Form};

/// Fewest characters that a secret may have: 32 bytes in URL-safe base64 without padding.
pub const MIN_LEN: usize = 43;
/// Most characters that a secret may have. Longer input is never hashed.
pub const MAX_LEN: usize = 128;

/// A bearer secret in plain text: 43 to 128 characters of URL-safe base64 (`A-Z a-z 0-9 - _`).
///
/// Neither prints nor serializes; its memory is wiped on drop.
#[derive(Clone)]
pub struct Secret(SecretString);

/// Why a text is no secret. Says nothing of the text but its length.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidSecret {
    /// Fewer than [`MIN_LEN`] or more than [`MAX_LEN`] characters.
    #[error("a token has {MIN_LEN} to {MAX_LEN} characters, this one has {0}")]
    Length(usize),
    /// A character outside the URL-safe base64 alphabet.
    #[error("a token has only the characters A-Z, a-z, 0-9, `-` and `_`")]
    Alphabet,
    /// It begins like a named token's secret, and does not end like one.
    #[error(
        "it begins with `{}`, but its checksum is wrong: a character is wrong, missing or too much",
        form::PREFIX
    )]
    Checksum,
}

impl Secret {
    /// Makes a secret of 43 characters from 32 bytes of a cryptographic random source.
    pub fn from_random(mut bytes: [u8; 32]) -> Self {
        let secret = Self(URL_SAFE_NO_PAD.encode(bytes).into());
        bytes.zeroize();
        secret
    }

    /// Makes the secret of a named token from 32 bytes of a cryptographic random source.
    pub fn named_from_random(bytes: [u8; 32]) -> Self {
        Self(form::write(bytes).as_str().into())
    }

    /// Takes over a text that was read from somewhere.
    ///
    /// # Errors
    /// When its length or its alphabet is not a secret's.
    pub fn parse(text: impl Into<String>) -> Result<Self, InvalidSecret> {
        let text = SecretString::from(text.into());
        let bytes = text.expose_secret().as_bytes();
        if !bytes.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_')) {
            return Err(InvalidSecret::Alphabet);
        }
        if !(MIN_LEN..=MAX_LEN).contains(&bytes.len()) {
            return Err(InvalidSecret::Length(bytes.len()));
        }
        if Form::of(bytes) == Form::Mistyped {
            return Err(InvalidSecret::Checksum);
        }
        Ok(Self(text))
    }

    /// The plain text: for the reply that issues it and for the primary token's file only.
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }

    /// What the registry keeps in its place.
    pub fn digest(&self) -> Digest {
        Digest::of(self.expose().as_bytes())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// SHA-256 of a presented secret. 256 random bits need no slow hash.
#[derive(Clone, Copy)]
pub struct Digest([u8; 32]);

impl Digest {
    /// The digest of nothing that anyone knows: what a guess is compared with when there is
    /// nothing to compare it with.
    pub const NONE: Self = Self([0; 32]);

    /// Hashes what a client presented, whatever it is.
    pub fn of(presented: &[u8]) -> Self {
        Self(Sha256::digest(presented).into())
    }

    /// The digest with these bytes, as a file keeps it.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Its bytes, for the file that keeps it.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The first eight bytes: a key for look-ups, never the final word.
    pub fn prefix(&self) -> u64 {
        let [a, b, c, d, e, f, g, h, ..] = self.0;
        u64::from_be_bytes([a, b, c, d, e, f, g, h])
    }

    /// The first 8 hexadecimal digits: enough to tell two secrets apart in a log, useless for
    /// finding either.
    pub fn fingerprint(&self) -> String {
        format!("{:08x}", self.prefix() >> 32)
    }
}

impl PartialEq for Digest {
    /// Takes the same time whatever the outcome.
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for Digest {}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest({}..)", self.fingerprint())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_secret_has_43_url_safe_characters() {
        let secret = Secret::from_random([0xff; 32]);

        assert_eq!(secret.expose().len(), MIN_LEN);
        assert!(Secret::parse(secret.expose()).is_ok());
    }

    #[test]
    fn the_specifications_own_sample_of_48_characters_is_a_secret() {
        assert!(Secret::parse("rQ3vK9pL2mN4oP6qR8sT0uV1wX3yZ5aB7cD9eF1gH3iJ5kL7").is_ok());
    }

    #[test]
    fn other_lengths_and_alphabets_are_refused() {
        let refused = |text: &str| Secret::parse(text).err();

        assert_eq!(refused(&"a".repeat(42)), Some(InvalidSecret::Length(42)));
        assert_eq!(refused(&"a".repeat(129)), Some(InvalidSecret::Length(129)));
        assert_eq!(refused(&"a+/=".repeat(11)), Some(InvalidSecret::Alphabet));
        assert_eq!(refused(&format!("{}\n", "a".repeat(43))), Some(InvalidSecret::Alphabet));
    }

    #[test]
    fn neither_debug_form_shows_the_secret() {
        let secret = Secret::from_random([7; 32]);

        let shown = format!("{secret:?} {:?}", secret.digest());

        assert!(!shown.contains(&secret.expose()[..6]));
    }
}
