//! What goes between a program and its driver.

use fleet_mcp::{
    agents::host::MAX_WAITING_LINES,
    app::ports::sessions::{Cause, Driver, News, Order, Outcome, Sessions as _, Whose},
    fleet::EntryKind,
};

use super::bench::{AGENT, Bench, eventually, spec};

#[tokio::test]
async fn lines_go_in_and_come_out_in_order() {
    let bench = Bench::new();
    let mut session = bench.shell("exec cat");

    for batch in (0..500).collect::<Vec<_>>().chunks(50) {
        for n in batch {
            session.prompt(&format!("line {n}")).await;
        }
        for n in batch {
            assert_eq!(session.said().await, format!("line {n}"));
        }
    }
    session.close(true, 5).await;

    assert_eq!(session.end().await.1, Cause::Closed);
    bench.assert_gone();
    assert!(!bench.workspace().exists());
}

#[tokio::test]
async fn long_lines_and_garbage_arrive_as_text() {
    let bench = Bench::new();
    let mut session = bench.shell(r"printf '\377\376\n'; cat; echo end >&2");
    let long = "é".repeat(150_000);

    assert_eq!(session.said().await, "\u{fffd}\u{fffd}");
    session.prompt(&long).await;
    assert_eq!(session.said().await, long);
    session.close(false, 5).await;

    let (news, cause) = session.end().await;
    assert!(matches!(&news[..], [News::Said(e)] if e.kind == EntryKind::Diagnostic), "{news:?}");
    assert_eq!(cause, Cause::Closed);
}

#[tokio::test]
async fn a_flooding_program_waits_for_the_commit_of_its_lines() {
    let bench = Bench::new();
    let mut session = bench.shell("exec seq 1 100000000");
    assert!(matches!(session.next().await, News::Opened { .. }));

    // All that comes while nothing is committed.
    let held = [session.hold().await, session.hold().await];
    let program = bench.processes().into_iter().find(|p| p.parent == bench.host().pid).unwrap();
    let wait = format!("/proc/{}/wchan", program.pid);
    let blocked = || std::fs::read_to_string(&wait).unwrap().contains("pipe_write").then_some(());
    eventually("the program waits to write", blocked).await;
    assert!(session.reports.try_recv().is_err(), "more is reported than is durable");

    let mut expected = 1..;
    for report in held {
        for news in report.news {
            let News::Said(entry) = news else { panic!("{news:?}") };
            assert_eq!(entry.content, expected.next().unwrap().to_string());
        }
        report.receipt.unwrap().send(()).unwrap();
    }
    for n in expected.take(3 * MAX_WAITING_LINES) {
        assert_eq!(session.said().await, n.to_string());
    }
    session.close(false, 0).await;
    session.end().await;
    bench.assert_gone();
}

#[tokio::test]
async fn a_command_runs_once_a_task_and_its_exit_status_is_the_outcome() {
    let bench = Bench::new();
    let mut spec = spec("echo $0; exit $1");
    spec.program.driver = Driver::Command;
    spec.program.arguments.extend(["{task}".to_owned(), "0".to_owned()]);
    let mut session = bench.open(spec);

    assert!(matches!(session.next().await, News::Opened { .. }));
    for task in ["first", "second"] {
        session.prompt(task).await;
        assert_eq!(session.said().await, format!("{task}\n"));
        assert!(matches!(session.next().await, News::TurnEnded(Outcome::Done)));
    }
    session.close(true, 5).await;

    assert_eq!(session.end().await.1, Cause::Closed);
    bench.assert_gone();
}

#[tokio::test]
async fn a_command_that_is_canceled_or_fails_says_so() {
    let bench = Bench::new();
    let mut spec = spec("read task; echo $task; $task");
    spec.program.driver = Driver::Command;
    let mut session = bench.open(spec);

    session.prompt("exit 3").await;
    assert_eq!(session.said().await, "exit 3\n");
    let News::TurnEnded(outcome) = session.next().await else { panic!() };
    assert_eq!(outcome, Outcome::Failed("exit status 3".to_owned()));
    session.prompt("sleep 1000").await;
    assert_eq!(session.said().await, "sleep 1000\n");
    session.orders.send(Order::Cancel).await.unwrap();
    assert!(matches!(session.next().await, News::TurnEnded(Outcome::Canceled)));
    session.prompt("kill -9 $$").await;
    session.close(true, 0).await;

    session.end().await;
    bench.assert_gone();
    let (give, mut reports) = tokio::sync::mpsc::channel(1);
    let name = "worker".parse().unwrap();
    let whose = Whose { agent: AGENT, name, slot: None, repository: None };
    bench.sessions.remove(whose, give);
    let news = reports.recv().await.unwrap().news;
    assert!(matches!(news[..], [News::Ended(Cause::Closed)]), "{news:?}");
}
