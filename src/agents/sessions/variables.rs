//! The variables of an agent's program: those that the program has, a file with more, the role's.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read as _},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    path::Path,
};

use nix::fcntl::OFlag;
use zeroize::Zeroizing;

use crate::{agents::host::may_set, app::ports::sessions::Program};

/// Most bytes of a file with variables.
const MAX_FILE: u64 = 64 * 1024;

/// All variables for the program; of those with one name the last one counts.
///
/// # Errors
/// A sentence for the operator, with nothing of what is in the file.
pub(super) async fn gather(program: &Program) -> Result<Vec<(String, String)>, String> {
    let mut variables = program.environment.clone();
    if let Some(file) = program.environment_file.clone() {
        let read = tokio::task::spawn_blocking(move || read(&file)).await;
        variables.extend(read.map_err(|error| error.to_string())??);
    }
    variables.extend(program.overrides.iter().cloned());
    Ok(variables)
}

fn read(path: &Path) -> Result<Vec<(String, String)>, String> {
    let wrong = |why: String| format!("the environment file `{}` {why}", path.display());
    let unreadable = |error: io::Error| wrong(format!("can't be read: {error}"));
    // A pipe would keep us waiting for somebody to write.
    let how = (OFlag::O_NONBLOCK | OFlag::O_NOCTTY).bits();
    let file = OpenOptions::new().read(true).custom_flags(how).open(path).map_err(unreadable)?;
    check(&file).map_err(wrong)?;
    let mut text = Zeroizing::new(String::new());
    file.take(MAX_FILE + 1).read_to_string(&mut text).map_err(unreadable)?;
    if text.len() as u64 > MAX_FILE {
        return Err(wrong(format!("has more than {MAX_FILE} bytes")));
    }
    parse(&text).map_err(|line| {
        wrong(format!(
            "can't be understood in line {line}; use `NAME=value`, and no name that begins with \
             `FLEET_MCP_`, `LISTEN_` or `NOTIFY_`"
        ))
    })
}

/// Whoever else can write it decides what the agent does, and whoever else can read it has its keys.
/// Checks the open file: its name can come to mean another one.
fn check(file: &File) -> Result<(), String> {
    let meta = file.metadata().map_err(|error| format!("can't be read: {error}"))?;
    if !meta.is_file() {
        return Err("is not a regular file".to_owned());
    }
    let me = nix::unistd::geteuid().as_raw();
    if meta.uid() != me && meta.uid() != 0 {
        return Err(format!(
            "belongs to uid {}, neither to this one, {me}, nor to root; run `chown {me}` on it",
            meta.uid()
        ));
    }
    if meta.mode() & 0o077 != 0 {
        return Err(format!(
            "can be used by others (mode {:04o}); run `chmod 600` on it",
            meta.mode() & 0o7777
        ));
    }
    Ok(())
}

/// Lines of `NAME=value`, `export` before them or not, empty ones and comments. A value is taken as it
/// is, but for quotes around it: `$` means nothing, because keys may have one. Errs with the number of
/// the line.
fn parse(text: &str) -> Result<Vec<(String, String)>, usize> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut variables = Vec::new();
    for (at, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let line = line.strip_prefix("export ").unwrap_or(line);
        let (name, value) = line.split_once('=').ok_or(at + 1)?;
        let (name, value) = (name.trim(), value.trim());
        let is_name = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        if !is_name || !may_set(name) || value.contains('\0') {
            return Err(at + 1);
        }
        variables.push((name.to_owned(), unquoted(value).ok_or(at + 1)?.to_owned()));
    }
    Ok(variables)
}

fn unquoted(value: &str) -> Option<&str> {
    match value.chars().next() {
        Some(quote @ ('\'' | '"')) => value.strip_prefix(quote)?.strip_suffix(quote),
        _ => Some(value),
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt as _};

    use super::*;

    #[test]
    fn values_are_taken_as_they_are() {
        let text = "\u{feff}# a comment\n\n A=1\r\nexport B = 'x y'\nC=\"$HOME\"\nD=a$b#c=d\nE=\n";

        let read = parse(text).unwrap();

        let read: Vec<_> = read.iter().map(|(name, value)| format!("{name}={value}")).collect();
        assert_eq!(read, ["A=1", "B=x y", "C=$HOME", "D=a$b#c=d", "E="]);
    }

    #[test]
    fn a_line_that_is_no_variable_is_named_by_its_number() {
        for text in ["A=1\nsecret", "\n1A=x", "A=1\nA B=x", "\nA='x", "\nA='", "\nLISTEN_FDS=3"] {
            assert_eq!(parse(text), Err(2), "{text}");
        }
    }

    #[test]
    fn a_file_that_others_can_use_is_refused_and_none_is_quoted() {
        let place = tempfile::tempdir().unwrap();
        let file = place.path().join("role.env");
        let refusal = |mode, text: &str| {
            fs::write(&file, text).unwrap();
            fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
            read(&file).unwrap_err()
        };

        for (said, word) in [
            (refusal(0o640, "A=sesame"), "chmod 600"),
            (refusal(0o602, "A=sesame"), "chmod 600"),
            (refusal(0o600, "sesame"), "line 1"),
            (refusal(0o600, &"A=sesame\n".repeat(10_000)), "bytes"),
            (read(place.path()).unwrap_err(), "regular"),
            (read(Path::new("/nowhere.env")).unwrap_err(), "can't be read"),
        ] {
            assert!(said.contains(word) && said.contains(".env") || word == "regular", "{said}");
            assert!(said.contains(word) && !said.contains("sesame"), "{said}");
        }
    }
}
