//! However a session ends, nothing of it is left.

use fleet_mcp::{
    agents::{
        host::frames::{Place, Start, Workspace},
        io::{Stream, What},
        launch::Launcher as _,
        link::{Command, Event, Link, Teller},
    },
    app::ports::sessions::{Cause, News},
};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::bench::{AGENT, Bench, eventually};

fn signal(pid: i32, signal: Signal) {
    kill(Pid::from_raw(pid), signal).unwrap();
}

#[tokio::test]
async fn how_the_program_ended_is_told() {
    for (script, expected) in [
        ("exit 0", Cause::Exited(0)),
        ("exit 42", Cause::Exited(42)),
        ("kill -TERM $$", Cause::Signaled(15)),
        ("kill -KILL $$", Cause::Signaled(9)),
    ] {
        let bench = Bench::new();

        let (_, cause) = bench.shell(script).end().await;

        assert_eq!(cause, expected, "{script}");
        bench.assert_gone();
    }
}

#[tokio::test]
async fn a_program_that_is_missing_is_named() {
    let bench = Bench::new();
    let mut spec = super::bench::spec("");
    spec.program.command = "no-such-agent".into();

    let (news, cause) = bench.open(spec).end().await;

    assert!(news.is_empty());
    assert!(matches!(&cause, Cause::NotOpened(why) if why.contains("no-such-agent")), "{cause:?}");
    bench.assert_gone();
}

#[tokio::test]
async fn programs_that_refuse_to_end_and_orphans_are_killed() {
    let ignores = "trap '' TERM HUP INT; while :; do read line || :; done";
    let orphans = "setsid sleep 1000 & setsid env -i sleep 1000 & \
                   setsid sh -c 'sleep 1000 & sleep 1000' & echo up; exec cat";
    for script in [format!("echo up; {ignores}"), orphans.to_owned(), format!("({orphans})")] {
        let bench = Bench::new();
        let mut session = bench.shell(&script);
        assert_eq!(session.said().await, "up");

        session.close(false, 0).await;
        let (_, cause) = session.end().await;

        assert_eq!(cause, Cause::Closed);
        bench.assert_gone();
    }
}

#[tokio::test]
async fn orphans_do_not_outlive_a_program_that_ends_by_itself() {
    let bench = Bench::new();
    let mut session = bench.shell("setsid sleep 1000 & setsid env -i sleep 1000 & exit 3");

    let (_, cause) = session.end().await;

    assert_eq!(cause, Cause::Exited(3));
    bench.assert_gone();
}

#[tokio::test]
async fn a_killed_host_takes_everything_with_it() {
    let bench = Bench::new();
    let mut session = bench.shell("setsid env -i sleep 1000 & setsid sleep 1000 & echo up; cat");
    assert_eq!(session.said().await, "up");

    signal(bench.host().pid, Signal::SIGKILL);
    let (_, cause) = session.end().await;

    assert!(matches!(cause, Cause::Lost(_)), "{cause:?}");
    bench.assert_gone();
}

#[tokio::test]
async fn a_host_that_is_told_to_end_ends_everything() {
    let bench = Bench::new();
    let mut session = bench.shell("trap '' TERM; setsid env -i sleep 1000 & echo up; sleep 1000");
    assert_eq!(session.said().await, "up");

    signal(bench.host().pid, Signal::SIGTERM);
    let (_, cause) = session.end().await;

    assert!(matches!(cause, Cause::Lost(_)), "{cause:?}");
    bench.assert_gone();
}

#[tokio::test]
async fn a_host_whose_connection_hangs_up_ends_everything_and_itself() {
    let bench = Bench::new();
    let launched = bench.launcher.launch(AGENT, None).unwrap();
    let (reports, mut told) = mpsc::channel(1);
    let let_go = CancellationToken::new();
    let teller = Teller { agent: AGENT, reports, keeps: false, let_go };
    let (mut link, mut io) = Link::new(launched.stream, teller);
    let place = Place { directory: bench.workspace(), name: "worker".into(), agent: AGENT.0 };
    let workspace = Workspace { place, source: None, credentials: Vec::new(), confine: false };
    link.tell(Command::Prepare(workspace)).await;
    assert!(matches!(link.next().await, Event::Prepared { .. }));
    let script = "trap '' TERM; setsid env -i sleep 1000 & yes & while :; do read x || :; done";
    let arguments = vec!["-c".to_owned(), script.to_owned()];
    let start = Start { program: "sh".into(), arguments, environment: Vec::new() };
    link.tell(Command::Start(start)).await;
    assert!(matches!(io.heard.recv().await.unwrap().what, What::Started));
    let What::Line(Stream::Out, text) = io.heard.recv().await.unwrap().what else { panic!() };
    assert_eq!(text, "y");
    assert!(told.try_recv().is_err());

    // All that a host sees of a daemon that was killed.
    drop(link);
    launched.gone.await;

    bench.assert_gone();
}

#[tokio::test]
async fn dropping_the_orders_ends_the_session() {
    let bench = Bench::new();
    let mut session = bench.shell("echo up; exec cat");
    assert_eq!(session.said().await, "up");

    let (other, _) = tokio::sync::mpsc::channel(1);
    drop(std::mem::replace(&mut session.orders, other));

    assert_eq!(session.end().await.1, Cause::Closed);
    bench.assert_gone();
}

#[tokio::test]
async fn a_session_closes_while_it_opens() {
    let bench = Bench::new();
    let mut session = bench.shell("exec cat");

    session.close(true, 0).await;
    let (_, cause) = session.end().await;

    assert_eq!(cause, Cause::Closed);
    bench.assert_gone();
    assert!(!bench.workspace().exists());
}

#[tokio::test]
async fn the_next_daemon_sweeps_what_a_killed_one_left() {
    let bench = Bench::new();
    let mut session = bench.shell("setsid env -i sleep 1000 & setsid sleep 1000 & echo up; cat");
    assert!(matches!(session.next().await, News::Opened { .. }));
    assert_eq!(session.said().await, "up");
    let host = bench.host();
    assert!(bench.processes().len() >= 4, "{:?}", bench.processes());

    // It stands still, as one does that is slow to notice.
    signal(host.pid, Signal::SIGSTOP);
    let launcher = std::sync::Arc::clone(&bench.launcher);
    let swept = tokio::task::spawn_blocking(move || launcher.sweep().unwrap()).await.unwrap();

    assert!(swept.left.is_empty(), "{swept:?}");
    assert!(swept.killed["agent-7"] >= 4, "{swept:?}");
    eventually("all are gone", || bench.processes().is_empty().then_some(())).await;
    session.end().await;
    bench.assert_gone();
}

#[tokio::test]
async fn cycles_leave_no_process_and_no_descriptor() {
    let bench = Bench::new();
    let descriptors = || std::fs::read_dir("/proc/self/fd").unwrap().count();
    let mut before = 0;
    for cycle in 0..20 {
        let mut session = bench.shell("setsid sleep 1000 & exec cat");
        session.prompt("hello").await;
        assert_eq!(session.said().await, "hello");
        session.close(true, 0).await;
        assert_eq!(session.end().await.1, Cause::Closed);
        if cycle == 4 {
            before = descriptors();
        }
    }

    bench.assert_gone();
    // Other tests of this program open and close some at the same time.
    assert!(descriptors() < before + 60, "{before} before, {} now", descriptors());
}
