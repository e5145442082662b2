//! What a program writes beside its protocol: kept, but never more than a person would read.

use std::collections::VecDeque;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::fleet::{Entry, EntryKind};

/// Lines a minute that become entries; the rest is counted.
const LINES_A_MINUTE: u32 = 100;
/// Characters of a line that are kept.
const LINE_CHARS: usize = 1_000;
/// Lines that tell why a program didn't start.
const LAST_WORDS: usize = 5;

/// The budget of one session. Stored as it is, but for words that matter only until it is open.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Noise {
    window: Option<Timestamp>,
    told: u32,
    left_out: u64,
    #[serde(skip)]
    last_words: VecDeque<String>,
}

impl Noise {
    /// The entry for a line; `None` if it is blank or too much.
    pub(super) fn hear(&mut self, line: &str, now: Timestamp) -> Option<Entry> {
        let line = line.trim_end();
        if line.is_empty() {
            return None;
        }
        let mut text: String = line.chars().take(LINE_CHARS).collect();
        if text.len() < line.len() {
            text.push('…');
        }
        if self.last_words.len() == LAST_WORDS {
            self.last_words.pop_front();
        }
        self.last_words.push_back(text.clone());
        // A clock that was set back begins a new minute as well.
        let running = self.window.is_some_and(|begin| {
            let age = now.duration_since(begin);
            !age.is_negative() && age < SignedDuration::from_mins(1)
        });
        if !running {
            self.window = Some(now);
            self.told = 0;
        }
        if self.told == LINES_A_MINUTE {
            self.left_out += 1;
            return None;
        }
        self.told += 1;
        let left_out = self.left_out();
        Some(diagnostic(format!("{left_out}{text}\n")))
    }

    /// What is still to be said at the end.
    pub(super) fn end(&mut self) -> Option<Entry> {
        let left_out = self.left_out();
        (!left_out.is_empty()).then(|| diagnostic(left_out))
    }

    /// The newest lines, as one text.
    pub(super) fn last_words(&self) -> Option<String> {
        let lines: Vec<&str> = self.last_words.iter().map(String::as_str).collect();
        (!lines.is_empty()).then(|| lines.join("\n"))
    }

    fn left_out(&mut self) -> String {
        match std::mem::take(&mut self.left_out) {
            0 => String::new(),
            count => format!("({count} lines left out)\n"),
        }
    }
}

/// Ends its line itself, so that whatever joins it begins a new one.
fn diagnostic(content: String) -> Entry {
    Entry { kind: EntryKind::Diagnostic, content, joins: true }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn a_flood_is_counted_and_told_in_the_next_minute() {
        let mut noise = Noise::default();

        let told = (0..1_000).filter_map(|_| noise.hear("x", at(0))).count();
        let next = noise.hear("y", at(60)).unwrap();

        assert_eq!(told, 100);
        assert_eq!(next.content, "(900 lines left out)\ny\n");
        assert_eq!(noise.end(), None);
    }

    #[test]
    fn what_was_left_out_is_told_at_the_end() {
        let mut noise = Noise::default();

        for _ in 0..101 {
            noise.hear("x", at(0));
        }

        assert_eq!(noise.end().unwrap().content, "(1 lines left out)\n");
    }

    #[test]
    fn a_clock_set_back_opens_a_new_minute() {
        let mut noise = Noise::default();
        for _ in 0..101 {
            noise.hear("x", at(1_000));
        }

        assert!(noise.hear("y", at(10)).is_some());
    }

    #[test]
    fn long_lines_are_cut_and_blank_ones_dropped() {
        let mut noise = Noise::default();

        assert_eq!(noise.hear(" \r", at(0)), None);
        assert_eq!(noise.hear(&"é".repeat(2_000), at(0)).unwrap().content.chars().count(), 1_002);
    }
}
