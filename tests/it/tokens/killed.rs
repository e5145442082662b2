//! SIGKILL at any moment of a change: no file is torn, no answered change is lost, nothing that was
//! revoked works again, and who has changed what is found later.

use std::{
    collections::BTreeMap,
    fs::OpenOptions,
    io,
    path::Path,
    process::Stdio,
    sync::atomic::{AtomicUsize, Ordering::SeqCst},
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::support::{Builder, Control, Request, Running, TestDaemon, eventually, stdout};

const KILLS: usize = 200;
/// The latest moment of a change, or of the next one, counted from its begin.
const LATEST: Duration = Duration::from_millis(20);

/// What was answered of one token.
#[derive(Default)]
struct Told {
    /// Works, for as far as anybody was told.
    valid: Option<String>,
    /// Never works again.
    void: Vec<String>,
    /// A change was begun and not answered: both are right.
    unsure: bool,
}

/// The operator: creates, rotates and revokes, again and again, until the daemon is killed.
struct Operator<'a> {
    control: &'a Control,
    told: BTreeMap<String, Told>,
    next: usize,
    answered: &'a AtomicUsize,
    /// How often a token was changed so, and the change answered.
    events: &'a mut BTreeMap<(String, &'static str), usize>,
}

impl Operator<'_> {
    fn work(&mut self) {
        while self.change().is_ok() {
            self.answered.fetch_add(1, SeqCst);
        }
    }

    fn change(&mut self) -> io::Result<()> {
        let turn = self.next;
        self.next += 1;
        let alive = self.told.iter().filter(|(_, told)| told.valid.is_some() && !told.unsure);
        let alive: Vec<_> = alive.collect();
        let name = alive.get(turn % alive.len().max(1)).map(|(name, _)| (*name).clone());
        let (name, event) = match (turn % 3, name) {
            (1, Some(name)) => (self.rotate(&name).map(|()| name)?, "token_rotated"),
            (2, Some(name)) => (self.revoke(&name).map(|()| name)?, "token_revoked"),
            _ => (self.create(format!("t{turn}"))?, "token_created"),
        };
        *self.events.entry((name, event)).or_default() += 1;
        Ok(())
    }

    fn create(&mut self, name: String) -> io::Result<String> {
        let told = self.told.entry(name.clone()).or_default();
        told.unsure = true;
        let body = json!({"name": name, "scopes": ["read"]});
        told.valid = Some(secret(&self.control.post("/v1/tokens", &body)?.json()));
        told.unsure = false;
        Ok(name)
    }

    fn rotate(&mut self, name: &str) -> io::Result<()> {
        let told = self.told.get_mut(name).unwrap();
        told.unsure = true;
        let answer = self.control.post(&format!("/v1/tokens/{name}/rotate"), &json!({}))?;
        told.void.extend(told.valid.replace(secret(&answer.json())));
        told.unsure = false;
        Ok(())
    }

    fn revoke(&mut self, name: &str) -> io::Result<()> {
        let told = self.told.get_mut(name).unwrap();
        told.unsure = true;
        let answer = self.control.post(&format!("/v1/tokens/{name}/revoke"), &json!({}))?;
        assert_eq!(answer.status, 200, "{}", answer.body);
        told.void.extend(told.valid.take());
        told.unsure = false;
        Ok(())
    }
}

fn secret(answer: &Value) -> String {
    answer["secret"].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned()
}

fn begin(builder: &Builder, log: &Path) -> Running {
    let log = OpenOptions::new().append(true).create(true).open(log).unwrap();
    let mut command = builder.command(env!("CARGO_BIN_EXE_fleet-mcp"));
    Running::start(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log))
}

/// The daemon's address, once it serves.
fn served(daemon: &mut Running, control: &Control, kill: usize) -> std::net::SocketAddr {
    eventually("the daemon starts again", || {
        assert_eq!(daemon.0.try_wait().unwrap(), None, "kill {kill}: it did not start again");
        let status = control.ask("GET", "/v1/status", "").ok()?.json();
        let url = (status["state"] == "ready").then(|| status["listeners"][0].clone())?;
        url.as_str()?.trim_start_matches("http://").parse().ok()
    })
}

/// Every secret is as it was told; whether an unanswered change was made is settled here.
fn check(address: std::net::SocketAddr, told: &mut BTreeMap<String, Told>, kill: usize) {
    let works = |secret: &str| {
        let answer = Request::new(address, "GET", "/mcp/list_agent_projects").bearer(secret).send();
        assert!([200, 401, 429].contains(&answer.status), "{}", answer.status);
        answer.status == 200
    };
    for (name, told) in told.iter_mut() {
        for void in &told.void {
            assert!(!works(void), "kill {kill}: a void secret of `{name}` works again");
        }
        let valid = told.valid.as_deref().is_some_and(works);
        assert!(valid || told.valid.is_none() || told.unsure, "kill {kill}: `{name}` was lost");
        if !valid {
            told.void.extend(told.valid.take());
        }
        told.unsure = false;
    }
    // Those that are void for long are void for good.
    told.retain(|_, told| told.valid.is_some() || !told.void.is_empty());
    while told.len() > 30 {
        told.pop_first();
    }
}

/// Each answered change is found; changes that were made and not answered may be, too.
fn check_events(daemon: &TestDaemon, mut answered: BTreeMap<(String, &'static str), usize>) {
    let output = daemon.fleetctl(&["events", "--audit", "--since", "1d", "--json"]);
    for line in stdout(&output).lines() {
        let event: Value = serde_json::from_str(line).unwrap();
        let Some(name) = event["token"].as_str() else { continue };
        answered.retain(|(token, word), count| {
            *count -= usize::from(token == name && event["event"] == *word);
            *count > 0
        });
    }
    assert!(answered.is_empty(), "nobody knows who did this: {answered:?}");
}

#[test]
fn two_hundred_kills_lose_no_answered_change_and_revive_no_revoked_secret() {
    let builder = TestDaemon::builder().env("FLEET_MCP_LOG", "info");
    let log = builder.home().join("log");
    let control = Control::at(&builder.control_socket());
    let mut told = BTreeMap::new();
    let (mut next, mut events) = (0, BTreeMap::new());
    let changes = AtomicUsize::new(0);

    for kill in 0..KILLS {
        let mut daemon = begin(&builder, &log);
        let address = served(&mut daemon, &control, kill);
        check(address, &mut told, kill);

        let answered = AtomicUsize::new(0);
        let mut operator = Operator {
            control: &control,
            told: std::mem::take(&mut told),
            next,
            answered: &answered,
            events: &mut events,
        };
        std::thread::scope(|scope| {
            let work = scope.spawn(|| operator.work());
            eventually("a change", || (answered.load(SeqCst) >= kill % 4).then_some(()));
            let (start, moment) = (Instant::now(), LATEST.mul_f64(rand::random::<f64>()));
            while start.elapsed() < moment {
                std::hint::spin_loop();
            }
            daemon.0.kill().unwrap();
            daemon.0.wait().unwrap();
            work.join().unwrap();
        });
        (told, next) = (operator.told, operator.next);
        changes.fetch_add(answered.into_inner(), SeqCst);
    }

    let changes = changes.into_inner();
    let unsure = told.values().filter(|told| told.unsure).count();
    eprintln!("{changes} changes were answered; {unsure} unanswered at the end");
    assert!(changes > KILLS, "too few changes to mean anything: {changes}");
    let daemon = builder.start();
    check(daemon.address(), &mut told, KILLS);
    check_events(&daemon, events);
    daemon.create_token("last", &[]);
    assert!(!daemon.state_dir().join(".tokens.json.new").exists(), "a kill left a file for good");
}
