//! git, as the agent's user, with nothing of the source's or of the system's settings.

use std::{
    ffi::OsString,
    fs,
    io::{self, Read as _},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use super::{
    confine::Rules,
    environment::{self, find},
};
use crate::agents::processes;

/// Settings that a repository's own can't override. Filters and the like can't be switched off this
/// way: where the agent may have written the repository's settings, git runs confined like the agent.
const SAFE: [&str; 8] = [
    "core.hooksPath=/dev/null",
    "core.fsmonitor=false",
    "core.sshCommand=ssh -oBatchMode=yes",
    "submodule.recurse=false",
    "commit.gpgSign=false",
    "protocol.ext.allow=never",
    "gc.auto=0",
    "maintenance.auto=false",
];
/// Most bytes of what git says that are shown.
const SAID: usize = 2000;

/// How git is run for one workspace.
#[derive(Debug)]
pub(super) struct Git {
    program: PathBuf,
    /// Its settings for all repositories.
    settings: PathBuf,
    home: PathBuf,
    /// Keeps it in the workspace, like the agent.
    rules: Option<Rules>,
}

impl Git {
    /// `workspace` holds the home; `source` may be read although it belongs to somebody else.
    ///
    /// # Errors
    /// A sentence for the operator.
    pub(super) fn new(workspace: &Path, source: Option<&Path>) -> Result<Self, String> {
        let search = std::env::var("PATH").unwrap_or_else(|_| environment::DEFAULT_PATH.to_owned());
        let program = find(Path::new("git"), &search)
            .ok_or("git is not installed, or not on PATH: install git (`apt install git`)")?;
        let settings = workspace.join("gitconfig");
        let mut text = "[core]\n\thooksPath = /dev/null\n\tfsmonitor = false\n".to_owned();
        for source in source.into_iter().flat_map(|path| [path.to_owned(), path.join(".git")]) {
            let quoted = source.to_str().ok_or("the source's path is no UTF-8")?;
            let quoted = quoted.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
            text.push_str(&format!("[safe]\n\tdirectory = \"{quoted}\"\n"));
        }
        super::files::place(workspace, Path::new("gitconfig"), text.as_bytes())
            .map_err(|error| format!("can't write `{}`: {error}", settings.display()))?;
        Ok(Self { program, settings, home: workspace.join("home"), rules: None })
    }

    /// From now on git is kept in the workspace.
    pub(super) fn confined(mut self, rules: Rules) -> Self {
        self.rules = Some(rules);
        self
    }

    pub(super) fn program(&self) -> &Path {
        &self.program
    }

    fn command(&self, directory: &Path, arguments: &[&str]) -> Command {
        let settings = SAFE.iter().flat_map(|setting| ["-c", setting]);
        let arguments: Vec<String> =
            settings.chain(arguments.iter().copied()).map(str::to_owned).collect();
        let mut command = match &self.rules {
            Some(rules) => rules.command(&self.program, &arguments),
            None => {
                let mut command = Command::new(&self.program);
                command.args(&arguments);
                command
            }
        };
        let own: [(&str, OsString); 7] = [
            ("GIT_CONFIG_NOSYSTEM", "1".into()),
            ("GIT_CONFIG_GLOBAL", self.settings.clone().into()),
            ("GIT_TERMINAL_PROMPT", "0".into()),
            ("GIT_ASKPASS", "/bin/false".into()),
            ("GIT_ALLOW_PROTOCOL", "file:https:http:ssh:git".into()),
            ("GIT_OPTIONAL_LOCKS", "0".into()),
            ("LC_ALL", "C.UTF-8".into()),
        ];
        command
            .env_clear()
            .envs(environment::base(&self.home))
            .envs(own)
            .current_dir(directory)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// Runs git to its end; answers what it has written.
    ///
    /// # Errors
    /// What git says is wrong.
    pub(super) fn run(&self, directory: &Path, arguments: &[&str]) -> Result<String, String> {
        let out = processes::spawn(&mut self.command(directory, arguments))
            .and_then(|(child, _awaited)| child.wait_with_output())
            .map_err(|error| format!("can't run `{}`: {error}", self.program.display()))?;
        if out.status.success() {
            return Ok(String::from_utf8_lossy(&out.stdout).into_owned());
        }
        let verb = arguments.iter().find(|argument| !argument.starts_with('-')).unwrap_or(&"");
        Err(format!("`git {verb}` failed: {}", shown(&out.stderr)))
    }

    /// Runs git; hands what it writes to `each`, a part at a time.
    ///
    /// # Errors
    /// What git says is wrong, or that nobody takes the parts.
    pub(super) fn stream(
        &self,
        directory: &Path,
        arguments: &[&str],
        mut each: impl FnMut(&[u8]) -> io::Result<()>,
    ) -> Result<(), String> {
        let mut command = self.command(directory, arguments);
        let (mut child, _awaited) = processes::spawn(command.stderr(Stdio::null()))
            .map_err(|error| format!("can't run git: {error}"))?;
        let copied: io::Result<()> = child.stdout.take().map_or(Ok(()), |mut out| {
            let mut part = vec![0; super::frames::MAX_PIECE / 2];
            loop {
                match out.read(&mut part)? {
                    0 => return Ok(()),
                    read => each(&part[..read])?,
                }
            }
        });
        if copied.is_err() {
            let _ = child.kill();
        }
        let status = child.wait().map_err(|error| format!("can't wait for git: {error}"))?;
        copied.map_err(|error| format!("can't hand on what git makes: {error}"))?;
        if status.success() { Ok(()) } else { Err(format!("git failed: {status}")) }
    }
}

/// What git wrote, in one line: the end, which tells why.
fn shown(said: &[u8]) -> String {
    let said = String::from_utf8_lossy(said);
    let lines: Vec<_> = said
        .lines()
        .filter(|line| !line.trim().is_empty() && !line.starts_with("Cloning into"))
        .map(str::trim)
        .collect();
    let text = lines.join("; ");
    let from = text.ceil_char_boundary(text.len().saturating_sub(SAID));
    text[from..].to_owned()
}

/// Where a source is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Source {
    /// On this machine.
    Local(PathBuf),
    /// Elsewhere.
    Remote(String),
}

impl Source {
    /// # Errors
    /// A sentence for the operator.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        if text.starts_with('-') || text.contains(['\0', '\n']) {
            return Err(format!("`{text}` is no repository: write its path or its URL"));
        }
        if let Some(path) = text.strip_prefix("file://") {
            return Self::parse(path);
        }
        if let Some((scheme, _)) = text.split_once("://") {
            if !["https", "http", "ssh", "git"].contains(&scheme) {
                return Err(format!(
                    "`{scheme}://` is not supported; use https, http, ssh, git or a path"
                ));
            }
            return Ok(Self::Remote(text.to_owned()));
        }
        if text.contains("::") {
            return Err("remote helpers (`name::address`) run programs and are refused".to_owned());
        }
        if text.starts_with('/') {
            return Ok(Self::Local(text.into()));
        }
        match text.split_once(':') {
            Some((host, _)) if !host.contains('/') && !host.is_empty() => {
                Ok(Self::Remote(text.to_owned()))
            }
            _ => Err(format!("`{text}` is relative; write the repository's whole path")),
        }
    }

    /// # Errors
    /// A sentence for the operator: what is wrong, and what to run.
    pub(super) fn check(&self) -> Result<(), String> {
        let Self::Local(path) = self else { return Ok(()) };
        let user = nix::unistd::geteuid();
        match fs::read_dir(path) {
            Ok(_) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Err(format!(
                "the agent's user (uid {user}) can't read the repository `{0}`: \
                 `chmod -R o+rX {0}`, and `chmod o+x` for the directories above it",
                path.display()
            )),
            Err(error) => Err(format!("can't read the repository `{}`: {error}", path.display())),
        }
    }

    pub(super) fn path(&self) -> Option<&Path> {
        match self {
            Self::Local(path) => Some(path),
            Self::Remote(_) => None,
        }
    }

    pub(super) fn as_text(&self) -> String {
        match self {
            Self::Local(path) => path.to_string_lossy().into_owned(),
            Self::Remote(url) => url.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_that_would_run_something_are_refused() {
        let refused =
            ["--upload-pack=touch x", "ext::sh -c touch% x", "fd::3", "ftp://a/b", "relative/path"];

        for text in refused {
            assert!(Source::parse(text).is_err(), "{text}");
        }
        for text in ["https://h/r.git", "ssh://u@h/r", "git@host:r.git"] {
            assert_eq!(Source::parse(text), Ok(Source::Remote(text.to_owned())));
        }
        assert_eq!(Source::parse("file:///r"), Ok(Source::Local("/r".into())));
    }
}
