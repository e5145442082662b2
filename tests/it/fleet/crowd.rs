//! Many agents at once, and many one after the other. With the variable `ENDURANCE` the numbers are
//! those that the fleet promises; without it they are smaller, so that these tests take seconds.

use std::fs;

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use super::{Fleet, builder, enough};
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
    let (crowd, pieces) = enough((20, 500), (50, 1000));
    let fleet = Fleet::start(builder("[fleet]\nmax_tasks = 64\n"));
    let names: Vec<_> = (0..crowd).map(|number| format!("agent-{number}")).collect();
    for name in &names {
        fleet.create(name, "demo", &format!("stream {pieces} for {name}"));
    }
    for name in &names {
        assert_eq!(fleet.outcome(name), ["idle", "done", ""]);
    }

    let whole: String = (0..pieces).map(|piece| format!("{piece}\n")).collect();
    for name in &names {
        let said = fleet.messages(name);
        let (before, after) = said.split_once(&whole).unwrap_or_else(|| panic!("{name}: {said}"));
        assert!(before.contains(&format!("stream {pieces} for {name}")), "{before}");
        assert_eq!(after, "I wrote demo.txt.");
    }
    let (now, most) = (memory(&fleet, "VmRSS:"), memory(&fleet, "VmHWM:"));
    let size = |bytes: u64| format!("{} KiB", bytes / KIB);
    eprintln!("{crowd} agents said {pieces} pieces each: {}, at most {}", size(now), size(most));
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
    const WARM: usize = 6;
    let cycles = enough(24, 200);
    let fleet = Fleet::start(builder("[fleet]\nclose_grace = \"1s\"\n"));
    let mut before = None;
    for cycle in 0..cycles {
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
        "after {WARM} and {cycles} cycles: {} and {} KiB, {descriptors_before} and {} descriptors",
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
