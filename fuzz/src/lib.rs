//! What several targets need.

pub mod app;

use std::path::Path;

use tempfile::TempDir;

/// A directory in memory, 0700.
pub fn directory() -> TempDir {
    let shared_memory = Path::new("/dev/shm");
    let made = if shared_memory.is_dir() {
        tempfile::tempdir_in(shared_memory)
    } else {
        tempfile::tempdir()
    };
    made.expect("a directory")
}

/// Takes a byte off the front; 0 once there is none.
pub fn byte(data: &mut &[u8]) -> u8 {
    match data.split_first() {
        Some((first, rest)) => {
            *data = rest;
            *first
        }
        None => 0,
    }
}

/// Asserts that a message neither forges a second line nor repeats a secret: any text in `input` that
/// is long enough to be one and consists of a secret's characters.
pub fn assert_tells_no_secret(message: &str, input: &[u8]) {
    assert!(!message.contains(['\n', '\r', '\u{1b}']), "{message:?}");
    let of_secrets = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    for run in input.split(|byte| !of_secrets(byte)).filter(|run| run.len() >= 43) {
        let run = std::str::from_utf8(&run[..43]).expect("ASCII");
        assert!(!message.contains(run), "{message:?} has {run:?}");
    }
}
