//! The branches that agents leave: fetched into a bare repository for each source, from which the
//! operator takes them.
//!
//! What comes from an agent is untrusted. It is checked object by object, and brings nothing but its
//! own branch.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use sha2::{Digest as _, Sha256};
use tokio::sync::mpsc;

use super::{host::branch, processes};
use crate::fleet::{AgentName, Publication};

/// Most bytes of a bundle.
const MAX_BUNDLE: u64 = 4 * 1024 * 1024 * 1024;
/// Nothing of git may go on in the background: it would be taken for something that an agent left.
const SETTINGS: [&str; 8] = [
    "transfer.fsckObjects=true",
    "fetch.fsckObjects=true",
    "core.hooksPath=/dev/null",
    "core.fsmonitor=false",
    "gc.auto=0",
    "maintenance.auto=false",
    "maintenance.autoDetach=false",
    "protocol.allow=user",
];

/// The bare repository for what was cloned from this source.
pub fn repository(projects: &Path, source: &str) -> PathBuf {
    let last = source.trim_end_matches('/').rsplit(['/', ':']).next().unwrap_or_default();
    let name: String = last
        .trim_end_matches(".git")
        .chars()
        .filter(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'))
        .take(40)
        .collect();
    let digest = Sha256::digest(source.as_bytes());
    let hash: String = digest[..4].iter().map(|byte| format!("{byte:02x}")).collect();
    projects.join(format!("{name}-{hash}.git"))
}

/// Takes a bundle, a part at a time, into the directory of the bare repositories.
///
/// Begins at once; `parts` may end early if the disk is full. To be called with
/// [`tokio::task::spawn_blocking`].
///
/// # Errors
/// A sentence for the operator.
pub fn receive(
    projects: &Path,
    agent: &AgentName,
    mut parts: mpsc::Receiver<Vec<u8>>,
) -> Result<Bundle, String> {
    let failed = |what: &str, path: &Path, error: io::Error| {
        format!("can't {what} `{}`: {error}", path.display())
    };
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(projects)
        .map_err(|e| failed("make", projects, e))?;
    let path = projects.join(format!(".{agent}.bundle"));
    let bundle = Bundle { path: path.clone() };
    let mut file = create(&path).map_err(|e| failed("make", &path, e))?;
    let mut size = 0;
    while let Some(part) = parts.blocking_recv() {
        size += part.len() as u64;
        if size > MAX_BUNDLE {
            return Err(format!("the branch has more than {MAX_BUNDLE} bytes"));
        }
        file.write_all(&part).map_err(|e| failed("write", &path, e))?;
    }
    Ok(bundle)
}

fn create(path: &Path) -> io::Result<File> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
}

/// A bundle that was received. Removed on drop.
#[derive(Debug)]
pub struct Bundle {
    path: PathBuf,
}

impl Drop for Bundle {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

impl Bundle {
    /// Fetches the agent's branch, and nothing else. Blocks.
    ///
    /// # Errors
    /// A sentence for the operator.
    pub fn fetch(&self, repository: &Path, agent: &AgentName) -> Result<Publication, String> {
        let projects = repository.parent().ok_or("the repository has no directory")?;
        let text = |path: &Path| path.to_str().map(str::to_owned).ok_or("a path is no UTF-8");
        if !repository.join("HEAD").exists() {
            let place = text(repository)?;
            git(projects, &["init", "--quiet", "--bare", "--template=", "--", &place])?;
        }
        let branch = branch(agent.as_str());
        let reference = format!("refs/heads/{branch}");
        let bundle = text(&self.path)?;
        let heads = git(projects, &["bundle", "list-heads", &bundle])?;
        if heads.lines().any(|line| line.split_once(' ').is_none_or(|(_, name)| name != reference))
        {
            return Err(format!("the agent sent other branches than `{branch}`"));
        }
        let refspec = format!("+{reference}:{reference}");
        git(
            repository,
            &["fetch", "--quiet", "--no-tags", "--no-write-fetch-head", "--", &bundle, &refspec],
        )?;
        let commit = git(repository, &["rev-parse", "--verify", &reference])?.trim().to_owned();
        Ok(Publication { repository: repository.to_owned(), branch, commit })
    }
}

fn git(directory: &Path, arguments: &[&str]) -> Result<String, String> {
    let mut command = Command::new("git");
    command
        .args(SETTINGS.iter().flat_map(|setting| ["-c", setting]))
        .args(arguments)
        .env_clear()
        .envs(std::env::var_os("PATH").map(|path| ("PATH", path)))
        .env("LC_ALL", "C.UTF-8")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_TERMINAL_PROMPT", "0")
        .current_dir(directory)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let out = processes::spawn(&mut command)
        .and_then(|(child, _awaited)| child.wait_with_output())
        .map_err(|error| format!("can't run git: {error}"))?;
    if out.status.success() {
        return Ok(String::from_utf8_lossy(&out.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&out.stderr);
    let said: String = said.trim().replace('\n', "; ").chars().take(1000).collect();
    Err(format!("`git {}` refused the branch: {said}", arguments.first().unwrap_or(&"")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repositories_are_told_apart_and_named_for_people() {
        let projects = Path::new("/p");

        let one = repository(projects, "https://h/team/App.git");
        let other = repository(projects, "https://h/other/App.git");

        assert!(one.to_str().unwrap().starts_with("/p/App-") && one != other);
        assert_eq!(repository(projects, "../..").parent(), Some(projects));
    }
}
