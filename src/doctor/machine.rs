//! The machine: room, time, descriptors.

use std::path::Path;

use jiff::{Timestamp, tz::TimeZone};
use nix::sys::{
    resource::{Resource, getrlimit},
    statfs::{FsType, TMPFS_MAGIC, statfs},
    statvfs::statvfs,
};

use crate::app::{doctor::Finding, settings::Settings};

const MIB: u64 = 1024 * 1024;
/// Below this nothing can be relied on: a token, a batch of events, the database's log.
const FULL: u64 = 16 * MIB;
/// Below this a busy day fills it: logs of agents and their workspaces.
const TIGHT: u64 = 512 * MIB;
/// Files that may be made before a few workspaces have taken them all.
const FEW_FILES: u64 = 10_000;
/// The file system of containers' own layers.
const OVERLAYFS: FsType = FsType(0x794c_7630);
/// What the daemon needs besides connections and agents.
const RESERVE: u64 = 64;

pub(super) fn space(settings: &Settings) -> Vec<Finding> {
    const CHECK: &str = "disk_space";
    let place = existing(&settings.state_dir);
    let Ok(disk) = statvfs(place) else {
        let what = format!("the room in `{}` was not checked", place.display());
        return vec![Finding::skipped(CHECK, what, "this user may not look there")];
    };
    let shown = place.display();
    let free = disk.blocks_available() * disk.fragment_size();
    let fix = format!("make room: `df -h {shown}`, `du -xh {shown} | sort -h | tail`");
    let why = "tokens can't be rotated, tasks not started and events not recorded on a full disk";
    let what = |left: u64| format!("{left} MiB are free in `{shown}`");
    let mut findings = Vec::new();
    if free < FULL {
        findings.push(Finding::error(CHECK, what(free / MIB), why, fix));
    } else if free < TIGHT {
        findings.push(Finding::warning(CHECK, what(free / MIB), why, fix));
    }
    // Some file systems have no such limit and say 0 of 0.
    if disk.files() > 0 && disk.files_available() < FEW_FILES {
        let what = format!("{} more files can be made in `{shown}`", disk.files_available());
        findings.push(Finding::warning(CHECK, what, why, format!("df -i {shown}")));
    }
    findings
}

/// Whether it is there after the machine, or the container, was started anew.
pub(super) fn persistence(settings: &Settings) -> Option<Finding> {
    let place = existing(&settings.state_dir);
    let (kind, end) = match statfs(place).ok()?.filesystem_type() {
        TMPFS_MAGIC => ("memory (tmpfs)", "the machine restarts"),
        OVERLAYFS => ("the container's own layer", "the container is replaced"),
        _ => return None,
    };
    Some(Finding::warning(
        "persistence",
        format!("the state directory `{}` is in {kind}", settings.state_dir.display()),
        format!("tokens and agents are gone when {end}; the next start makes a new token"),
        "set FLEET_MCP_STATE_DIR to a directory on a disk; in a container, mount a volume there",
    ))
}

/// The directory itself, or where it will be made.
fn existing(path: &Path) -> &Path {
    path.ancestors().find(|path| path.exists()).unwrap_or(path)
}

/// Before this program was written it can't be.
pub(super) fn year(now: Timestamp) -> Option<Finding> {
    const WRITTEN: i16 = 2026;
    let year = now.to_zoned(TimeZone::UTC).year();
    (year < WRITTEN).then(|| {
        Finding::error(
            "clock",
            format!("this machine's clock says that it is {year}"),
            "tokens get wrong dates, certificates are taken for invalid, expiry does not work",
            "timedatectl set-ntp true",
        )
    })
}

pub(super) fn descriptors(settings: &Settings) -> Option<Finding> {
    let (_, limit) = getrlimit(Resource::RLIMIT_NOFILE).ok()?;
    let (connections, agents) = (settings.http.max_connections, settings.fleet.max_agents);
    let needed = (connections + agents) as u64 + RESERVE;
    (limit < needed).then(|| {
        Finding::warning(
            "descriptors",
            format!("{needed} files may have to be open, and {limit} may be"),
            format!(
                "http.max_connections is {connections}, but fewer connections will be accepted"
            ),
            "raise the limit (`LimitNOFILE=` in the unit, or `ulimit -Hn`), or lower \
             http.max_connections",
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_before_this_program_was_written_is_wrong() {
        let found = |time: &str| year(time.parse().unwrap()).is_some();

        assert!(found("1970-01-01T00:00:05Z") && found("2025-12-31T23:59:59Z"));
        assert!(!found("2026-01-01T00:00:00Z") && !found("2099-01-01T00:00:00Z"));
    }
}
