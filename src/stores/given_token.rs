//! A primary token that somebody else keeps: the environment, or systemd. It is read, never written.

use std::{
    fs::File,
    io::Read as _,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use jiff::{Timestamp, tz::TimeZone};
use zeroize::Zeroizing;

use super::{
    refusal::{failed, quoted, refused},
    token_file,
};
use crate::{
    app::ports::{FileState, PrimaryToken, StoreError, TokenStore},
    auth::{Digest, Secret},
};

/// The token of the variable `FLEET_MCP_AUTH_TOKEN`.
#[derive(Debug)]
pub struct VariableToken(PrimaryToken);

impl VariableToken {
    /// The variable's value. Nobody knows when it was issued; the daemon has it since `now`.
    pub fn new(secret: Secret, now: Timestamp) -> Self {
        Self(PrimaryToken { secret, created_at: now })
    }
}

impl TokenStore for VariableToken {
    fn path(&self) -> &Path {
        Path::new("FLEET_MCP_AUTH_TOKEN")
    }

    fn load(&self) -> Result<Option<PrimaryToken>, StoreError> {
        Ok(Some(self.0.clone()))
    }

    fn create(&self, _: &PrimaryToken) -> Result<(), StoreError> {
        Err(not_ours(self.path()))
    }

    fn replace(&self, _: &PrimaryToken) -> Result<(), StoreError> {
        Err(not_ours(self.path()))
    }

    fn state(&self, in_force: &Digest) -> FileState {
        if self.0.secret.digest() == *in_force { FileState::Current } else { FileState::Differs }
    }
}

/// The token of a credential that systemd provides: the text, or the token file's JSON. Encrypted ones
/// systemd has decrypted.
#[derive(Debug)]
pub struct CredentialToken {
    path: PathBuf,
}

impl CredentialToken {
    /// The file that systemd has made.
    pub fn new(path: PathBuf) -> Self {
        Self { path }
    }

    fn read(&self) -> Result<PrimaryToken, StoreError> {
        let path = &self.path;
        let (content, made) = self.content()?;
        let start = content.trim_ascii_start();
        if start.first() == Some(&b'{') {
            let parsed = token_file::parse(&content, &TimeZone::system()).map(|(token, _)| token);
            return parsed.map_err(|flaw| self.flawed(&flaw));
        }
        let text = std::str::from_utf8(content.trim_ascii()).map(str::to_owned);
        let text = text.map_err(|_| {
            refused(format!("the credential `{}` is no text", path.display()), HELP)
        })?;
        let secret = Secret::parse(text).map_err(|flaw| self.flawed(&flaw))?;
        Ok(PrimaryToken { secret, created_at: made })
    }

    /// Systemd gives it to us, or leaves it with root and gives us the right to read it.
    fn content(&self) -> Result<(Zeroizing<Vec<u8>>, Timestamp), StoreError> {
        let path = &self.path;
        let file = File::open(path).map_err(|e| failed("read the credential", path, e))?;
        let meta = file.metadata().map_err(|e| failed("look at", path, e))?;
        let mode = meta.permissions().mode() & 0o7777;
        if !meta.is_file() || mode & 0o007 != 0 {
            return Err(refused(
                format!(
                    "the credential `{}` is open to everybody (mode {mode:04o})",
                    path.display()
                ),
                format!("`chmod o= {}`, or let systemd provide it (LoadCredential=)", quoted(path)),
            ));
        }
        let mut bytes = Zeroizing::new(Vec::with_capacity(token_file::MAX_BYTES + 1));
        let mut limited = file.take(token_file::MAX_BYTES as u64 + 1);
        limited.read_to_end(&mut bytes).map_err(|e| failed("read the credential", path, e))?;
        let made = meta.modified().ok().and_then(|at| Timestamp::try_from(at).ok());
        let made = made.and_then(|at| Timestamp::from_second(at.as_second()).ok());
        Ok((bytes, made.unwrap_or(Timestamp::UNIX_EPOCH)))
    }

    fn flawed(&self, flaw: &impl std::fmt::Display) -> StoreError {
        refused(format!("can't understand the credential `{}`: {flaw}", self.path.display()), HELP)
    }
}

const HELP: &str = "the credential auth_token is a token of 43 to 128 characters, or a token file";

impl TokenStore for CredentialToken {
    fn path(&self) -> &Path {
        &self.path
    }

    fn load(&self) -> Result<Option<PrimaryToken>, StoreError> {
        self.read().map(Some)
    }

    fn create(&self, _: &PrimaryToken) -> Result<(), StoreError> {
        Err(not_ours(&self.path))
    }

    fn replace(&self, _: &PrimaryToken) -> Result<(), StoreError> {
        Err(not_ours(&self.path))
    }

    fn state(&self, in_force: &Digest) -> FileState {
        match self.read() {
            Ok(token) if token.secret.digest() == *in_force => FileState::Current,
            Ok(_) => FileState::Differs,
            Err(error) => FileState::Unusable(error.in_one_line()),
        }
    }
}

fn not_ours(path: &Path) -> StoreError {
    refused(format!("`{}` is not ours to change", path.display()), "change it where it comes from")
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};

    use super::*;

    const SECRET: &str = "rQ3vK9pL2mN4oP6qR8sT0uV1wX3yZ5aB7cD9eF1gH3iJ5kL7";

    fn credential(content: &str, mode: u32) -> (tempfile::TempDir, CredentialToken) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("auth_token");
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        (dir, CredentialToken::new(path))
    }

    #[test]
    fn a_credential_is_the_text_or_the_token_file() {
        let file = format!(r#"{{"value": "{SECRET}", "created_at": "2025-11-11T10:30:00Z"}}"#);
        for content in [SECRET, &format!("{SECRET}\n"), &file] {
            let (_dir, token) = credential(content, 0o400);

            let loaded = token.load().unwrap().unwrap();

            assert_eq!(loaded.secret.expose(), SECRET);
            assert_eq!(token.state(&loaded.secret.digest()), FileState::Current);
        }
    }

    #[test]
    fn what_is_no_token_or_open_to_everybody_is_refused_without_showing_it() {
        for (content, mode, word) in [
            ("hunter2", 0o400, "43 to 128 characters, this one has 7"),
            ("", 0o400, "this one has 0"),
            (r#"{"value": "hunter2"}"#, 0o400, "43 to 128"),
            (SECRET, 0o444, "open to everybody (mode 0444)"),
        ] {
            let (_dir, token) = credential(content, mode);

            let error = token.load().unwrap_err();

            assert!(error.what.contains(word), "{error}");
            assert!(!format!("{error:?}").contains("hunter2"), "{error:?}");
        }
    }

    #[test]
    fn neither_is_written() {
        let (_dir, credential) = credential(SECRET, 0o400);
        let token = credential.load().unwrap().unwrap();
        let variable = VariableToken::new(token.secret.clone(), token.created_at);

        assert!(credential.replace(&token).is_err() && credential.create(&token).is_err());
        assert!(variable.replace(&token).is_err() && variable.create(&token).is_err());
        assert_eq!(variable.state(&token.secret.digest()), FileState::Current);
        assert_eq!(variable.state(&Digest::NONE), FileState::Differs);
    }
}
