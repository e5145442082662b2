//! What a program writes, as lines in pieces that fit a frame.

use super::frames::{FromHost, MAX_LINE, MAX_PIECE};

/// Cuts one stream of a program into lines.
#[derive(Debug)]
pub(super) struct Lines {
    err: bool,
    /// Of the line that is not whole yet, what was not handed on.
    partial: Vec<u8>,
    /// How much of this line was handed on.
    handed_on: usize,
    cut: bool,
}

impl Lines {
    pub(super) fn new(err: bool) -> Self {
        Self { err, partial: Vec::new(), handed_on: 0, cut: false }
    }

    /// Takes bytes up to the first line end, or as many as make a piece. Answers how many it took,
    /// and what is to be handed on.
    pub(super) fn take(&mut self, bytes: &[u8]) -> (usize, Option<FromHost>) {
        let room = MAX_PIECE - self.partial.len();
        let window = &bytes[..bytes.len().min(room)];
        if let Some(end) = window.iter().position(|&b| b == b'\n') {
            self.keep(&window[..end]);
            return (end + 1, Some(self.finish()));
        }
        self.keep(window);
        let piece = (self.partial.len() == MAX_PIECE).then(|| self.piece());
        (window.len(), piece)
    }

    /// The stream has ended: what is left of a line without an end.
    pub(super) fn end(&mut self) -> Option<FromHost> {
        (!self.partial.is_empty() || self.handed_on > 0).then(|| self.finish())
    }

    fn keep(&mut self, bytes: &[u8]) {
        if self.handed_on + self.partial.len() + bytes.len() > MAX_LINE {
            self.cut |= !bytes.is_empty();
        } else {
            self.partial.extend_from_slice(bytes);
        }
    }

    fn finish(&mut self) -> FromHost {
        let data = String::from_utf8_lossy(&self.partial).into_owned();
        let out = FromHost::Out { err: self.err, data, more: false, cut: self.cut };
        *self = Self::new(self.err);
        out
    }

    fn piece(&mut self) -> FromHost {
        // A character is never torn apart: its first bytes wait for the rest.
        let end = match std::str::from_utf8(&self.partial) {
            Err(error) if error.error_len().is_none() && error.valid_up_to() > 0 => {
                error.valid_up_to()
            }
            _ => self.partial.len(),
        };
        let data = String::from_utf8_lossy(&self.partial[..end]).into_owned();
        self.partial.drain(..end);
        self.handed_on += end;
        FromHost::Out { err: self.err, data, more: true, cut: false }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(input: &[u8], step: usize) -> Vec<(String, bool)> {
        let mut lines = Lines::new(false);
        let mut outs = Vec::new();
        for mut bytes in input.chunks(step) {
            while !bytes.is_empty() {
                let (taken, out) = lines.take(bytes);
                bytes = &bytes[taken..];
                outs.extend(out);
            }
        }
        outs.extend(lines.end());
        let mut whole = vec![];
        let mut line = String::new();
        for out in outs {
            let FromHost::Out { data, more, cut, .. } = out else { panic!("{out:?}") };
            // A replacement character has three bytes where one was.
            assert!(data.len() <= 3 * MAX_PIECE);
            line.push_str(&data);
            if !more {
                whole.push((std::mem::take(&mut line), cut));
            }
        }
        whole
    }

    #[test]
    fn lines_are_whole_wherever_reads_end() {
        for step in [1, 3, 1000] {
            let found = lines("eins\nzwölf\n\nlast".as_bytes(), step);

            let expected = ["eins", "zwölf", "", "last"].map(|line| (line.to_owned(), false));
            assert_eq!(found, expected);
        }
    }

    #[test]
    fn long_lines_come_in_pieces_that_tear_no_character() {
        let text = format!("a{}", "é".repeat(MAX_PIECE));

        let found = lines(format!("{text}\nnext\n").as_bytes(), 4096);

        assert_eq!(found, [(text, false), ("next".to_owned(), false)]);
    }

    #[test]
    fn a_line_without_end_is_cut_and_the_next_is_whole() {
        let mut input = vec![b'x'; 3 * MAX_LINE];
        input.extend(b"\nnext\n");

        let found = lines(&input, 10_000);

        assert!(found[0].1 && found[0].0.len() <= MAX_LINE);
        assert!(found[0].0.len() > MAX_LINE - 2 * MAX_PIECE);
        assert_eq!(found[1], ("next".to_owned(), false));
    }

    #[test]
    fn garbage_bytes_become_text() {
        assert_eq!(lines(b"\xff\xfe\nok\n", 1)[1], ("ok".to_owned(), false));
    }
}
