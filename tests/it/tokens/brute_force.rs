//! Wrong tokens from hundreds of addresses, over TCP: what `tests/load/run` does with a million, here
//! with few enough for every day.

use std::{
    io::Write as _,
    process::{Command, Stdio},
};

use serde_json::Value;

use crate::support::{Builder, TestDaemon, entries, example, field, whole_log};

const REQUESTS: u64 = 20_000;
const SOURCES: usize = 500;

/// Attacks a daemon, which must have served right tokens meanwhile, and counted everything; its log.
fn attacked(builder: Builder, way: &str) -> Vec<String> {
    let mut daemon = builder.env("FLEET_MCP_LOG", "info").start();
    let address = daemon.address().to_string();
    // As fast as it can.
    let mut attacker = Command::new(example("brute_force"))
        .args([&address, &REQUESTS.to_string(), &SOURCES.to_string(), "1000000", way])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    attacker.stdin.take().unwrap().write_all(daemon.token().as_bytes()).unwrap();
    let output = attacker.wait_with_output().unwrap();
    assert!(output.status.success());
    let told: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(told["attacked"].as_f64().unwrap() > 0.0, "right tokens are served meanwhile: {told}");
    let refused = daemon.status()["refused"].clone();
    let counted = |reason: &str| {
        let row = refused.as_array().unwrap().iter().find(|row| row["name"] == reason).unwrap();
        row["count"].as_u64().unwrap()
    };

    let log = whole_log(&mut daemon);

    let [invalid, throttled] = ["invalid_token", "throttled"].map(counted);
    assert_eq!([&told["refused"], &told["throttled"]], [invalid, throttled]);
    assert_eq!(invalid + throttled, REQUESTS);
    assert!(throttled > REQUESTS / 4, "each address tried 40 tokens: {told}");
    let whole = entries(&log, "auth_failure").len();
    let summed = entries(&log, "refusals_summed_up");
    let sums = summed.iter().map(|entry| field(entry, "count").unwrap().parse::<u64>().unwrap());
    assert_eq!(whole as u64 + sums.sum::<u64>(), REQUESTS);
    assert!(whole + summed.len() < 2_500, "{whole} entries and {} sums", summed.len());
    log
}

#[test]
fn a_million_guesses_in_small_are_counted_throttled_and_logged_in_part() {
    let log = attacked(TestDaemon::builder(), "direct");

    for entry in entries(&log, "auth_failure") {
        assert!(field(entry, "client_ip").unwrap().starts_with("127.1."), "{entry}");
    }
}

#[test]
fn behind_a_trusted_proxy_the_guesses_are_those_of_the_real_clients() {
    let builder = TestDaemon::builder().env("FLEET_MCP_HTTP_TRUSTED_PROXIES", "127.0.0.1");

    let log = attacked(builder, "forwarded");

    for entry in entries(&log, "auth_failure") {
        assert!(field(entry, "client_ip").unwrap().starts_with("10.0."), "{entry}");
    }
}
