//! Keeps a program inside its workspace with Landlock, where the kernel has it.
//!
//! It may read and run what the system and its own installation consist of, do everything in its
//! workspace, and nothing elsewhere: not in other homes, not in the daemon's state, not in `/tmp`
//! (its `TMPDIR` is in the workspace). The network is left alone. This is the second wall: the first
//! is the agent's own uid, where it has one.

use std::{
    collections::BTreeSet,
    ffi::OsString,
    io,
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::Command,
    thread,
};

use landlock::{
    ABI, Access as _, AccessFs, CompatLevel, Compatible as _, LandlockStatus, Ruleset,
    RulesetAttr as _, RulesetCreatedAttr as _, RulesetError, RulesetStatus, Scope,
    path_beneath_rules,
};
use nix::sys::{prctl, signal::Signal};

use super::{environment::on_path, memory};

/// What systems keep programs and their settings in. `/run` holds what `/etc/resolv.conf` leads to.
const SYSTEM: [&str; 14] = [
    "/bin",
    "/etc",
    "/gnu/store",
    "/lib",
    "/lib32",
    "/lib64",
    "/libx32",
    "/nix/store",
    "/opt",
    "/proc",
    "/run",
    "/sbin",
    "/sys",
    "/usr",
];
/// Null, random numbers, terminals, shared memory.
const DEVICES: [&str; 10] = [
    "/dev/full",
    "/dev/null",
    "/dev/ptmx",
    "/dev/pts",
    "/dev/random",
    "/dev/shm",
    "/dev/tty",
    "/dev/urandom",
    "/dev/zero",
    "/dev/fd",
];
/// The newest interface whose rights we know how to hand out; older kernels know fewer.
const NEWEST: ABI = ABI::V9;

/// Where a confined program may go.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Rules {
    /// Everything may be done in `repo` and `home` here.
    pub(super) workspace: PathBuf,
    /// What is here may be read and run.
    pub(super) readable: BTreeSet<PathBuf>,
}

impl Rules {
    /// Lets a program be read and run with what is installed beside it.
    pub(super) fn allow_program(&mut self, program: &Path) {
        for path in [Some(program.to_owned()), program.canonicalize().ok()].into_iter().flatten() {
            // The outermost: what a package needs is installed beside it, not only below it.
            let modules = path.ancestors().filter(|above| above.ends_with("node_modules")).last();
            self.readable.extend(modules.map(Path::to_owned));
            if let Some(directory) = path.parent() {
                self.allow_programs(directory);
            }
            self.readable.insert(path);
        }
    }

    /// Lets the programs in a directory be run, with the libraries of the same installation.
    pub(super) fn allow_programs(&mut self, directory: &Path) {
        if directory.parent().is_none() {
            return;
        }
        self.readable.insert(directory.to_owned());
        if directory.file_name().is_some_and(|name| name == "bin")
            && let Some(prefix) = directory.parent()
        {
            self.readable.extend(["lib", "lib64", "libexec"].map(|name| prefix.join(name)));
        }
    }

    /// How a program is started under these rules: through ourselves, because only a process can
    /// restrict itself.
    pub(super) fn command(&self, program: &Path, arguments: &[String]) -> Command {
        let mut command = Command::new("/proc/self/exe");
        command.arg(super::AGENT_EXEC).arg(std::process::id().to_string()).arg(&self.workspace);
        command.args(&self.readable).arg("--").arg(program).args(arguments);
        command
    }

    fn apply(&self) -> Result<RulesetStatus, RulesetError> {
        let all = AccessFs::from_all(NEWEST);
        let read = AccessFs::from_read(NEWEST);
        let created = Ruleset::default()
            .set_compatibility(CompatLevel::BestEffort)
            .handle_access(all)?
            // It can't signal the daemon, even where both have one uid.
            .scope(Scope::Signal)?
            .create()?
            .add_rules(path_beneath_rules(SYSTEM, read))?
            .add_rules(path_beneath_rules(DEVICES, AccessFs::from_file(NEWEST) | read))?
            .add_rules(path_beneath_rules(["/dev/shm"], all))?
            .add_rules(path_beneath_rules(&self.readable, read))?
            .add_rules(path_beneath_rules([self.workspace.join("gitconfig")], read))?
            .add_rules(path_beneath_rules(["repo", "home"].map(|d| self.workspace.join(d)), all))?;
        Ok(created.restrict_self()?.ruleset)
    }
}

/// What the kernel enforces: `landlock ABI 6`, or `none` and why.
pub(super) fn in_force() -> String {
    // A restriction holds for the thread that asks for it and for what it starts: this one starts
    // nothing and ends.
    let probe = thread::spawn(|| {
        Ruleset::default().handle_access(AccessFs::from_all(ABI::V1))?.create()?.restrict_self()
    });
    match probe.join().map(|status| status.map(|status| status.landlock)) {
        Ok(Ok(LandlockStatus::Available { effective_abi, .. })) => {
            format!("landlock ABI {}", effective_abi as i32)
        }
        Ok(Ok(LandlockStatus::NotEnabled)) => "none (Landlock is switched off)".to_owned(),
        Ok(Ok(LandlockStatus::NotImplemented)) => "none (the kernel has no Landlock)".to_owned(),
        Ok(Err(error)) => format!("none ({error})"),
        Err(_) => "none".to_owned(),
    }
}

/// Restricts this process and becomes the program that the arguments name. Returns only if it can't.
pub(super) fn exec(mut arguments: impl Iterator<Item = OsString>) -> io::Error {
    let parent = arguments.next();
    let workspace = arguments.next().unwrap_or_default();
    let readable = arguments.by_ref().take_while(|argument| argument != "--");
    let rules =
        Rules { workspace: workspace.into(), readable: readable.map(PathBuf::from).collect() };
    let Some(program) = arguments.next() else {
        return io::Error::new(io::ErrorKind::InvalidInput, "no program");
    };
    start(parent, &rules, &program, arguments)
}

fn start(
    parent: Option<OsString>,
    rules: &Rules,
    program: &OsString,
    arguments: impl Iterator<Item = OsString>,
) -> io::Error {
    // Nobody would be left to end the program if the host were killed.
    if let Err(error) = prctl::set_pdeathsig(Signal::SIGKILL) {
        return error.into();
    }
    let host = nix::unistd::getppid().to_string();
    if parent.is_none_or(|parent| *parent != *host) {
        return io::Error::other("its host has ended");
    }
    memory::go_first();
    if !rules.workspace.as_os_str().is_empty()
        && let Err(error) = rules.apply()
    {
        return io::Error::other(error);
    }
    Command::new(program).args(arguments).exec()
}

/// The rules for a program in a workspace.
pub(super) fn rules(
    workspace: &Path,
    source: Option<&Path>,
    program: &Path,
    search: &str,
) -> Rules {
    let mut rules = Rules { workspace: workspace.to_owned(), ..Rules::default() };
    rules.readable.extend(source.map(Path::to_owned));
    rules.allow_program(program);
    // What it starts by name, such as the interpreter in its first line.
    for directory in on_path(search) {
        rules.allow_programs(&directory);
    }
    // Rights hold for all below: a directory that holds a home, or other agents, is never handed out.
    let home = std::env::var_os("HOME").map(PathBuf::from);
    rules.readable.retain(|path| {
        let holds = |place: &Path| place.starts_with(path);
        path.is_absolute()
            && !holds(workspace)
            && !holds(Path::new("/root"))
            && !holds(Path::new("/tmp"))
            && !home.as_deref().is_some_and(holds)
            && path.parent() != Some(Path::new("/home"))
    });
    rules
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_brings_its_installation_and_not_its_home() {
        let program = Path::new("/home/me/.npm/lib/node_modules/agent/bin/agent.js");

        let rules = rules(Path::new("/w"), None, program, "/home/me/bin:relative:/usr/bin:/");

        let readable: Vec<_> = rules.readable.iter().map(|path| path.to_str().unwrap()).collect();
        assert!(readable.contains(&"/home/me/.npm/lib/node_modules"), "{readable:?}");
        assert!(readable.contains(&"/home/me/bin") && readable.contains(&"/home/me/lib"));
        assert!(!readable.contains(&"/home/me") && !readable.contains(&"/"), "{readable:?}");
    }
}
