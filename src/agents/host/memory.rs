//! Running out of memory: the kernel is to end the agent and not its host, and the host can tell.

use std::fs;

/// How much sooner than its host a program is ended when memory runs out, from 0 to 1000.
const SOONER: i32 = 500;
const SCORE: &str = "/proc/self/oom_score_adj";

/// Makes this process one that the kernel ends before its parent. Best effort: nothing depends on it
/// but who is ended.
pub(super) fn go_first() {
    let own = fs::read_to_string(SCORE).ok().and_then(|text| text.trim().parse::<i32>().ok());
    let score = own.unwrap_or(0).saturating_add(SOONER).min(1000);
    let _ = fs::write(SCORE, score.to_string());
}

/// How often the kernel has ended something in our cgroup for lack of memory. 0 where it can't be
/// known.
pub(super) fn kills() -> u64 {
    let cgroups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let read = |path: String| fs::read_to_string(path).ok();
    places(&cgroups).into_iter().find_map(|place| count(&read(place)?)).unwrap_or(0)
}

/// The files that may tell: those of the unified hierarchy, alone or beside the others, and that of
/// the old one.
fn places(cgroups: &str) -> Vec<String> {
    let of = |controller: &str| {
        cgroups.lines().find_map(|line| {
            let (_, rest) = line.split_once(':')?;
            let (controllers, path) = rest.split_once(':')?;
            controllers.split(',').any(|name| name == controller).then_some(path)
        })
    };
    let unified = of("").into_iter().flat_map(|path| {
        ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"]
            .map(|root| format!("{root}{path}/memory.events"))
    });
    let old = of("memory").map(|path| format!("/sys/fs/cgroup/memory{path}/memory.oom_control"));
    unified.chain(old).collect()
}

/// `oom_kill 2`, a line of either file.
fn count(text: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix("oom_kill "))?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_hierarchy_has_its_file() {
        assert_eq!(
            places("0::/fleet.slice/fleet-agent@01.service\n"),
            [
                "/sys/fs/cgroup/fleet.slice/fleet-agent@01.service/memory.events",
                "/sys/fs/cgroup/unified/fleet.slice/fleet-agent@01.service/memory.events"
            ]
        );
        let both = places("4:cpu,cpuacct:/x\n3:memory:/a\n1:name=systemd:/b\n0::/b\n");
        assert_eq!(both[1], "/sys/fs/cgroup/unified/b/memory.events");
        assert_eq!(both[2], "/sys/fs/cgroup/memory/a/memory.oom_control");
        assert_eq!(places(""), [""; 0]);
    }

    #[test]
    fn kills_are_counted_in_either_form() {
        assert_eq!(count("low 0\nhigh 0\nmax 3\noom 2\noom_kill 2\noom_group_kill 0\n"), Some(2));
        assert_eq!(count("oom_kill_disable 0\nunder_oom 0\noom_kill 1\n"), Some(1));
        assert_eq!(count("oom_kill_disable 0\nunder_oom 0\n"), None);
    }
}
