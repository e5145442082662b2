//! `.env` in the working directory: read only if it is ours and nobody else can write it, and never
//! put into the process's environment.
//!
//! One that is ours, has settings and can be written by others stops the start: its owner counts on
//! it, and passing over `FLEET_MCP_AUTH_ENABLED=true` would leave everything open.
//!
//! A `$NAME` stands for the environment's value or a former line's. Lines that double each other would
//! fill the memory from a file of a few hundred bytes, so what they may come to is bounded.

use std::{
    cell::Cell,
    ffi::OsStr,
    fs::File,
    io::{self, Read},
    os::unix::fs::MetadataExt as _,
    path::Path,
};

use nix::{errno::Errno, fcntl::OFlag};

use super::{
    Problem,
    file::{line_at, open, read_limited},
    fragment::{Fragment, Origin, PREFIX},
};

/// Most that the values of a file may come to, in bytes.
const MAX_VALUES: usize = 16 * 1024 * 1024;

/// What came of a `.env`.
pub(super) enum Dotenv {
    /// There is none.
    Missing,
    /// There is one that can't be trusted; the text says why and what to do.
    Ignored(String),
    /// It was read.
    Read(Fragment),
}

pub(super) fn read(path: &Path, euid: u32, problems: &mut Vec<Problem>) -> Dotenv {
    let ignored = |why: String| Dotenv::Ignored(format!("{} is ignored: {why}", path.display()));
    let (file, exposed) = match open_ours(path, euid) {
        Ok(Some(ours)) => ours,
        Ok(None) => return Dotenv::Missing,
        Err(why) => return ignored(why),
    };
    match (read_limited(file), exposed) {
        (Ok(bytes), None) => return Dotenv::Read(parse(path, &bytes, problems)),
        (Ok(bytes), Some(why)) if !has_settings(&bytes) => return ignored(why),
        (Ok(_), Some(why)) => {
            problems
                .push(Problem::new(path.display().to_string(), format!("has settings, but {why}")));
        }
        (Err(error), _) => problems.push(Problem::unreadable(path, &error)),
    }
    Dotenv::Missing
}

/// The file if it is ours, and what is wrong if others could have written it. Checks the open file,
/// not its name: a name can come to mean another file in between.
fn open_ours(path: &Path, euid: u32) -> Result<Option<(File, Option<String>)>, String> {
    let file = match open(path, OFlag::O_NOFOLLOW) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) if error.raw_os_error() == Some(Errno::ELOOP as i32) => {
            return Err("it is a symbolic link; put the file itself there".to_owned());
        }
        Err(error) => return Err(format!("{error}; make it readable, or remove it")),
    };
    let meta = file.metadata().map_err(|error| error.to_string())?;
    if !meta.is_file() {
        return Err("it is not a regular file; rename it".to_owned());
    }
    if meta.uid() != euid {
        return Err(format!(
            "it belongs to uid {}, but this is uid {euid}; run `chown {euid}` on it if you trust it",
            meta.uid()
        ));
    }
    let exposed = (meta.mode() & 0o022 != 0).then(|| {
        format!(
            "others can write it (mode {:04o}); run `chmod go-w` on it if you trust it",
            meta.mode() & 0o7777
        )
    });
    Ok(Some((file, exposed)))
}

/// Whether a line that is no comment mentions a variable of ours: rather once too often than to miss
/// one in an unusual notation.
fn has_settings(bytes: &[u8]) -> bool {
    bytes.split(|byte| *byte == b'\n').any(|line| {
        let ours = line.windows(PREFIX.len());
        !line.trim_ascii_start().starts_with(b"#")
            && ours.into_iter().any(|word| word.eq_ignore_ascii_case(PREFIX.as_bytes()))
    })
}

fn parse(path: &Path, bytes: &[u8], problems: &mut Vec<Problem>) -> Fragment {
    let mut fragment = Fragment::default();
    let at = |line| Origin::Dotenv(path.to_owned(), line);
    if let Err(error) = str::from_utf8(bytes) {
        let line = line_at(bytes, error.valid_up_to());
        problems.push(Problem::new(at(line).to_string(), "the line is not UTF-8"));
        return fragment;
    }
    let bytes = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes);
    let (handed, growth) = (Cell::new(0), Growth::new());
    // dotenvy takes blanks at the very end for an open quote unless a line break follows.
    let lines = Lines { rest: bytes, handed: &handed, growth: &growth }.chain(&b"\n"[..]);
    for item in dotenvy::from_read_iter(lines) {
        match item {
            Ok((name, value)) => {
                growth.came_to(value.len());
                let (name, value) = (OsStr::new(&name), OsStr::new(&value));
                fragment.set_variable(name, value, at(handed.get()), problems);
            }
            // Its message has the line's text, which may be a secret.
            Err(dotenvy::Error::LineParse(text, _)) => {
                let line = handed.get().saturating_sub(text.trim_end().matches('\n').count());
                problems.push(Problem::new(
                    at(line.max(1)).to_string(),
                    "the line can't be understood; use `NAME=value`, with quotes around blanks",
                ));
            }
            // Only `Lines` refuses, and what it refuses once, it would refuse for ever.
            Err(error) => {
                problems.push(Problem::new(at(handed.get() + 1).to_string(), error.to_string()));
                break;
            }
        }
    }
    fragment
}

/// Hands out at most one line a read, so that the number of lines tells how far dotenvy is, which it
/// doesn't say itself, and none whose value could be too large.
struct Lines<'a> {
    rest: &'a [u8],
    handed: &'a Cell<usize>,
    growth: &'a Growth,
}

impl Read for Lines<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let line =
            self.rest.iter().position(|byte| *byte == b'\n').map_or(self.rest.len(), |at| at + 1);
        let length = line.min(buffer.len());
        let (now, rest) = self.rest.split_at(length);
        if !self.growth.has_room_for(now) {
            return Err(io::Error::other(format!(
                "`$` stands for other values too often: they could come to more than {} MiB; write \
                 them out, or write `\\$` for the character",
                MAX_VALUES >> 20
            )));
        }
        let ends = now.ends_with(b"\n") || (rest.is_empty() && !now.is_empty());
        self.handed.set(self.handed.get() + usize::from(ends));
        self.rest = rest;
        let mut now = now;
        now.read(buffer)
    }
}

/// How large the values have become, and the next one could.
struct Growth {
    /// Of all values so far, in bytes.
    total: Cell<usize>,
    /// The largest that a name can stand for, in bytes.
    largest: Cell<usize>,
    /// Names to be looked up in lines that were handed out and are no value yet, at most.
    names: Cell<usize>,
}

impl Growth {
    fn new() -> Self {
        let environment = std::env::vars_os().map(|(_, value)| value.len());
        Self {
            total: Cell::new(0),
            largest: Cell::new(environment.max().unwrap_or_default()),
            names: Cell::new(0),
        }
    }

    fn has_room_for(&self, text: &[u8]) -> bool {
        let names = text.iter().filter(|byte| **byte == b'$').count();
        self.names.set(self.names.get() + names);
        let next = self.names.get().saturating_mul(self.largest.get());
        self.total.get().saturating_add(next) <= MAX_VALUES
    }

    fn came_to(&self, length: usize) {
        self.total.set(self.total.get() + length);
        self.largest.set(self.largest.get().max(length));
        self.names.set(0);
    }
}
