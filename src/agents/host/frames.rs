//! The words between the daemon and an agent host: JSON, a line each, both ways.
//!
//! What is numbered, kept and sent again is in [`super::exchange`]. Nothing here reads or writes.

use std::{fmt, path::PathBuf};

use serde::{Deserialize, Serialize, de::DeserializeOwned};

/// The version of this protocol. Both ends must speak the same.
pub const VERSION: u32 = 1;
/// Most bytes of a frame. A longer one is skipped unread.
///
/// A piece of [`MAX_PIECE`] bytes stays below it even if each byte needs the longest escape.
pub const MAX_FRAME: usize = 512 * 1024;
/// Most bytes of a line that travel in one frame; longer lines travel in pieces.
pub const MAX_PIECE: usize = 64 * 1024;
/// Most bytes of a line that the agent's program writes; the rest of such a line is dropped.
pub const MAX_LINE: usize = 1024 * 1024;

/// One frame. `B` is what it carries: [`ToHost`] or [`FromHost`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Frame<B> {
    /// Begins a conversation, and goes on with it after either side was away.
    Hello(Hello),
    /// All items up to this number are dealt with and need not be kept.
    Ack(u64),
    /// Something that must not be lost, with its number: 1, 2, 3…
    Item(u64, B),
}

/// Who speaks, and what it has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// [`VERSION`] of the speaker.
    pub version: u32,
    /// The number of this conversation, chosen by the daemon. The host repeats it, so that a new
    /// daemon can tell what was meant for its predecessor.
    pub epoch: u64,
    /// The newest item that the speaker has: "what do you have after this?"
    pub have: u64,
    /// The host's process.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
    /// What tells this host from each other one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<u64>,
}

/// What the daemon tells a host.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ToHost {
    /// Make the workspace ready, or take it up again.
    Prepare(Workspace),
    /// Start the program. Only while none runs.
    Start(Start),
    /// A line for the program's standard input.
    Line {
        /// The line, or a piece of it.
        data: String,
        /// Another piece follows.
        #[serde(default, skip_serializing_if = "is_false")]
        more: bool,
    },
    /// Close the program's standard input.
    CloseInput,
    /// End the program and all that it has started.
    Stop {
        /// How long it may take to end by itself once its standard input is closed.
        grace_ms: u64,
    },
    /// Do something in the workspace.
    Job {
        /// Chosen by the daemon, repeated in what comes of it.
        id: u64,
        /// What to do.
        job: Job,
    },
}

impl fmt::Debug for ToHost {
    /// Says what it is, not what it holds: environment and credentials are secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Prepare(_) => "Prepare",
            Self::Start(_) => "Start",
            Self::Line { .. } => "Line",
            Self::CloseInput => "CloseInput",
            Self::Stop { .. } => "Stop",
            Self::Job { .. } => "Job",
        })
    }
}

/// An agent's place on this machine.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Workspace {
    /// Where it is.
    pub place: Place,
    /// What to clone; `None` for an empty directory.
    pub source: Option<String>,
    /// Files below the home, and what is in them.
    pub credentials: Vec<Credential>,
    /// Whether to keep the program inside its workspace where the kernel can.
    pub confine: bool,
}

/// Where a workspace is, and whose.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// The directory: absolute, or below the host's own state directory.
    pub directory: PathBuf,
    /// The agent's name.
    pub name: String,
    /// The agent's identity: what another agent of this name has left is not taken up again.
    pub agent: i64,
}

impl fmt::Debug for Workspace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Workspace").field("place", &self.place).finish_non_exhaustive()
    }
}

/// A file to place in the home.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Credential {
    /// Where, below the home.
    pub path: PathBuf,
    /// The content, in base64.
    pub content: String,
}

/// A program to start.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Start {
    /// A path, or a name to be found on PATH.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<String>,
    /// Variables for it, on top of those that every agent gets.
    pub environment: Vec<(String, String)>,
}

impl fmt::Debug for Start {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Start").field("program", &self.program).finish_non_exhaustive()
    }
}

/// Something to do in a workspace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Job {
    /// Send the agent's branch as a git bundle. The workspace is taken as it is; it need not be prepared.
    Publish {
        /// Whose.
        place: Place,
        /// Whether to keep git inside the workspace where the kernel can.
        confine: bool,
        /// Whether to commit what is not: only while no turn runs.
        uncommitted: bool,
    },
    /// Remove the workspace.
    Remove(Place),
}

/// What came of a [`Job`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Made {
    /// The branch was sent.
    Bundle {
        /// What the workspace was cloned from.
        source: String,
    },
    /// There is nothing that could be published, for this reason; nothing is lost with the workspace.
    Nothing(String),
    /// The workspace is gone.
    Removed,
}

/// What a host tells the daemon.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FromHost {
    /// The workspace is ready.
    Prepared {
        /// What keeps the program in its workspace: `landlock ABI 6`, `none`.
        confinement: String,
        /// Where it is.
        #[serde(default)]
        directory: PathBuf,
    },
    /// The workspace can't be made ready, or the program can't be started, for this reason.
    Failed(String),
    /// The program runs.
    Started {
        /// Its process, which leads a process group.
        pid: u32,
    },
    /// A line that the program has written.
    Out {
        /// Whether on standard error.
        #[serde(default, skip_serializing_if = "is_false")]
        err: bool,
        /// The line without its line end, or a piece of it.
        data: String,
        /// Another piece follows.
        #[serde(default, skip_serializing_if = "is_false")]
        more: bool,
        /// The line was longer than [`MAX_LINE`]; this is its beginning.
        #[serde(default, skip_serializing_if = "is_false")]
        cut: bool,
    },
    /// The program has ended, and nothing that it had started is left.
    End(End),
    /// A part of what a job makes, in base64.
    Part {
        /// Which job.
        id: u64,
        /// The bytes.
        data: String,
    },
    /// The job is finished.
    JobDone {
        /// Which job.
        id: u64,
        /// What was done, or why it could not be.
        result: Result<Made, String>,
    },
}

/// How a program ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct End {
    /// Its exit status, if it exited.
    pub code: Option<i32>,
    /// The signal that ended it, if one did.
    pub signal: Option<i32>,
    /// The kernel ended something of this agent for lack of memory.
    pub out_of_memory: bool,
    /// It was told to end.
    pub ordered: bool,
}

impl End {
    /// How it ended, for people.
    pub fn in_words(&self) -> String {
        match self {
            Self { out_of_memory: true, .. } => "it ran out of memory".to_owned(),
            Self { code: Some(code), .. } => format!("exit status {code}"),
            Self { signal: Some(signal), .. } => format!("ended by signal {signal}"),
            Self { .. } => "nobody knows how it ended".to_owned(),
        }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_false(value: &bool) -> bool {
    !value
}

/// A frame as a line, with its line end.
///
/// # Panics
/// Never: these types have no maps with keys that are no text, and no failing parts.
pub fn encode<B: Serialize>(frame: &Frame<B>) -> Vec<u8> {
    let mut line = serde_json::to_vec(frame).expect("frames are plain data");
    line.push(b'\n');
    line
}

/// The frame in a line, or `None` if it holds none: the half line of a speaker that was cut off.
pub fn decode<B: DeserializeOwned>(line: &[u8]) -> Option<Frame<B>> {
    serde_json::from_slice(line).ok()
}

/// Cuts a text into pieces of at most [`MAX_PIECE`] bytes, the last of which says that it is so.
pub fn pieces(mut text: &str) -> impl Iterator<Item = (&str, bool)> {
    let mut done = false;
    std::iter::from_fn(move || {
        if done {
            return None;
        }
        let (piece, rest) = text.split_at(text.floor_char_boundary(MAX_PIECE));
        text = rest;
        done = rest.is_empty();
        Some((piece, !done))
    })
}

/// Puts the lines of a stream together. A line that is too long is skipped.
#[derive(Debug, Default, Clone)]
pub struct Splitter {
    partial: Vec<u8>,
    skipping: bool,
}

impl Splitter {
    /// Takes what came; hands each whole line to `each`, without its line end.
    pub fn push(&mut self, mut bytes: &[u8], mut each: impl FnMut(&[u8])) {
        while let Some(end) = bytes.iter().position(|&b| b == b'\n') {
            let (line, rest) = (&bytes[..end], &bytes[end + 1..]);
            if self.partial.is_empty() && !self.skipping && line.len() <= MAX_FRAME {
                each(line);
            } else {
                self.keep(line);
                if !self.skipping {
                    each(&self.partial);
                }
            }
            self.partial = Vec::new();
            self.skipping = false;
            bytes = rest;
        }
        self.keep(bytes);
    }

    fn keep(&mut self, bytes: &[u8]) {
        if self.partial.len() + bytes.len() > MAX_FRAME {
            self.skipping = true;
            self.partial = Vec::new();
        } else if !self.skipping {
            self.partial.extend_from_slice(bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_piece_fits_a_frame_whatever_it_holds() {
        let data = "\u{1}".repeat(MAX_PIECE);

        let frame = Frame::Item(u64::MAX, FromHost::Out { err: true, data, more: true, cut: true });

        assert!(encode(&frame).len() <= MAX_FRAME);
    }

    #[test]
    fn pieces_end_at_characters_and_the_last_says_so() {
        let text = "é".repeat(MAX_PIECE);

        let parts: Vec<_> = pieces(&text).collect();

        assert_eq!(parts.iter().map(|(piece, _)| *piece).collect::<String>(), text);
        assert!(parts.iter().all(|(piece, _)| piece.len() <= MAX_PIECE));
        assert_eq!(parts.iter().filter(|(_, more)| !more).count(), 1);
        assert_eq!(pieces("").collect::<Vec<_>>(), [("", false)]);
    }

    #[test]
    fn a_line_that_is_too_long_is_skipped_and_the_next_is_not() {
        let mut lines = Vec::new();
        let mut splitter = Splitter::default();
        let long = vec![b'x'; MAX_FRAME + 1];

        for bytes in [&long[..], b"x\nwhole\n", &long, b"\n\nha", b"lf\nrest"] {
            splitter.push(bytes, |line| lines.push(String::from_utf8(line.to_vec()).unwrap()));
        }

        assert_eq!(lines, ["whole", "", "half"]);
    }
}
