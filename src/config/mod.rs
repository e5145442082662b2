//! From files, `.env`, the environment and flags to [`Settings`].
//!
//! Three stages: each source becomes a fragment of raw values with their origins, the fragments are
//! laid over one another by precedence, and the result is validated. All problems are told at once.
//! What settings there are is in [`KEYS`]. Nothing here changes the process. Agents' variables may
//! be secrets: no message shows them.

mod dotenv;
mod file;
mod fragment;
mod keys;
mod kind;
mod nearest;
mod reload;
mod surroundings;
mod tables;
mod token;
mod validate;
mod value;

#[cfg(test)]
mod tests;

use std::{
    collections::BTreeMap,
    error::Error,
    ffi::OsString,
    fmt, io,
    path::{Path, PathBuf},
};

use nix::unistd::geteuid;

use self::{dotenv::Dotenv, fragment::Fragment, surroundings::Surroundings};
pub use self::{
    fragment::Origin,
    keys::{KEYS, Key, Preset},
    kind::Kind,
    reload::needs_restart,
    tables::{AGENTS, Field, PROJECTS, ROLES, Table},
};
use crate::{app::settings::Settings, auth::Secret};

/// Everything that settings are read from, so that [`load`] depends on nothing else but files.
#[derive(Clone)]
pub struct Sources {
    /// The environment.
    pub environment: Vec<(OsString, OsString)>,
    /// Where `.env` is looked for, and what relative paths start at. Absolute.
    pub working_dir: PathBuf,
    /// Whose files are trusted besides root's, and whose home `~` is if HOME is unset.
    pub euid: u32,
    /// The program of the built-in agent: the running one.
    pub program: PathBuf,
    /// The command line.
    pub flags: Flags,
}

impl fmt::Debug for Sources {
    /// Without what may be secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sources").field("working_dir", &self.working_dir).finish_non_exhaustive()
    }
}

impl Sources {
    /// Those of this process.
    ///
    /// # Errors
    /// The working directory was removed, or can't be read.
    pub fn of_process(flags: Flags) -> io::Result<Self> {
        Ok(Self {
            environment: std::env::vars_os().collect(),
            working_dir: std::env::current_dir()?,
            euid: geteuid().as_raw(),
            // Without /proc the built-in agent is taken from PATH, like any other program.
            program: std::env::current_exe().unwrap_or_else(|_| "fleet-mcp".into()),
            flags,
        })
    }
}

/// What the command line says about settings.
#[derive(Debug, Clone, Default)]
pub struct Flags {
    /// The configuration file to read instead of the usual one; its neighbour `conf.d` belongs to it.
    pub config: Option<PathBuf>,
    /// Paths of [`KEYS`] with their values; lists are separated by commas.
    pub values: Vec<(&'static str, String)>,
}

/// What [`load`] found.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The settings.
    pub settings: Settings,
    /// The primary token, if a variable holds it.
    pub token: Option<Secret>,
    /// What was passed over, why, and what to do about it: a sentence each, for the log.
    pub warnings: Vec<String>,
    /// Where each of [`KEYS`] that isn't at its default was set.
    pub origins: BTreeMap<&'static str, Origin>,
    /// The files that were read, in this order.
    pub files: Vec<PathBuf>,
}

/// One thing that is wrong: `/etc/fleet-mcp/config.toml:12: http.max_connections: …`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// File and line, variable or flag, and the key.
    pub place: String,
    /// What is wrong, and what is allowed. Never a value that may be secret.
    pub text: String,
}

impl Problem {
    fn new(place: impl Into<String>, text: impl Into<String>) -> Self {
        Self { place: place.into(), text: text.into() }
    }

    fn unknown(place: String, what: &str, nearest: Option<&str>) -> Self {
        let hint = match nearest {
            Some(known) => format!("; did you mean `{known}`?"),
            None => "; remove it".to_owned(),
        };
        Self::new(place, format!("unknown {what}{hint}"))
    }

    fn unreadable(path: &Path, error: &io::Error) -> Self {
        let help = match error.kind() {
            io::ErrorKind::PermissionDenied => "; make it readable for the daemon's user",
            io::ErrorKind::NotFound => "; create it, or name another file",
            _ => "",
        };
        Self::new(path.display().to_string(), format!("can't be read: {error}{help}"))
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.text)
    }
}

/// Why there are no settings: all problems of all sources.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigErrors {
    /// At least one, in the order of the sources.
    pub problems: Vec<Problem>,
}

impl Error for ConfigErrors {}

/// One problem a line.
impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, problem) in self.problems.iter().enumerate() {
            let separator = if at == 0 { "" } else { "\n" };
            write!(f, "{separator}{problem}")?;
        }
        Ok(())
    }
}

/// Reads and validates all settings. A value that another source overrides is not validated.
///
/// # Errors
/// Something can't be read or understood, or is unknown. Nothing falls back to a default.
pub fn load(sources: &Sources) -> Result<Loaded, ConfigErrors> {
    let mut problems = Vec::new();
    let around = Surroundings::of(sources, &mut problems);
    let mut warnings = Vec::new();
    let (merged, files) = merge(sources, &around, &mut warnings, &mut problems);
    let mut settings = validate::settings(&merged, &around, &mut problems, &mut warnings);
    let (source, token) = token::primary(&merged, &around, &mut problems, &mut warnings);
    settings.auth.primary = source;
    if !problems.is_empty() {
        return Err(ConfigErrors { problems });
    }
    let origins = merged.values.into_iter().map(|(path, entry)| (path, entry.origin)).collect();
    Ok(Loaded { settings, token, warnings, origins, files })
}

/// Where the daemon of these sources has its control socket, as far as they can be understood: with
/// a mistake anywhere else in them, a running daemon must still be reached.
pub fn control_socket(sources: &Sources) -> Option<PathBuf> {
    let mut problems = Vec::new();
    let around = Surroundings::of(sources, &mut problems);
    let (merged, _) = merge(sources, &around, &mut Vec::new(), &mut problems);
    let path = validate::settings(&merged, &around, &mut problems, &mut Vec::new()).control_socket;
    // A placeholder for what is not understood is not absolute.
    path.is_absolute().then_some(path)
}

/// All sources laid over one another, and the files that were read.
fn merge(
    sources: &Sources,
    around: &Surroundings,
    warnings: &mut Vec<String>,
    problems: &mut Vec<Problem>,
) -> (Fragment, Vec<PathBuf>) {
    let (mut merged, mut files) = from_files(sources, around, problems);
    if !surroundings::is_service(sources) {
        let path = sources.working_dir.join(".env");
        match dotenv::read(&path, sources.euid, problems) {
            Dotenv::Missing => {}
            Dotenv::Ignored(why) => warnings.push(why),
            Dotenv::Read(fragment) => {
                merged.overlay(fragment);
                files.push(path);
            }
        }
    }
    merged.overlay(Fragment::from_environment(&sources.environment, problems));
    merged.overlay(Fragment::from_flags(&sources.flags.values, problems));
    (merged, files)
}

/// `config.toml`, or the file that was named, and then `conf.d` beside it.
fn from_files(
    sources: &Sources,
    around: &Surroundings,
    problems: &mut Vec<Problem>,
) -> (Fragment, Vec<PathBuf>) {
    let mut merged = Fragment::default();
    let mut files = Vec::new();
    let main = match &sources.flags.config {
        Some(path) => named_file(path, around, problems),
        None => around.configuration_dir().map(|dir| dir.join("config.toml")),
    };
    let Some(main) = main else {
        return (merged, files);
    };
    let drop_ins =
        main.parent().map(|dir| file::drop_ins(&dir.join("conf.d"), sources.euid, problems));
    let named = sources.flags.config.is_some();
    for (at, path) in std::iter::once(main).chain(drop_ins.into_iter().flatten()).enumerate() {
        match file::read(&path, sources.euid, problems) {
            Some(fragment) => {
                merged.overlay(fragment);
                files.push(path);
            }
            // A drop-in was listed a moment ago: one that can't be found is a broken link.
            None if named || at > 0 => {
                let missing = io::ErrorKind::NotFound.into();
                problems.push(Problem::unreadable(&path, &missing));
            }
            None => {}
        }
    }
    (merged, files)
}

/// The file of `--config`. Shells leave the `~` of `--config=~/…` to us.
fn named_file(path: &Path, around: &Surroundings, problems: &mut Vec<Problem>) -> Option<PathBuf> {
    let Some(text) = path.to_str() else {
        return Some(around.working_dir.join(path));
    };
    value::path(text, &around.working_dir, around.home.as_deref())
        .map_err(|why| problems.push(Problem::new("--config", why)))
        .ok()
}
