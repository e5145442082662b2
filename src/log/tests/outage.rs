//! Sinks that are slow, stuck or gone.

use super::*;

#[test]
fn journal_that_nobody_reads_blocks_no_one_and_the_drops_add_up() {
    const EVENTS: u64 = 20_000;
    let world = World::new();
    let socket = world.journald();
    let (subscriber, guard) = world.on_journal(&world.settings("info"));

    // Nobody reads before this is over, so it ends only if it does not wait.
    with_default(subscriber, || (0..EVENTS).for_each(|number| info!(number, "flood")));
    assert!(guard.dropped() > 0);

    let (mut received, mut told) = (0, 0);
    while received + told < EVENTS {
        let fields = receive(&socket);
        match value(&fields, "FLEET_TARGET") {
            "fleet_mcp::log" => {
                let count = value(&fields, "FLEET_DROPPED");
                assert_eq!(value(&fields, "PRIORITY"), "4");
                assert_eq!(
                    value(&fields, "MESSAGE"),
                    format!("{count} log entries were dropped because the journal did not keep up")
                );
                told += count.parse::<u64>().unwrap();
            }
            _ => received += 1,
        }
    }
    assert_eq!((received + told, told), (EVENTS, guard.dropped()));
}

#[test]
fn restarted_journald_is_found_again() {
    let world = World::new();
    let (subscriber, guard) = world.on_journal(&world.settings("info"));
    assert_eq!(guard.sink(), Sink::Stderr);

    with_default(subscriber, || {
        info!("nobody there");
        assert!(guard.flush(PATIENCE));
        assert!(world.lines().ends_with("INFO - nobody there\n"));

        let first = world.journald();
        info!("one");
        assert_eq!(value(&receive(&first), "MESSAGE"), "one");
        drop(first);
        info!("gone");
        assert!(guard.flush(PATIENCE));
        assert!(world.lines().ends_with("INFO - gone\n"));
        assert_eq!(guard.sink(), Sink::Stderr);

        fs::remove_file(world.path("journal")).unwrap();
        let second = world.journald();
        info!("two");
        assert_eq!(value(&receive(&second), "MESSAGE"), "two");
    });

    assert!(guard.flush(PATIENCE));
    assert_eq!(guard.sink(), Sink::Journal);
    assert_eq!(guard.dropped(), 0);
}

/// Takes nothing until the other end of the channel is gone.
struct Stuck(Receiver<()>);

impl Write for Stuck {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let _ = self.0.recv();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn stuck_standard_error_does_not_hold_up_the_end() {
    let world = World::new();
    let (_stuck_until, release) = sync_channel(0);
    let output = Output {
        journal: None,
        stderr: Box::new(Stuck(release)),
        time_zone: TimeZone::UTC,
        recorder: None,
    };
    let (subscriber, guard) = build(&world.settings("info"), world.clock.clone(), output).unwrap();
    with_default(subscriber, || (0..10_000).for_each(|_| info!("flood")));
    let before = Instant::now();

    assert!(!guard.flush(Duration::from_millis(10)));
    drop(guard);

    assert!(before.elapsed() < PATIENCE);
}

#[test]
fn closed_standard_error_is_survived() {
    struct Closed;
    impl Write for Closed {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let world = World::new();
    let output = Output {
        journal: None,
        stderr: Box::new(Closed),
        time_zone: TimeZone::UTC,
        recorder: None,
    };
    let (subscriber, guard) = build(&world.settings("info"), world.clock.clone(), output).unwrap();

    with_default(subscriber, || info!("lost"));

    assert!(guard.flush(PATIENCE));
    assert_eq!(guard.dropped(), 1);
}

#[test]
fn dropping_the_guard_writes_what_is_queued() {
    let world = World::new();
    let (subscriber, guard) = world.on_stderr(&world.with_access());

    with_default(subscriber, || {
        (0..1000).for_each(|_| info!("x"));
        answered("/mcp");
        drop(guard);
        info!("too late");
    });

    assert_eq!(world.lines().lines().count(), 1000);
    assert_eq!(world.access_lines().lines().count(), 1);
}
