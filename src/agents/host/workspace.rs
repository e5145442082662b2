//! An agent's workspace: `repo`, which the program works in, and `home`, which holds all else that it
//! has. Made, taken up again, published, removed.

use std::{
    fs, io,
    path::{Component, Path, PathBuf},
};

use base64::Engine as _;

use super::{
    confine, environment,
    files::{make_directory, place, remove},
    frames::{Made, Place, Workspace},
    git::{Git, Source},
};

/// Tells whose workspace it is: the agent's identity, and the source on the second line.
const OWNER: &str = "agent";

/// A workspace that is ready.
#[derive(Debug, Clone)]
pub(super) struct Ready {
    /// Where all of it is.
    pub(super) directory: PathBuf,
    /// The name of the agent.
    name: String,
    /// What was cloned.
    source: Option<Source>,
    /// Whether programs are kept in it.
    pub(super) confine: bool,
}

impl Ready {
    /// What the program works in.
    pub(super) fn repo(&self) -> PathBuf {
        self.directory.join("repo")
    }

    pub(super) fn home(&self) -> PathBuf {
        self.directory.join("home")
    }

    /// What may be read outside of it.
    pub(super) fn source_path(&self) -> Option<&Path> {
        self.source.as_ref().and_then(Source::path)
    }

    fn git(&self) -> Result<Git, String> {
        Git::new(&self.directory, self.source_path())
    }
}

/// Makes a workspace, or takes it up again.
///
/// # Errors
/// A sentence for the operator.
pub(super) fn prepare(workspace: &Workspace) -> Result<Ready, String> {
    let Place { name, agent, .. } = &workspace.place;
    let directory = &locate(&workspace.place)?;
    let source = workspace.source.as_deref().map(Source::parse).transpose()?;
    let owner = format!("{agent}\n{}\n", source.as_ref().map(Source::as_text).unwrap_or_default());
    let failed = |what: &str, path: &Path, error: io::Error| {
        format!("can't {what} `{}`: {error}", path.display())
    };
    set_aside(directory, &owner).map_err(|e| failed("move away", directory, e))?;
    make_directory(directory).map_err(|e| failed("make", directory, e))?;
    let ready = Ready {
        directory: directory.clone(),
        name: name.clone(),
        source,
        confine: workspace.confine,
    };
    let home = ready.home();
    make_directory(&home).map_err(|e| failed("make", &home, e))?;
    for below in environment::directories(&home) {
        make_directory(&below).map_err(|e| failed("make", &below, e))?;
    }
    for credential in &workspace.credentials {
        let shown = credential.path.display();
        let content = base64::engine::general_purpose::STANDARD
            .decode(&credential.content)
            .map_err(|_| format!("the credential `{shown}` is no base64"))?;
        place(&home, &credential.path, &content)
            .map_err(|e| format!("can't place the credential `{shown}`: {e}"))?;
    }
    match &ready.source {
        Some(source) => clone(&ready, source)?,
        None => make_directory(&ready.repo()).map_err(|e| failed("make", &ready.repo(), e))?,
    }
    // Last: a workspace without it was not finished, and is made anew.
    place(directory, Path::new(OWNER), owner.as_bytes())
        .map_err(|e| failed("write in", directory, e))?;
    Ok(ready)
}

/// A relative place is below the state directory that systemd has made for this host.
fn locate(place: &Place) -> Result<PathBuf, String> {
    let base = std::env::var_os("STATE_DIRECTORY");
    // It separates several with colons.
    let base = base.as_ref().and_then(|base| std::env::split_paths(base).next());
    below(base.as_deref(), &place.directory)
}

fn below(base: Option<&Path>, directory: &Path) -> Result<PathBuf, String> {
    let shown = directory.display();
    if directory.is_absolute() {
        return Ok(directory.to_owned());
    }
    if !directory.components().all(|part| matches!(part, Component::Normal(_))) {
        return Err(format!("the workspace `{shown}` is not below the state directory"));
    }
    match base.filter(|base| base.is_absolute()) {
        Some(base) => Ok(base.join(directory)),
        None => {
            Err(format!("the workspace `{shown}` is relative, and there is no STATE_DIRECTORY"))
        }
    }
}

/// Another agent's workspace is kept, beside, for the operator; an unfinished one is not.
fn set_aside(directory: &Path, owner: &str) -> io::Result<()> {
    match fs::read_to_string(directory.join(OWNER)) {
        Ok(found) if found == owner => Ok(()),
        Ok(found) => {
            let id: String = found.chars().take_while(char::is_ascii_digit).collect();
            let mut aside = directory.as_os_str().to_owned();
            aside.push(format!("~{id}"));
            remove(Path::new(&aside))?;
            fs::rename(directory, aside)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => remove(directory),
        Err(error) => Err(error),
    }
}

fn clone(ready: &Ready, source: &Source) -> Result<(), String> {
    let repo = ready.repo();
    if repo.join(".git").is_dir() {
        return Ok(());
    }
    source.check()?;
    let git = ready.git()?;
    let place = repo.to_str().ok_or("the workspace's path is no UTF-8")?;
    let branch = branch(&ready.name);
    let from = source.as_text();
    git.run(
        &ready.directory,
        &[
            "clone",
            "--quiet",
            "--no-hardlinks",
            "--no-recurse-submodules",
            "--template=",
            "--",
            &from,
            place,
        ],
    )
    .map_err(|error| format!("can't clone `{from}`: {error}"))?;
    // An empty repository has nothing to check out, and its first commit makes the branch.
    git.run(&repo, &["symbolic-ref", "--quiet", "HEAD"])?;
    if git.run(&repo, &["rev-parse", "--quiet", "--verify", "HEAD"]).is_ok() {
        git.run(&repo, &["checkout", "--quiet", "--no-track", "-B", &branch])?;
    } else {
        git.run(&repo, &["symbolic-ref", "HEAD", &format!("refs/heads/{branch}")])?;
    }
    git.run(&repo, &["config", "user.name", &ready.name])?;
    git.run(&repo, &["config", "user.email", &format!("{}@fleet-mcp.invalid", ready.name)])?;
    Ok(())
}

/// The branch of an agent's work.
pub fn branch(name: &str) -> String {
    format!("fleet/{name}")
}

/// Hands the agent's branch on as a git bundle, with what is not committed if so. The workspace is taken
/// as its record says, whatever the configuration has by now.
///
/// The agent may have written the repository's settings, so git runs as confined as the agent.
///
/// # Errors
/// A sentence for the operator.
pub(super) fn publish(
    place: &Place,
    confine: bool,
    uncommitted: bool,
    each: impl FnMut(&[u8]) -> io::Result<()>,
) -> Result<Made, String> {
    let directory = locate(place)?;
    let source = match recorded_source(&directory, place.agent)? {
        Ok(source) => source,
        Err(why) => return Ok(Made::Nothing(why)),
    };
    let ready = Ready {
        directory,
        name: place.name.clone(),
        source: Some(Source::parse(&source)?),
        confine,
    };
    let mut git = ready.git()?;
    if confine {
        let search = environment::DEFAULT_PATH;
        let rules = confine::rules(&ready.directory, ready.source_path(), git.program(), search);
        git = git.confined(rules);
    }
    let (repo, branch) = (ready.repo(), branch(&ready.name));
    let reference = format!("refs/heads/{branch}");
    if uncommitted {
        commit_leftovers(&git, &repo, &reference)?;
    }
    if git.run(&repo, &["rev-parse", "--quiet", "--verify", &reference]).is_err() {
        let none = format!("there is no commit on `{branch}`");
        let empty = git.run(&repo, &["rev-list", "--all", "--max-count=1"])?.is_empty()
            && git.run(&repo, &STATUS)?.is_empty();
        return if empty { Ok(Made::Nothing(none)) } else { Err(none) };
    }
    git.stream(&repo, &["bundle", "create", "--quiet", "-", &reference], each)?;
    Ok(Made::Bundle { source })
}

/// What this agent's workspace was cloned from; or, in words, why nothing was.
fn recorded_source(directory: &Path, agent: i64) -> Result<Result<String, String>, String> {
    let record = directory.join(OWNER);
    let text = match fs::read_to_string(&record) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Ok(Err("it has no workspace yet".to_owned()));
        }
        Err(error) => return Err(format!("can't read `{}`: {error}", record.display())),
    };
    let mut lines = text.lines();
    if lines.next() != Some(&*agent.to_string()) {
        return Ok(Err("the workspace belongs to another agent by now".to_owned()));
    }
    Ok(match lines.next() {
        Some(source) if !source.is_empty() => Ok(source.to_owned()),
        _ => {
            Err("it works in an empty directory, not on a repository: there is no branch"
                .to_owned())
        }
    })
}

/// What of the repository's files is not committed.
const STATUS: [&str; 3] = ["status", "--porcelain", "--ignore-submodules=all"];

/// Only on the agent's own branch: what it has checked out otherwise is none of its work.
fn commit_leftovers(git: &Git, repo: &Path, reference: &str) -> Result<(), String> {
    if git.run(repo, &["symbolic-ref", "--quiet", "HEAD"]).ok().as_deref().map(str::trim)
        != Some(reference)
        || git.run(repo, &STATUS)?.is_empty()
    {
        return Ok(());
    }
    git.run(repo, &["add", "--all"])?;
    if git.run(repo, &["diff", "--cached", "--quiet", "--no-ext-diff"]).is_ok() {
        return Ok(());
    }
    git.run(
        repo,
        &[
            "-c",
            "user.name=fleet-mcp",
            "-c",
            "user.email=fleet-mcp@fleet-mcp.invalid",
            "commit",
            "--quiet",
            "--no-verify",
            "--message=What was not committed when the branch was published",
        ],
    )?;
    Ok(())
}

/// Removes a workspace, if it is this agent's.
///
/// # Errors
/// A sentence for the operator.
pub(super) fn remove_workspace(place: &Place) -> Result<(), String> {
    let directory = &locate(place)?;
    let failed = |error| format!("can't remove the workspace `{}`: {error}", directory.display());
    match fs::read_to_string(directory.join(OWNER)) {
        Ok(owner) if owner.split('\n').next() != Some(&*place.agent.to_string()) => {
            // It belongs to another agent by now.
            return Ok(());
        }
        _ => {}
    }
    remove(directory).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_relative_workspace_is_below_the_state_directory_or_nowhere() {
        let base = Some(Path::new("/var/lib/fleet-agents/07"));
        let found = |base, directory| below(base, Path::new(directory)).ok();

        assert_eq!(found(base, "workspace"), Some("/var/lib/fleet-agents/07/workspace".into()));
        assert_eq!(found(base, "/home/me/w"), Some("/home/me/w".into()));
        for outside in ["../08/workspace", "a/../../08", "", "./a"] {
            assert_eq!(found(base, outside).filter(|_| !outside.is_empty()), None, "{outside}");
        }
        assert_eq!(found(None, "workspace"), None);
        assert_eq!(found(Some(Path::new("relative")), "workspace"), None);
    }
}
