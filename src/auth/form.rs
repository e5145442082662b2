//! The form of named tokens' secrets: `fmcp_`, 43 characters for 256 random bits, 6 for a checksum.
//!
//! The prefix lets scanners find one that leaked: `fmcp_[0-9A-Za-z]{49}`. The checksum is the CRC-32
//! of everything before it; whoever mistypes a character, or cuts one off, is told so by the log
//! before anything is looked up. All characters are letters, digits and `_`, so that a double click
//! selects the whole. The primary token's secret has no such form: the specification gives it 43
//! characters.

use zeroize::{Zeroize as _, Zeroizing};

/// What they begin with.
pub const PREFIX: &str = "fmcp_";
/// 62^43 is a little more than 2^256.
const RANDOM_LEN: usize = 43;
/// 62^6 is more than 2^32.
const CHECKSUM_LEN: usize = 6;
const LEN: usize = PREFIX.len() + RANDOM_LEN + CHECKSUM_LEN;

const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// What a text looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// A named token's secret with the checksum that it must have.
    Named,
    /// Meant to be one, but a character is wrong, missing or too much.
    Mistyped,
    /// Anything else; it may be the primary token's.
    Other,
}

impl Form {
    /// Judges a text without looking anything up. A text as short as a primary token's secret may be
    /// one, whatever it begins with.
    pub fn of(presented: &[u8]) -> Self {
        if !presented.starts_with(PREFIX.as_bytes()) || presented.len() <= RANDOM_LEN {
            return Self::Other;
        }
        match presented.split_last_chunk::<CHECKSUM_LEN>() {
            Some((rest, sum)) if presented.len() == LEN && checksum(rest) == *sum => Self::Named,
            _ => Self::Mistyped,
        }
    }
}

/// Writes 32 random bytes in this form.
pub(super) fn write(mut random: [u8; 32]) -> Zeroizing<String> {
    // Never grows: a buffer that moves leaves a copy behind.
    let mut text = Zeroizing::new(String::with_capacity(LEN));
    text.push_str(PREFIX);
    let mut digits = Zeroizing::new([0_u8; RANDOM_LEN]);
    for digit in digits.iter_mut().rev() {
        *digit = DIGITS[usize::from(divide(&mut random))];
    }
    random.zeroize();
    text.extend(digits.iter().copied().map(char::from));
    let sum = checksum(text.as_bytes());
    text.extend(sum.map(char::from));
    text
}

/// Divides a large number, most significant byte first, by 62; the remainder.
fn divide(number: &mut [u8; 32]) -> u8 {
    let mut remainder = 0_u16;
    for byte in number {
        let part = remainder << 8 | u16::from(*byte);
        // A remainder is less than 62, so a part is less than 62 * 256.
        *byte = (part / 62) as u8;
        remainder = part % 62;
    }
    remainder as u8
}

fn checksum(text: &[u8]) -> [u8; CHECKSUM_LEN] {
    let mut rest = crc32fast::hash(text);
    let mut digits = [0; CHECKSUM_LEN];
    for digit in digits.iter_mut().rev() {
        *digit = DIGITS[(rest % 62) as usize];
        rest /= 62;
    }
    digits
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_what_the_documents_say_and_carries_its_checksum() {
        for random in [[0; 32], [0xff; 32], [7; 32]] {
            let text = write(random);

            assert_eq!(text.len(), 54);
            let body = text.strip_prefix("fmcp_").unwrap();
            assert!(body.bytes().all(|byte| byte.is_ascii_alphanumeric()), "{}", *text);
            assert_eq!(Form::of(text.as_bytes()), Form::Named);
        }
        // As `zlib.crc32` and base 62 have it.
        assert_eq!(&*write([0; 32]), &format!("fmcp_{}{}", "0".repeat(43), "2NLj25"));
    }

    #[test]
    fn different_random_bytes_are_different_secrets() {
        let mut last = [0; 32];
        last[31] = 1;
        let mut first = [0; 32];
        first[0] = 1;

        let texts = [[0; 32], last, first].map(write);

        assert!(texts[0] != texts[1] && texts[0] != texts[2] && texts[1] != texts[2]);
        assert!(texts[1][..48].ends_with("01"));
    }

    #[test]
    fn each_wrong_missing_or_added_character_is_noticed() {
        let text = write([7; 32]);
        let mistyped = |text: &str| assert_eq!(Form::of(text.as_bytes()), Form::Mistyped, "{text}");

        for at in PREFIX.len()..LEN {
            let mut wrong = text.as_bytes().to_vec();
            wrong[at] = if wrong[at] == b'x' { b'y' } else { b'x' };
            mistyped(std::str::from_utf8(&wrong).unwrap());
            wrong.remove(at);
            mistyped(std::str::from_utf8(&wrong).unwrap());
        }
        mistyped(&format!("{}x", *text));
        for other in ["", "fmcp_", "Fmcp_", &"a".repeat(54), &format!("fmcp_{}", "a".repeat(38))] {
            assert_eq!(Form::of(other.as_bytes()), Form::Other, "{other}");
        }
    }
}
