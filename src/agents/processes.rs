//! The process table: who descends from whom, and ending all of them.
//!
//! Process groups and sessions can be left by whoever is in them. Parents can't: an orphan goes to
//! the nearest subreaper above it, which an agent host is.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::Path,
    process::{Child, Command},
    sync::{Mutex, MutexGuard, PoisonError},
};

use nix::{
    errno::Errno,
    sys::{
        signal::{Signal, kill},
        wait::{WaitPidFlag, WaitStatus, waitpid},
    },
    unistd::Pid,
};

/// A process, as the kernel shows it to everyone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Process {
    /// Its identity, until it is reaped.
    pub pid: i32,
    /// Its parent.
    pub parent: i32,
    /// The leader of its session.
    pub session: i32,
    /// When it started, in clock ticks since boot: with the pid, an identity for ever.
    pub started: u64,
    /// It has ended and waits to be reaped.
    pub ended: bool,
}

impl Process {
    /// The process with this pid; `None` if there is none.
    pub fn look_up(pid: i32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        Self::parse(&stat)
    }

    /// `pid (name) state ppid pgrp session …`, start time in field 22. The name may hold anything.
    fn parse(stat: &str) -> Option<Self> {
        let (pid, rest) = stat.split_once(" (")?;
        let (_, rest) = rest.rsplit_once(") ")?;
        let fields: Vec<&str> = rest.split(' ').collect();
        Some(Self {
            pid: pid.parse().ok()?,
            ended: matches!(*fields.first()?, "Z" | "X"),
            parent: fields.get(1)?.parse().ok()?,
            session: fields.get(3)?.parse().ok()?,
            started: fields.get(19)?.parse().ok()?,
        })
    }

    /// The value of a variable in its environment at its start. Unknown is none.
    pub fn variable(&self, name: &str) -> Option<String> {
        let environ = fs::read(format!("/proc/{}/environ", self.pid)).ok()?;
        environ.split(|&b| b == 0).find_map(|entry| {
            let value = entry.strip_prefix(name.as_bytes())?.strip_prefix(b"=")?;
            String::from_utf8(value.to_vec()).ok()
        })
    }
}

/// The children of this process that somebody waits for. Other children are orphans that came to us.
static AWAITED: Mutex<BTreeSet<i32>> = Mutex::new(BTreeSet::new());

fn awaited() -> MutexGuard<'static, BTreeSet<i32>> {
    // A set of numbers is whole after each step.
    AWAITED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Says that somebody waits for this child, until it is dropped.
#[derive(Debug)]
pub struct Awaited(i32);

impl Drop for Awaited {
    fn drop(&mut self) {
        awaited().remove(&self.0);
    }
}

/// Starts a child that the caller waits for. Reap it before the mark is dropped.
///
/// # Errors
/// As [`Command::spawn`].
pub fn spawn(command: &mut Command) -> io::Result<(Child, Awaited)> {
    // Held over the start: nobody takes the child for an orphan in between.
    let mut children = awaited();
    let child = command.spawn()?;
    let pid = child.id().cast_signed();
    children.insert(pid);
    Ok((child, Awaited(pid)))
}

/// Kills and reaps the chosen children of this process and all that descends from them, except for
/// children that somebody waits for. Answers whether any was found: then it is to be called again.
///
/// # Errors
/// When `/proc` can't be listed.
pub fn kill_orphans(chosen: impl Fn(&Process) -> bool) -> io::Result<bool> {
    let children = awaited();
    let me = std::process::id().cast_signed();
    let all = all()?;
    let mut found = Vec::new();
    for child in all.iter().filter(|process| process.parent == me) {
        if !children.contains(&child.pid) && chosen(child) {
            found.push(*child);
            found.extend(descendants(&all, child.pid, &[]));
        }
    }
    Ok(kill_all(&found))
}

/// Reaps orphans that came to us and have ended, but not `except`.
///
/// # Errors
/// When `/proc` can't be listed.
pub fn reap_orphans(except: Option<i32>) -> io::Result<()> {
    let children = awaited();
    let me = std::process::id().cast_signed();
    let all = all()?;
    let ended = all.iter().filter(|process| process.ended && process.parent == me);
    for orphan in ended.filter(|p| !children.contains(&p.pid) && Some(p.pid) != except) {
        let _ = reap(orphan.pid);
    }
    Ok(())
}

/// All processes that can be seen.
///
/// # Errors
/// When `/proc` can't be listed.
pub fn all() -> io::Result<Vec<Process>> {
    let entries = fs::read_dir(Path::new("/proc"))?;
    let pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    Ok(pids.filter_map(Process::look_up).collect())
}

/// Those that descend from `root`, without it, and without those in `spared` and what descends from
/// them.
pub fn descendants(all: &[Process], root: i32, spared: &[i32]) -> Vec<Process> {
    let mut children: BTreeMap<i32, Vec<Process>> = BTreeMap::new();
    for process in all {
        children.entry(process.parent).or_default().push(*process);
    }
    let mut found = Vec::new();
    let mut look = vec![root];
    while let Some(parent) = look.pop() {
        // Taken out, so that a table that changed under us can't lead in circles.
        for child in children.remove(&parent).unwrap_or_default() {
            if !spared.contains(&child.pid) {
                look.push(child.pid);
                found.push(child);
            }
        }
    }
    found
}

/// Kills all of them that live, and reaps those that are our own children and have ended.
///
/// Answers whether any were left: then it is to be called again with a new list.
pub fn kill_all(processes: &[Process]) -> bool {
    // Stopped first: what forks faster than we kill stands still then.
    for signal in [Signal::SIGSTOP, Signal::SIGKILL] {
        for process in processes.iter().filter(|process| !process.ended) {
            // Gone already is what we want; not permitted can't be changed.
            let _ = kill(Pid::from_raw(process.pid), signal);
        }
    }
    let me = std::process::id().cast_signed();
    for process in processes.iter().filter(|process| process.ended && process.parent == me) {
        let _ = reap(process.pid);
    }
    !processes.is_empty()
}

/// Reaps a child of ours if it has ended; `None` if it runs.
///
/// # Errors
/// When it is no child of ours (any more).
pub fn reap(pid: i32) -> Result<Option<WaitStatus>, Errno> {
    match waitpid(Pid::from_raw(pid), Some(WaitPidFlag::WNOHANG))? {
        WaitStatus::StillAlive => Ok(None),
        status => Ok(Some(status)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn process(pid: i32, parent: i32) -> Process {
        Process { pid, parent, session: 1, started: 0, ended: false }
    }

    #[test]
    fn a_name_with_parentheses_and_blanks_misleads_nobody() {
        let rest = "S 1 2 3 0 -1 4194560 0 0 0 0 0 0 0 0 20 0 1 0 777 0 0";

        let process = Process::parse(&format!("42 (a) S 9 (b) {rest}")).unwrap();

        assert_eq!((process.pid, process.parent, process.session), (42, 1, 3));
        assert_eq!((process.started, process.ended), (777, false));
    }

    #[test]
    fn descendants_are_found_at_any_depth_and_spared_ones_are_not() {
        let table = [process(2, 1), process(3, 2), process(4, 3), process(5, 2), process(6, 5)];

        let mut found: Vec<_> = descendants(&table, 2, &[5]).iter().map(|p| p.pid).collect();
        found.sort_unstable();

        assert_eq!(found, [3, 4]);
    }

    #[test]
    fn this_process_is_in_the_table() {
        let me = std::process::id().cast_signed();

        let found = all().unwrap();

        assert!(found.iter().any(|process| process.pid == me && !process.ended));
    }
}
