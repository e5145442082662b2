//! The log as a whole: events go in, and what a socket, standard error and the file receive is
//! looked at.

mod outage;

use std::{
    fs,
    os::unix::net::UnixDatagram,
    sync::{
        Mutex,
        atomic::{AtomicI64, Ordering::SeqCst},
        mpsc::{Receiver, sync_channel},
    },
    time::Instant,
};

use jiff::Timestamp;
use tempfile::TempDir;
use tracing::{debug, error, info, subscriber::with_default, trace, warn};

use super::*;
use crate::app::log_targets::{ACCESS_TARGET, AUDIT_TARGET};

const PATIENCE: Duration = Duration::from_secs(10);

/// 2025-11-11T10:30:00Z
const START: i64 = 1_762_857_000;

struct Hands(AtomicI64);

impl Clock for Hands {
    fn now(&self) -> Timestamp {
        Timestamp::from_second(self.0.load(SeqCst)).unwrap()
    }
}

#[derive(Clone, Default)]
struct Screen(Arc<Mutex<Vec<u8>>>);

impl Write for Screen {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A directory with journald's socket, standard error, and a clock.
struct World {
    directory: TempDir,
    screen: Screen,
    clock: Arc<Hands>,
}

impl World {
    fn new() -> Self {
        Self {
            directory: tempfile::tempdir().unwrap(),
            screen: Screen::default(),
            clock: Arc::new(Hands(AtomicI64::new(START))),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn journald(&self) -> UnixDatagram {
        let socket = UnixDatagram::bind(self.path("journal")).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket
    }

    fn settings(&self, filter: &str) -> LogSettings {
        LogSettings {
            filter: filter.to_owned(),
            access_file: None,
            journal_socket: self.path("journal"),
        }
    }

    fn with_access(&self) -> LogSettings {
        LogSettings { access_file: Some(self.path("access.log")), ..self.settings("info") }
    }

    fn on_journal(&self, settings: &LogSettings) -> (impl Subscriber + Send + Sync + use<>, Guard) {
        self.start(settings, Some(settings.journal_socket.clone()))
    }

    fn on_stderr(&self, settings: &LogSettings) -> (impl Subscriber + Send + Sync + use<>, Guard) {
        self.start(settings, None)
    }

    fn start(
        &self,
        settings: &LogSettings,
        journal: Option<PathBuf>,
    ) -> (impl Subscriber + Send + Sync + use<>, Guard) {
        let output = Output {
            journal,
            stderr: Box::new(self.screen.clone()),
            time_zone: TimeZone::UTC,
            recorder: None,
        };
        build(settings, self.clock.clone(), output).unwrap()
    }

    fn lines(&self) -> String {
        String::from_utf8(self.screen.0.lock().unwrap().clone()).unwrap()
    }

    fn access_lines(&self) -> String {
        fs::read_to_string(self.path("access.log")).unwrap()
    }
}

fn receive(socket: &UnixDatagram) -> Vec<(String, String)> {
    let mut datagram = vec![0; 256 * 1024];
    let length = socket.recv(&mut datagram).unwrap();
    journald::decode(&datagram[..length])
}

fn owned(fields: &[(&str, &str)]) -> Vec<(String, String)> {
    fields.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect()
}

fn value<'a>(fields: &'a [(String, String)], name: &str) -> &'a str {
    &fields.iter().find(|field| field.0 == name).unwrap().1
}

fn answered(path: &str) {
    info!(target: ACCESS_TARGET, client = "203.0.113.7", method = "GET", path, version = "HTTP/1.1",
        status = 401_u64, bytes = 123_u64, user = Some("default"), agent = "curl");
}

#[test]
fn audit_event_carries_exactly_its_fields() {
    let world = World::new();
    let socket = world.journald();
    let (subscriber, guard) = world.on_journal(&world.settings("info"));

    with_default(subscriber, || {
        warn!(
            target: AUDIT_TARGET,
            MESSAGE_ID = "0123456789abcdef0123456789abcdef",
            FLEET_EVENT = "auth_failure",
            FLEET_STATUS = 401_u16,
            FLEET_CLIENT_IP = %"203.0.113.7",
            FLEET_USER_AGENT = None::<&str>,
            FLEET_REQUEST_ID = Some("r1"),
            "401 invalid_token from {}: POST /mcp", "203.0.113.7"
        );
    });

    assert_eq!(
        receive(&socket),
        owned(&[
            ("MESSAGE", "401 invalid_token from 203.0.113.7: POST /mcp"),
            ("PRIORITY", "4"),
            ("SYSLOG_IDENTIFIER", "fleet-mcp"),
            ("MESSAGE_ID", "0123456789abcdef0123456789abcdef"),
            ("FLEET_EVENT", "auth_failure"),
            ("FLEET_STATUS", "401"),
            ("FLEET_CLIENT_IP", "203.0.113.7"),
            ("FLEET_REQUEST_ID", "r1"),
        ])
    );
    assert_eq!(guard.sink(), Sink::Journal);
    assert_eq!(world.lines(), "");
}

#[test]
fn other_events_have_prefixed_fields_and_their_target() {
    let world = World::new();
    let socket = world.journald();
    let (subscriber, _guard) = world.on_journal(&world.settings("info"));

    with_default(subscriber, || {
        info!(agent = %"amber", attempt = 2, http.path = "/mcp", ok = true, why = ?Some(1), "hello");
    });

    assert_eq!(
        receive(&socket),
        owned(&[
            ("MESSAGE", "hello"),
            ("PRIORITY", "6"),
            ("SYSLOG_IDENTIFIER", "fleet-mcp"),
            ("FLEET_TARGET", "fleet_mcp::log::tests"),
            ("FLEET_AGENT", "amber"),
            ("FLEET_ATTEMPT", "2"),
            ("FLEET_HTTP_PATH", "/mcp"),
            ("FLEET_OK", "true"),
            ("FLEET_WHY", "Some(1)"),
        ])
    );
}

#[test]
fn info_is_priority_6() {
    let world = World::new();
    let socket = world.journald();
    let (subscriber, _guard) = world.on_journal(&world.settings("trace"));

    with_default(subscriber, || {
        error!("x");
        warn!("x");
        info!("x");
        debug!("x");
        trace!("x");
    });

    for expected in ["3", "4", "6", "7", "7"] {
        assert_eq!(value(&receive(&socket), "PRIORITY"), expected);
    }
}

#[test]
fn nothing_from_outside_can_forge_an_entry() {
    let world = World::new();
    let socket = world.journald();
    let (subscriber, _guard) = world.on_journal(&world.settings("info"));
    let evil = "x\nPRIORITY=0\n\u{1b}[2J\u{202e}";

    with_default(subscriber, || {
        warn!(target: AUDIT_TARGET, FLEET_PATH = evil, FLEET_USER_AGENT = %evil, "{evil}");
    });

    let fields = receive(&socket);
    let harmless = "x\\nPRIORITY=0\\n\\u{1b}[2J\\u{202e}";
    assert_eq!(
        fields,
        owned(&[
            ("MESSAGE", harmless),
            ("PRIORITY", "4"),
            ("SYSLOG_IDENTIFIER", "fleet-mcp"),
            ("FLEET_PATH", harmless),
            ("FLEET_USER_AGENT", harmless),
        ])
    );
}

#[test]
fn nothing_from_outside_can_forge_a_line() {
    let world = World::new();
    let (subscriber, guard) = world.on_stderr(&world.settings("info"));

    with_default(subscriber, || {
        warn!(path = "/\n2025-11-11 10:30:00 - fleet-mcp - INFO - fine", "refused \u{1b}[2J");
    });

    assert!(guard.flush(PATIENCE));
    assert_eq!(
        world.lines(),
        "2025-11-11 10:30:00 - fleet-mcp - WARNING - refused \\u{1b}[2J \
         path=\"/\\\\n2025-11-11 10:30:00 - fleet-mcp - INFO - fine\"\n"
    );
}

#[test]
fn errors_are_logged_with_their_causes() {
    let world = World::new();
    let (subscriber, guard) = world.on_stderr(&world.settings("info"));
    let failure = InitError::Socket(io::Error::other("no more"));

    with_default(subscriber, || {
        error!(error = &failure as &(dyn std::error::Error + 'static), "sorry");
    });

    assert!(guard.flush(PATIENCE));
    assert!(
        world
            .lines()
            .ends_with("sorry error=\"could not make a socket for the journal: no more\"\n"),
        "{}",
        world.lines()
    );
}

#[test]
fn human_lines_have_the_specified_form() {
    let world = World::new();
    let (subscriber, guard) = world.on_stderr(&world.settings("trace"));

    with_default(subscriber, || {
        info!("Authentication enabled");
        trace!(agent = "amber", "x");
        warn!(target: AUDIT_TARGET, MESSAGE_ID = "f00", FLEET_EVENT = "auth_failure", "401");
    });

    assert!(guard.flush(PATIENCE));
    assert_eq!(guard.sink(), Sink::Stderr);
    assert_eq!(
        world.lines(),
        "2025-11-11 10:30:00 - fleet-mcp - INFO - Authentication enabled\n\
         2025-11-11 10:30:00 - fleet-mcp - DEBUG - x agent=amber\n\
         2025-11-11 10:30:00 - fleet-mcp - WARNING - 401 event=auth_failure\n"
    );
}

#[test]
fn no_filter_holds_back_audit_events() {
    let world = World::new();
    let (subscriber, guard) = world.on_stderr(&world.settings("off"));

    with_default(subscriber, || {
        error!("not wanted");
        debug!(target: AUDIT_TARGET, "wanted");
    });

    assert!(guard.flush(PATIENCE));
    assert!(world.lines().ends_with("DEBUG - wanted\n") && world.lines().lines().count() == 1);
}

#[test]
fn reload_changes_the_filter() {
    let world = World::new();
    let (subscriber, guard) = world.on_stderr(&world.settings("info"));

    with_default(subscriber, || {
        for filter in ["info", "debug,rmcp=warn", "fleet_mcp=loud", "off"] {
            guard.reload(&world.settings(filter));
            debug!("under {filter}");
            warn!(target: "rmcp::service", "noise under {filter}");
        }
    });

    assert!(guard.flush(PATIENCE));
    let lines = world.lines();
    let messages: Vec<_> =
        lines.lines().map(|line| line.splitn(4, " - ").nth(3).unwrap()).collect();
    let expected = [
        "under debug,rmcp=warn",
        "noise under debug,rmcp=warn",
        "the log filter stays as it was: invalid log filter `fleet_mcp=loud`: ",
        "under fleet_mcp=loud",
        "noise under fleet_mcp=loud",
    ];
    assert_eq!(messages.len(), expected.len(), "{lines}");
    for (message, expected) in messages.iter().zip(expected) {
        assert!(message.starts_with(expected), "{message}");
    }
}

#[test]
fn answered_requests_go_to_the_access_log_only() {
    let world = World::new();
    let (subscriber, guard) = world.on_stderr(&world.with_access());

    with_default(subscriber, || answered("/mcp/list_agents"));

    assert!(guard.flush(PATIENCE));
    assert_eq!(
        world.access_lines(),
        "203.0.113.7 - default [11/Nov/2025:10:30:00 +0000] \
         \"GET /mcp/list_agents HTTP/1.1\" 401 123\n"
    );
    assert_eq!(world.lines(), "");
}

#[test]
fn reload_reopens_opens_and_closes_the_access_log() {
    let world = World::new();
    let (subscriber, guard) = world.on_stderr(&world.settings("info"));

    with_default(subscriber, || {
        answered("/before");
        guard.reload(&world.with_access());
        answered("/rotated");
        assert!(guard.flush(PATIENCE));
        fs::rename(world.path("access.log"), world.path("access.log.1")).unwrap();
        guard.reload(&world.with_access());
        answered("/now");
        assert!(guard.flush(PATIENCE));
        guard.reload(&world.settings("info"));
        answered("/after");
        assert!(guard.flush(PATIENCE));
    });

    let rotated = fs::read_to_string(world.path("access.log.1")).unwrap();
    assert!(rotated.contains("/rotated") && rotated.lines().count() == 1, "{rotated}");
    let now = world.access_lines();
    assert!(now.contains("/now") && now.lines().count() == 1, "{now}");
}

#[test]
fn access_log_that_cannot_be_opened_stops_the_start_and_not_the_reload() {
    let world = World::new();
    let nowhere =
        LogSettings { access_file: Some(world.path("no/access.log")), ..world.settings("info") };
    let (subscriber, guard) = world.on_stderr(&world.with_access());

    with_default(subscriber, || {
        guard.reload(&nowhere);
        answered("/mcp");
    });

    assert!(guard.flush(PATIENCE));
    assert!(world.lines().contains("WARNING - the access log stays as it was: "));
    assert_eq!(world.access_lines().lines().count(), 1);
    let output = Output {
        journal: None,
        stderr: Box::new(io::sink()),
        time_zone: TimeZone::UTC,
        recorder: None,
    };
    let error = build(&nowhere, world.clock.clone(), output).map(drop).unwrap_err();
    assert!(error.to_string().contains("no/access.log"), "{error}");
}

#[test]
fn failing_access_log_is_reported_once_a_minute() {
    let world = World::new();
    let full = LogSettings { access_file: Some("/dev/full".into()), ..world.settings("info") };
    let (subscriber, guard) = world.on_stderr(&full);

    with_default(subscriber, || {
        for seconds in [0, 30, 59, 60, 61] {
            world.clock.0.store(START + seconds, SeqCst);
            answered("/mcp");
            assert!(guard.flush(PATIENCE));
        }
    });

    let lines = world.lines();
    let counts: Vec<_> = lines.lines().map(|line| line.split(" lines=").nth(1).unwrap()).collect();
    assert_eq!(counts.len(), 2, "{lines}");
    assert!(counts[0].starts_with("1 ") && counts[1].starts_with("3 "), "{lines}");
}

#[test]
fn filter_is_checked_before_it_is_used() {
    assert!(check_filter("info,rmcp=warn").is_ok());
    assert!(
        matches!(check_filter("x=loud"), Err(InitError::Filter { filter, .. }) if filter == "x=loud")
    );
}
