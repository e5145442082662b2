//! Text from anywhere, made fit for one field of one entry: bounded, and without a character that
//! could end the entry or steer a terminal.

use std::fmt::{self, Write};

/// Most bytes of a message or value, including the ellipsis that marks a cut.
pub(super) const VALUE_LIMIT: usize = 2048;

const ELLIPSIS: char = '…';

/// Collects text up to a limit; refuses more, so that formatting a huge value ends early.
pub(super) struct Clean {
    text: String,
    escape_quotes: bool,
    is_full: bool,
}

impl Clean {
    /// For the journal and for human lines.
    pub(super) fn plain(value: fmt::Arguments<'_>) -> String {
        Self { text: String::new(), escape_quotes: false, is_full: false }.collect(value)
    }

    /// For between double quotes: those and backslashes are escaped as well.
    pub(super) fn quotable(value: fmt::Arguments<'_>) -> String {
        Self { text: String::new(), escape_quotes: true, is_full: false }.collect(value)
    }

    fn collect(mut self, value: fmt::Arguments<'_>) -> String {
        // An error means that the limit is reached, or that the value cannot be formatted; what
        // there is of it is the best that can be logged.
        let _ = self.write_fmt(value);
        self.text
    }

    fn push(&mut self, piece: &str) -> fmt::Result {
        // Some `Debug` implementations carry on after an error.
        if self.is_full {
            return Err(fmt::Error);
        }
        if self.text.len() + piece.len() > VALUE_LIMIT {
            self.is_full = true;
            self.text = ellipsized(&self.text, VALUE_LIMIT);
            return Err(fmt::Error);
        }
        self.text.push_str(piece);
        Ok(())
    }
}

impl Write for Clean {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for character in text.chars() {
            match character {
                '\n' => self.push("\\n")?,
                '"' if self.escape_quotes => self.push("\\\"")?,
                '\\' if self.escape_quotes => self.push("\\\\")?,
                _ if is_harmful(character) => {
                    self.push(&character.escape_unicode().to_string())?;
                }
                _ => self.push(character.encode_utf8(&mut [0; 4]))?,
            }
        }
        Ok(())
    }
}

/// Ends lines, steers terminals, or makes text read in another order than it is stored.
fn is_harmful(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// At most `limit` bytes of a text, whole characters, with an ellipsis if something is missing.
pub(super) fn cut(text: &str, limit: usize) -> String {
    if text.len() <= limit { text.to_owned() } else { ellipsized(text, limit) }
}

fn ellipsized(text: &str, limit: usize) -> String {
    let mut end = text.len().min(limit.saturating_sub(ELLIPSIS.len_utf8()));
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}{ELLIPSIS}", &text[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_ends_a_line_or_steers_a_terminal_gets_through() {
        let cases = [
            ("a\nPRIORITY=0", "a\\nPRIORITY=0"),
            ("\r\u{1b}[2J\u{7f}\u{9b}", "\\u{d}\\u{1b}[2J\\u{7f}\\u{9b}"),
            ("\u{202e}x\u{2066}y\u{2069}", "\\u{202e}x\\u{2066}y\\u{2069}"),
            ("\u{2028}\u{2029}\0", "\\u{2028}\\u{2029}\\u{0}"),
            ("Käse \\ \"x\"", "Käse \\ \"x\""),
        ];

        for (input, expected) in cases {
            assert_eq!(Clean::plain(format_args!("{input}")), expected);
        }
    }

    #[test]
    fn quotes_cannot_be_closed_from_inside() {
        assert_eq!(Clean::quotable(format_args!("\" 200 \\")), "\\\" 200 \\\\");
    }

    #[test]
    fn values_are_cut_between_characters_and_marked() {
        for width in [1, 2, 3, 4] {
            let character = ["", "x", "ä", "€", "🦀"][width];
            let whole = character.repeat(VALUE_LIMIT / width);

            let fits = Clean::plain(format_args!("{whole}"));
            let long = Clean::plain(format_args!("{whole}{whole}"));

            assert_eq!(fits, whole);
            assert!(long.len() <= VALUE_LIMIT && long.len() > VALUE_LIMIT - 8, "{}", long.len());
            assert!(long.ends_with('…') && !long.ends_with("……"));
        }
    }

    #[test]
    fn escapes_count_towards_the_limit() {
        assert!(Clean::plain(format_args!("{}", "\u{1b}".repeat(5000))).len() <= VALUE_LIMIT);
    }
}
