//! The Authorization header, judged by its form alone.
//!
//! Stricter than RFC 9110 on purpose: the specification demands exactly `Bearer <token>`, and one
//! spelling leaves no two parsers to disagree.

/// Why a request is refused before, or after, its token was looked up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// No Authorization header.
    MissingToken,
    /// A header that is not exactly `Bearer`, one blank and one token.
    MalformedHeader,
    /// A token that was never ours.
    InvalidToken,
    /// A token that was ours until it was rotated or revoked.
    Revoked,
    /// A token of ours whose time is over.
    Expired,
    /// A token of ours, from an address that it may not be used from.
    Elsewhere,
    /// A token that was never ours, from where too many of them came.
    Throttled,
}

impl Refusal {
    /// All of them, in the order in which they are counted.
    pub const ALL: [Self; 7] = [
        Self::MissingToken,
        Self::MalformedHeader,
        Self::InvalidToken,
        Self::Revoked,
        Self::Expired,
        Self::Elsewhere,
        Self::Throttled,
    ];

    /// What the log calls it.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Revoked => "revoked",
            Self::Expired => "expired",
            Self::Elsewhere => "address_not_allowed",
            _ => self.code(),
        }
    }

    /// What the client is told: it does not learn that a token was once good, or is good elsewhere.
    pub fn code(self) -> &'static str {
        match self {
            Self::MissingToken => "missing_token",
            Self::MalformedHeader => "malformed_header",
            Self::InvalidToken | Self::Revoked | Self::Expired | Self::Elsewhere => "invalid_token",
            Self::Throttled => "throttled",
        }
    }

    /// The HTTP status that it is answered with.
    pub fn status(self) -> u16 {
        if self == Self::Throttled { 429 } else { 401 }
    }
}

/// Finds the token in the values of all Authorization headers of one request.
///
/// # Errors
/// [`Refusal::MissingToken`] without a header, [`Refusal::MalformedHeader`] for two headers, an
/// empty one, another scheme or spelling, anything but one blank before the token, blanks or other
/// bytes outside visible ASCII in it.
pub fn presented<'a>(mut values: impl Iterator<Item = &'a [u8]>) -> Result<&'a [u8], Refusal> {
    let value = values.next().ok_or(Refusal::MissingToken)?;
    if values.next().is_some() {
        return Err(Refusal::MalformedHeader);
    }
    match value.strip_prefix(b"Bearer ") {
        Some(token) if !token.is_empty() && token.iter().all(u8::is_ascii_graphic) => Ok(token),
        _ => Err(Refusal::MalformedHeader),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_bearer_one_blank_and_one_token_passes() {
        let judge = |values: &[&'static str]| presented(values.iter().map(|v| v.as_bytes()));

        assert_eq!(judge(&["Bearer abc"]), Ok(b"abc".as_slice()));
        assert_eq!(judge(&[]), Err(Refusal::MissingToken));
        for malformed in [
            "",
            "Bearer",
            "Bearer ",
            "bearer abc",
            "BEARER abc",
            "Bearer  abc",
            "Bearer\tabc",
            "Bearer abc def",
            "Bearer abc ",
            " Bearer abc",
            "Basic abc",
            "abc",
            "Bearer é",
            "Bearer a\u{7f}",
        ] {
            assert_eq!(judge(&[malformed]), Err(Refusal::MalformedHeader), "{malformed:?}");
        }
        assert_eq!(judge(&["Bearer abc", "Bearer abc"]), Err(Refusal::MalformedHeader));
    }
}
