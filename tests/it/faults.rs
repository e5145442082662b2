//! What the machine does to a daemon: a disk that fails or takes its time, no descriptors left, a pause, a
//! service manager or a socket that is gone. `docs/reliability.md` has them all, with those of other files.

mod damage;
mod directory;
mod pauses;

use std::{
    fs,
    io::{BufRead as _, BufReader},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use nix::sys::signal::Signal;

use crate::support::{
    Builder, TestDaemon, Wire, eventually, left_out_without_root, stderr, stdout,
};

const CONFIG: &str = r#"
[agents.echo]
driver = "command"
command = "true"
[roles.echo]
agent = "echo"
"#;
const HEALTH: &str = "GET /health HTTP/1.1\r\nHost: a\r\n\r\n";

/// How long strace may take to let go of the daemon.
const DETACHING: Duration = Duration::from_secs(5);

/// Something that the kernel does to all system calls of one kind while the value lives.
struct Injected {
    strace: Child,
    daemon: u32,
}

impl Injected {
    fn into(daemon: &TestDaemon, calls: &str, fault: &str) -> Self {
        let mut strace = Command::new("strace")
            .args(["-f", "-p", &daemon.pid().to_string(), "-e"])
            .arg(format!("trace={calls}"))
            .args(["-e", &format!("inject={calls}:{fault}")])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("strace is one of the tools that .ci/run installs");
        let mut lines = BufReader::new(strace.stderr.take().unwrap()).lines();
        let attached = lines.find(|line| line.as_ref().is_ok_and(|text| text.contains("attached")));
        assert!(attached.is_some(), "strace could not attach");
        thread::spawn(move || lines.for_each(drop));
        Self { strace, daemon: daemon.pid() }
    }
}

impl Drop for Injected {
    /// Ends it in either case: asked to, it may wait for a thread that never stops for it. The kernel lets
    /// go of what a tracer that is killed has traced.
    fn drop(&mut self) {
        let send = |to: u32, signal| {
            let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(to as i32), signal);
        };
        send(self.strace.id(), Signal::SIGTERM);
        let asked = Instant::now();
        while matches!(self.strace.try_wait(), Ok(None)) && asked.elapsed() < DETACHING {
            thread::yield_now();
        }
        let _ = self.strace.kill();
        let _ = self.strace.wait();
        send(self.daemon, Signal::SIGCONT);
    }
}

fn create(daemon: &TestDaemon, name: &str) -> u16 {
    let body = format!(r#"{{"name":"{name}","project":"scratch","role":"echo","task":"x"}}"#);
    daemon.post("/mcp/create_agent", body).bearer(&daemon.token()).send().status
}

fn names(daemon: &TestDaemon) -> String {
    daemon.get("/mcp/list_agents").bearer(&daemon.token()).send().body
}

fn with_agents() -> Builder {
    TestDaemon::builder().config(CONFIG)
}

#[test]
fn a_disk_that_fails_to_sync_leaves_the_old_token_in_force_and_is_told() {
    if left_out_without_root("a disk that fails (traces the daemon)") {
        return;
    }
    let daemon = TestDaemon::start();
    let old = daemon.token();

    let broken = Injected::into(&daemon, "fsync", "error=EIO");
    let output = daemon.fleetctl(&["rotate"]);

    assert_eq!((output.status.code(), stdout(&output)), (Some(1), ""));
    assert!(stderr(&output).contains("Input/output error"), "{}", stderr(&output));
    assert_eq!(daemon.get("/mcp/list_agents").bearer(&old).send().status, 200);
    drop(broken);
    let new = daemon.rotate();
    assert_eq!(daemon.token(), new);
    let daemon = daemon.restart();
    assert_eq!(daemon.get("/mcp/list_agents").bearer(&new).send().status, 200);
}

#[test]
fn what_a_failing_disk_does_not_take_is_refused_and_nobody_sees_it() {
    if left_out_without_root("a disk that fails (traces the daemon)") {
        return;
    }
    let daemon = with_agents().start();
    assert_eq!(create(&daemon, "before"), 200);

    let broken = Injected::into(&daemon, "fdatasync,fsync", "error=EIO");
    let refused = create(&daemon, "lost");

    assert_eq!(refused, 503);
    assert!(names(&daemon).contains("before") && !names(&daemon).contains("lost"));
    assert_eq!(daemon.get("/health").send().status, 200);
    drop(broken);
    eventually("the store takes it again", || (create(&daemon, "after") == 200).then_some(()));
    let daemon = daemon.restart();
    let names = names(&daemon);
    assert!(names.contains("before") && names.contains("after") && !names.contains("lost"));
}

#[test]
fn a_slow_disk_holds_up_only_who_waits_for_it() {
    if left_out_without_root("a slow disk (traces the daemon)") {
        return;
    }
    let daemon = with_agents().start();

    // In microseconds: two seconds for each.
    let slow = Injected::into(&daemon, "fdatasync,fsync", "delay_enter=2000000");
    let created = thread::scope(|scope| {
        let created = scope.spawn(|| create(&daemon, "slow"));
        let mut answered = 0;
        while !created.is_finished() {
            assert_eq!(daemon.get("/health").send().status, 200);
            assert_eq!(daemon.get("/mcp/list_agents").send().status, 401);
            answered += 1;
        }
        assert!(answered > 1, "the disk was not slow");
        created.join().unwrap()
    });

    assert_eq!(created, 200);
    drop(slow);
    assert!(names(&daemon).contains("slow"));
}

#[test]
fn without_descriptors_requests_in_flight_are_served_and_others_get_in_later() {
    if left_out_without_root("taking descriptors from another process") {
        return;
    }
    let daemon = TestDaemon::start();
    let token = daemon.token();
    let mut inside = Wire::connect(daemon.address());
    assert_eq!(inside.send(HEALTH).answer().status, 200);
    inside.send(format!(
        "POST /mcp/list_agents HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {token}\r\n\
         Content-Length: 2\r\n\r\n{{"
    ));
    let open = fs::read_dir(format!("/proc/{}/fd", daemon.pid())).unwrap().count();
    let limit = |number: usize| {
        let pid = daemon.pid().to_string();
        let limit = format!("--nofile={number}:");
        let done = Command::new("prlimit").args(["--pid", &pid, &limit]).status().unwrap();
        assert!(done.success());
    };

    // As many as are open: not one more.
    limit(open);
    let crowd: Vec<_> = (0..20).map(|_| Wire::connect(daemon.address())).collect();

    daemon.log_line("can't accept connections");
    assert_eq!(inside.send("}").answer().status, 200);
    limit(4096);
    drop(crowd);
    assert_eq!(daemon.get("/health").send().status, 200);
    daemon.rotate();
}

#[test]
fn without_the_service_managers_socket_it_starts_serves_and_ends() {
    let mut daemon = TestDaemon::builder().env("NOTIFY_SOCKET", "/nonexistent/notify").start();

    assert_eq!(daemon.get("/health").send().status, 200);
    daemon.rotate();
    daemon.signal(Signal::SIGTERM);
    assert!(daemon.wait().success());
}

#[test]
fn a_control_socket_that_was_deleted_is_told_and_back_after_a_restart() {
    let daemon = TestDaemon::start();
    fs::remove_file(daemon.control_socket()).unwrap();

    let output = daemon.fleetctl(&["status"]);

    assert_eq!(output.status.code(), Some(69), "{}", stderr(&output));
    assert!(stderr(&output).contains("control.sock"), "{}", stderr(&output));
    assert_eq!(daemon.get("/health").send().status, 200);
    assert_eq!(daemon.get("/mcp/list_agents").bearer(&daemon.token()).send().status, 200);
    let daemon = daemon.restart();
    assert!(daemon.fleetctl(&["status"]).status.success());
}
