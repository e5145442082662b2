//! Too many wrong tokens from one address: whoever guesses waits, and nobody else does.

use std::thread;

use crate::support::{Response, TestDaemon, whole_log};

fn wrong(number: usize) -> String {
    format!("{number:043}")
}

fn behind_proxy() -> TestDaemon {
    let builder = TestDaemon::builder().env("FLEET_MCP_LOG", "info");
    builder.env("FLEET_MCP_HTTP_TRUSTED_PROXIES", "127.0.0.1").start()
}

fn ask(daemon: &TestDaemon, client: &str, token: &str) -> Response {
    daemon.get("/mcp/list_agents").bearer(token).header("X-Forwarded-For", client).send()
}

#[test]
fn the_eleventh_wrong_token_waits_and_a_right_one_passes_at_once() {
    let daemon = behind_proxy();
    let token = daemon.token();
    for number in 0..10 {
        assert_eq!(ask(&daemon, "203.0.113.7", &wrong(number)).status, 401);
    }

    let throttled = ask(&daemon, "203.0.113.7", &wrong(10));

    assert_eq!((throttled.status, &throttled.json()["error"]), (429, &"throttled".into()));
    let wait: u64 = throttled.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=61).contains(&wait), "{wait}");
    assert_eq!(throttled.header("www-authenticate"), None);
    assert_eq!(ask(&daemon, "203.0.113.7", &token).status, 200, "nobody is locked out");
    assert_eq!(
        ask(&daemon, "203.0.113.8", &wrong(10)).status,
        401,
        "the client counts, not the proxy"
    );
    assert_eq!(
        daemon.get("/mcp/list_agents").header("X-Forwarded-For", "203.0.113.7").send().status,
        401
    );
    let entry = daemon.log_line(" reason=throttled ");
    assert!(entry.contains("429 throttled from 203.0.113.7: GET /mcp/"), "{entry}");
    assert!(entry.contains(" status=429 "), "{entry}");
}

#[test]
fn an_ipv6_network_is_one_source() {
    let daemon = behind_proxy();
    for number in 0..10 {
        let client = format!("2001:db8:1:2::{number:x}");
        assert_eq!(ask(&daemon, &client, &wrong(number)).status, 401);
    }

    assert_eq!(ask(&daemon, "2001:db8:1:2::ffff", &wrong(10)).status, 429);
    assert_eq!(ask(&daemon, "2001:db8:1:3::1", &wrong(10)).status, 401);
}

#[test]
fn tokens_that_were_once_ours_never_count() {
    let daemon = behind_proxy();
    let mut former = vec![daemon.token()];
    for _ in 0..20 {
        former.push(daemon.rotate());
    }
    let token = former.pop().unwrap();
    let named: Vec<_> = (0..12).map(|n| daemon.create_token(&format!("t{n}"), &[])).collect();
    for number in 0..12 {
        assert!(daemon.fleetctl(&["token", "revoke", &format!("t{number}")]).status.success());
    }

    for old in former.iter().chain(&named) {
        assert_eq!(ask(&daemon, "203.0.113.7", old).status, 401);
    }

    assert_eq!(ask(&daemon, "203.0.113.7", &wrong(1)).status, 401, "the first one that counts");
    assert_eq!(ask(&daemon, "203.0.113.7", &token).status, 200);
}

/// What opencode 1.18 sends after one 401, each with its Authorization header.
const OPENCODE: [(&str, &str); 11] = [
    ("POST", "/mcp"),
    ("GET", "/mcp"),
    ("GET", "/.well-known/oauth-protected-resource/mcp"),
    ("GET", "/.well-known/oauth-protected-resource"),
    ("GET", "/.well-known/oauth-authorization-server/mcp"),
    ("GET", "/.well-known/oauth-authorization-server"),
    ("GET", "/.well-known/openid-configuration/mcp"),
    ("GET", "/mcp/.well-known/openid-configuration"),
    ("GET", "/.well-known/openid-configuration"),
    ("POST", "/register"),
    ("POST", "/mcp"),
];

#[test]
fn a_team_of_real_clients_on_stale_tokens_locks_nobody_out() {
    let daemon = behind_proxy();
    // Nine clients at one address, each with another token that was never ours: of another server.
    for client in 0..9 {
        for _ in 0..5 {
            for (method, path) in OPENCODE {
                let request = match method {
                    "POST" => daemon.post(path, "{}"),
                    _ => daemon.get(path),
                };
                let answer =
                    request.bearer(&wrong(client)).header("X-Forwarded-For", "203.0.113.7");
                let status = answer.send().status;
                assert!([401, 404].contains(&status), "{method} {path}: {status}");
            }
        }
    }

    assert_eq!(ask(&daemon, "203.0.113.7", &daemon.token()).status, 200);
    assert_eq!(ask(&daemon, "203.0.113.7", &wrong(10)).status, 401);
}

#[test]
fn while_authentication_is_off_nobody_is_throttled() {
    let builder = TestDaemon::builder().auth(false);
    let daemon = builder.env("FLEET_MCP_HTTP_TRUSTED_PROXIES", "127.0.0.1").start();

    for number in 0..20 {
        assert_eq!(ask(&daemon, "203.0.113.7", &wrong(number)).status, 200);
    }
}

#[test]
fn the_entries_and_sums_of_an_attack_add_up_by_the_real_clients_address() {
    const SOURCES: usize = 50;
    const TOKENS: usize = 40;
    let mut daemon = behind_proxy();
    thread::scope(|scope| {
        for part in 0..4 {
            let daemon = &daemon;
            scope.spawn(move || {
                for source in (part..SOURCES).step_by(4) {
                    for number in 0..TOKENS {
                        let client = format!("198.51.100.{source}");
                        let status = ask(daemon, &client, &wrong(source * TOKENS + number)).status;
                        assert_eq!(status, if number < 10 { 401 } else { 429 });
                    }
                }
            });
        }
    });
    let counted = daemon.status()["refused"].clone();

    let log = whole_log(&mut daemon);

    let of = |reason: &str| {
        let row = counted.as_array().unwrap().iter().find(|row| row["name"] == reason);
        row.unwrap()["count"].as_u64().unwrap()
    };
    let (invalid, throttled) = (SOURCES as u64 * 10, (SOURCES * (TOKENS - 10)) as u64);
    assert_eq!([of("invalid_token"), of("throttled")], [invalid, throttled]);
    let whole = log.iter().filter(|line| line.contains(" event=auth_failure ")).count() as u64;
    let summed: u64 = log
        .iter()
        .filter(|line| line.contains(" event=refusals_summed_up "))
        .map(|line| line.split(" count=").nth(1).unwrap().split(' ').next().unwrap())
        .map(|count| count.parse::<u64>().unwrap())
        .sum();
    assert_eq!(whole + summed, invalid + throttled);
    assert!(!log.iter().any(|line| line.contains("auth_failure") && line.contains("from 127.")));
}
