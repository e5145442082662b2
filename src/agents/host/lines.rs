//! What a program writes, as lines in pieces that fit a frame.

use super::frames::{FromHost, MAX_LINE, pieces};

/// Cuts one stream of a program into lines. A line is handed on once it is whole, so that the pieces
/// of one are never between those of another.
#[derive(Debug)]
pub(super) struct Lines {
    err: bool,
    partial: Vec<u8>,
    cut: bool,
}

impl Lines {
    pub(super) fn new(err: bool) -> Self {
        Self { err, partial: Vec::new(), cut: false }
    }

    /// Takes bytes up to the first line end. Answers how many it took, and the line in pieces if it
    /// is whole.
    pub(super) fn take(&mut self, bytes: &[u8]) -> (usize, Option<Vec<FromHost>>) {
        match bytes.iter().position(|&b| b == b'\n') {
            Some(end) => {
                self.keep(&bytes[..end]);
                (end + 1, Some(self.finish()))
            }
            None => {
                self.keep(bytes);
                (bytes.len(), None)
            }
        }
    }

    /// The stream has ended: what is left of a line without an end.
    pub(super) fn end(&mut self) -> Option<Vec<FromHost>> {
        (!self.partial.is_empty()).then(|| self.finish())
    }

    fn keep(&mut self, bytes: &[u8]) {
        let room = MAX_LINE - self.partial.len();
        self.cut |= bytes.len() > room;
        self.partial.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }

    fn finish(&mut self) -> Vec<FromHost> {
        let Self { err, cut, partial } = std::mem::replace(self, Self::new(self.err));
        let text = String::from_utf8_lossy(&partial);
        let piece = |(piece, more): (&str, bool)| {
            let cut = cut && !more;
            FromHost::Out { err, data: piece.to_owned(), more, cut }
        };
        pieces(&text).map(piece).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::{super::frames::MAX_PIECE, *};

    fn lines(input: &[u8], step: usize) -> Vec<(String, bool)> {
        let mut lines = Lines::new(false);
        let mut outs = Vec::new();
        for mut bytes in input.chunks(step) {
            while !bytes.is_empty() {
                let (taken, out) = lines.take(bytes);
                bytes = &bytes[taken..];
                outs.extend(out.into_iter().flatten());
            }
        }
        outs.extend(lines.end().into_iter().flatten());
        let mut whole = vec![];
        let mut line = String::new();
        for out in outs {
            let FromHost::Out { data, more, cut, .. } = out else { panic!("{out:?}") };
            assert!(data.len() <= MAX_PIECE);
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
