//! The words for what the disk refuses and for what we refuse. Every error says its fix.

use std::{io, path::Path};

use nix::{
    errno::Errno,
    unistd::{Uid, User, geteuid},
};

use crate::app::ports::StoreError;

/// We will not do it, though the operating system would.
pub(super) fn refused(what: impl Into<String>, help: impl Into<String>) -> StoreError {
    StoreError { what: what.into(), help: help.into(), source: None }
}

/// The operating system would not do it. `action` is what was tried, as in "could not read".
pub(super) fn failed(action: &str, path: &Path, cause: impl Into<io::Error>) -> StoreError {
    let source = cause.into();
    StoreError {
        what: format!("could not {action} `{}`", path.display()),
        help: help_for(&source, path),
        source: Some(source),
    }
}

fn help_for(cause: &io::Error, path: &Path) -> String {
    let (shown, me) = (quoted(path), account(geteuid()));
    // `df` and `ls` need something that exists; the file itself may not.
    let parent = quoted(path.parent().unwrap_or(path));
    match Errno::from_raw(cause.raw_os_error().unwrap_or(0)) {
        Errno::ENOSPC => {
            format!(
                "the disk is full: make room (`df -h {parent}`, `df -i {parent}`), then try again"
            )
        }
        Errno::EDQUOT => {
            format!(
                "the disk quota of `{me}` is used up: `quota -u {me}` shows it; raise it or make room"
            )
        }
        Errno::EROFS => format!(
            "the file system is read-only here: make it writable, or use another path; \
             under systemd, add `ReadWritePaths={parent}` with `systemctl edit`"
        ),
        Errno::EACCES | Errno::EPERM => format!(
            "`{me}` may not do this: `namei -l {shown}` shows the owners and modes on the way; \
             under systemd, look at `ReadWritePaths=` and `ProtectHome=` too"
        ),
        Errno::ENOTDIR => {
            format!("a part of the path is not a directory: `namei -l {shown}` shows which")
        }
        Errno::ELOOP => {
            format!("a part of the path is a symbolic link: `namei -l {shown}` shows it")
        }
        Errno::ENAMETOOLONG => "use a shorter path".to_owned(),
        Errno::EIO => "the disk fails: the kernel's log (`journalctl -k`) has more".to_owned(),
        _ => format!("`namei -l {shown}` and `df -h {parent}` may show why"),
    }
}

/// The user's name, or the number if it has none.
pub(super) fn account(uid: Uid) -> String {
    match User::from_uid(uid) {
        Ok(Some(user)) => user.name,
        _ => uid.to_string(),
    }
}

/// A path as a shell takes it: help is there to be pasted.
pub(super) fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+,@%:=".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        text
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_way_a_disk_refuses_has_its_own_help() {
        let help = |errno: Errno| failed("write", Path::new("/s/auth_token"), errno).help;

        for (errno, word) in [
            (Errno::ENOSPC, "df -h /s"),
            (Errno::EDQUOT, "quota -u"),
            (Errno::EROFS, "ReadWritePaths=/s"),
            (Errno::EACCES, "namei -l /s/auth_token"),
        ] {
            assert!(help(errno).contains(word), "{errno}: {}", help(errno));
        }
    }

    #[test]
    fn a_path_in_a_command_is_one_word_for_the_shell() {
        assert_eq!(quoted(Path::new("/a/b.c")), "/a/b.c");
        assert_eq!(quoted(Path::new("/a b/it's")), r"'/a b/it'\''s'");
    }
}
