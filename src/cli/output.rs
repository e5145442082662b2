//! What `fleetctl` prints: answers on standard output, words about them on standard error.

use std::io::{self, ErrorKind, Write as _};

use serde::Serialize;

use super::failure::Failure;
use crate::exit::Exit;

/// How to print.
#[derive(Debug, Clone, Copy)]
pub(super) struct Output {
    json: bool,
}

impl Output {
    pub(super) fn new(json: bool) -> Self {
        Self { json }
    }

    pub(super) fn is_json(&self) -> bool {
        self.json
    }

    /// An answer, as it is.
    pub(super) fn bytes(&self, bytes: &[u8]) -> Result<(), Failure> {
        let mut stdout = io::stdout().lock();
        match stdout.write_all(bytes).and_then(|()| stdout.flush()) {
            // Whoever read us has seen enough.
            Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
            Err(error) => Err(Failure::from_io(error)),
            Ok(()) => Ok(()),
        }
    }

    /// An answer and a line break.
    pub(super) fn line(&self, text: &str) -> Result<(), Failure> {
        self.bytes(format!("{text}\n").as_bytes())
    }

    /// An answer for programs.
    pub(super) fn json(&self, value: &impl Serialize) -> Result<(), Failure> {
        let text = serde_json::to_string_pretty(value).map_err(|e| Failure::from_io(e.into()))?;
        self.line(&text)
    }

    /// What a tool has done.
    pub(super) fn told(&self, answer: &serde_json::Value) -> Result<(), Failure> {
        if self.json {
            return self.json(answer);
        }
        self.line(&safe(answer["message"].as_str().unwrap_or_default()))
    }

    /// Words for people, which are no part of the answer.
    pub(super) fn note(&self, text: &str) {
        // Nobody is left to tell if this fails.
        let _ = io::stderr().write_all(format!("{text}\n").as_bytes());
    }

    /// Last words.
    pub(super) fn fail(&self, failure: &Failure) -> Exit {
        self.note(&failure.to_string());
        failure.exit()
    }
}

/// A text that an agent wrote, for a terminal: line breaks stay, everything else that a terminal
/// could obey is escaped.
pub(super) fn safe(text: &str) -> String {
    let escape = |c: char| match c {
        '\n' | '\t' => c.to_string(),
        c if c.is_control() || is_bidi(c) => c.escape_unicode().to_string(),
        c => c.to_string(),
    };
    text.chars().map(escape).collect()
}

/// Characters that change the order in which text is shown.
fn is_bidi(c: char) -> bool {
    matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200e}' | '\u{200f}')
}

/// The first line of a text, cut to a width.
pub(super) fn short(text: &str, width: usize) -> String {
    let line: String = safe(text.lines().next().unwrap_or_default());
    match line.char_indices().nth(width) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}

/// Lines with columns of equal width, two blanks apart.
pub(super) fn table(rows: &[Vec<String>]) -> Vec<String> {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |at: usize| {
        rows.iter().filter_map(|row| row.get(at)).map(|cell| cell.chars().count()).max()
    };
    let widths: Vec<_> = (0..columns).map(|at| width(at).unwrap_or(0)).collect();
    let line = |row: &Vec<String>| {
        let padded = row.iter().zip(&widths).map(|(cell, &width)| format!("{cell:<width$}"));
        padded.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect()
}
