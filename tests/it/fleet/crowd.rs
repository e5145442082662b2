//! Many agents at once, and many one after the other. The numbers are for a build that is not
//! optimized.

use std::fs;

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use super::{Fleet, builder};
use crate::support::{eventually, left_out_without_root};

const KIB: u64 = 1024;
/// What the daemon may have in memory.
const MAX_MEMORY: u64 = 64 * KIB * KIB;

/// Bytes that the daemon has in memory, now (`VmRSS`) or at most so far (`VmHWM`).
fn memory(fleet: &Fleet, what: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", fleet.daemon.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(what)).unwrap();
    let size: u64 = line.split_whitespace().next().unwrap().parse().unwrap();
    size * KIB
}

/// The daemon's open descriptors; it is not dumpable, so only root sees them.
fn descriptors(fleet: &Fleet) -> usize {
    fs::read_dir(format!("/proc/{}/fd", fleet.daemon.pid())).map_or(0, Iterator::count)
}

#[test]
fn a_crowd_at_once_has_all_that_it_said_in_order() {
    const AGENTS: usize = 20;
    const PIECES: u32 = 500;
    let fleet = Fleet::start(builder("[fleet]\nmax_tasks = 64\n"));
    let names: Vec<_> = (0..AGENTS).map(|number| format!("agent-{number}")).collect();
    for name in &names {
        fleet.create(name, "demo", &format!("stream {PIECES} for {name}"));
    }
    for name in &names {
        assert_eq!(fleet.outcome(name), ["idle", "done", ""]);
    }

    let pieces: String = (0..PIECES).map(|piece| format!("{piece}\n")).collect();
    for name in &names {
        let said = fleet.messages(name);
        let (before, after) = said.split_once(&pieces).unwrap_or_else(|| panic!("{name}: {said}"));
        assert!(before.contains(&format!("stream {PIECES} for {name}")), "{before}");
        assert_eq!(after, "I wrote demo.txt.");
    }
    let (now, most) = (memory(&fleet, "VmRSS:"), memory(&fleet, "VmHWM:"));
    let size = |bytes: u64| format!("{} KiB", bytes / KIB);
    eprintln!("{AGENTS} agents said {PIECES} pieces each: {}, at most {}", size(now), size(most));
    assert!(most < MAX_MEMORY);
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    fleet.ends_clean(&names);
}

/// Ends the program of an agent, not its host.
fn kill_program(fleet: &Fleet) {
    let processes = fleet.processes();
    let is_host = |pid: i32| processes.iter().any(|process| process.pid == pid);
    let program = processes.iter().find(|process| is_host(process.parent)).unwrap();
    kill(Pid::from_raw(program.pid), Signal::SIGKILL).unwrap();
}

#[test]
fn cycles_of_create_task_cancel_or_kill_and_delete_leave_nothing() {
    const CYCLES: usize = 30;
    const WARM: usize = 6;
    let fleet = Fleet::start(builder("[fleet]\nclose_grace = \"1s\"\n"));
    let mut before = None;
    for cycle in 0..CYCLES {
        if cycle == WARM {
            before = Some((memory(&fleet, "VmRSS:"), descriptors(&fleet)));
        }
        fleet.create("a", "demo", "slow");
        fleet.until_it_says("a", "0… ");
        match cycle % 3 {
            0 => {
                fleet.cancel("a");
                assert_eq!(fleet.outcome("a"), ["idle", "canceled", "canceled on request"]);
            }
            1 => {
                kill_program(&fleet);
                let why = "the agent's program was ended by signal 9";
                assert_eq!(fleet.outcome("a"), ["failed", "failed", why]);
            }
            _ => {}
        }
        fleet.delete("a");
        fleet.until_deleted("a");
        fleet.is_empty();
    }

    let (memory_before, descriptors_before) = before.unwrap();
    let memory_after = memory(&fleet, "VmRSS:");
    eprintln!(
        "after {WARM} and {CYCLES} cycles: {} and {} KiB, {descriptors_before} and {} descriptors",
        memory_before / KIB,
        memory_after / KIB,
        descriptors(&fleet),
    );
    assert!(memory_after < memory_before + 4 * KIB * KIB);
    if !left_out_without_root("counting the daemon's descriptors") {
        eventually("no descriptor is left open", || {
            (descriptors(&fleet) <= descriptors_before).then_some(())
        });
    }
    fleet.stops_clean();
}
