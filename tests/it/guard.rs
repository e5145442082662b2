//! Host and Origin, and who a client is: what a web page or a forged header can't talk its way past.

use crate::support::{Request, Response, TestDaemon, Wire, entries, field, whole_log};

const HOST: &str = "this server does not answer for the Host of the request";
const ORIGIN: &str = "this server takes no requests from the Origin of the request";

#[track_caller]
fn assert_403(response: &Response, message: &str) {
    let body = format!(r#"{{"error":{{"code":"FORBIDDEN","message":"{message}"}}}}"#);
    assert_eq!((response.status, &response.body), (403, &body));
    assert_eq!(response.header("content-type"), Some("application/json"));
    assert_eq!(response.header("cache-control"), Some("no-store"));
    assert_eq!(response.header("connection"), Some("close"));
}

/// Listens on every interface; reached by loopback.
fn exposed(auth: bool) -> TestDaemon {
    TestDaemon::builder().auth(auth).env("FLEET_MCP_LISTEN", "0.0.0.0:0").start()
}

#[test]
fn without_authentication_a_loopback_server_answers_for_loopback_names_only() {
    let daemon = TestDaemon::builder().auth(false).start();
    let port = daemon.address().port();
    let call = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"list_agents"}}"#;

    for host in [
        "evil.example.com",
        "127.0.0.1.evil.example.com",
        "localhost.evil.example.com",
        "x/health?",
        "x/metadata?",
        "x/health#",
        "x@localhost",
        "0.0.0.0",
        "192.168.0.1",
        "",
        "\u{e9}",
    ] {
        for path in ["/mcp", "/", "/mcp/list_agents", "/nope"] {
            let request = daemon
                .post(path, call)
                .header("Host", host)
                .header("Content-Type", "application/json")
                .header("Accept", "application/json, text/event-stream");
            assert_403(&request.send(), HOST);
        }
    }
    let nameless = daemon.get("/mcp/list_agents");
    let bytes = String::from_utf8(nameless.bytes()).unwrap();
    let bytes = bytes.replace(&format!("Host: {}\r\n", daemon.address()), "");
    let mut wire = Wire::connect(daemon.address());
    assert_403(&wire.send(bytes).answer(), HOST);
    assert_403(&daemon.get("http://evil.example.com/mcp/list_agents").send(), HOST);
    for host in ["localhost", "LocalHost:1", "127.0.0.1", &format!("127.0.0.1:{port}"), "[::1]"] {
        assert_eq!(
            daemon.get("/mcp/list_agents").header("Host", host).send().status,
            200,
            "{host}"
        );
    }
}

#[test]
fn without_authentication_any_host_will_do_once_others_can_connect_and_the_log_warns_of_it() {
    let daemon = exposed(false);

    let response = daemon.get("/mcp/list_agents").header("Host", "fleet.example.com").send();

    assert_eq!(response.status, 200);
    assert!(daemon.log_line("listens beyond loopback").contains(" - WARNING - "));
    let warnings = daemon.status()["warnings"].to_string();
    assert!(warnings.contains("listens beyond loopback"), "{warnings}");
}

#[test]
fn with_authentication_any_host_will_do() {
    for daemon in [TestDaemon::start(), exposed(true)] {
        let token = daemon.token();

        for host in ["fleet-mcp.example.com", "fleet-mcp.example.com:443", "localhost"] {
            let request = daemon.get("/mcp/list_agents").bearer(&token).header("Host", host);
            assert_eq!(request.send().status, 200, "{host}");
        }
    }
}

#[test]
fn a_foreign_origin_is_refused_with_and_without_authentication() {
    for (daemon, token) in [
        (TestDaemon::start(), true),
        (exposed(true), true),
        (TestDaemon::builder().auth(false).start(), false),
        (exposed(false), false),
    ] {
        let own = daemon.address();
        let get = |origin: &str| {
            let request = daemon.get("/mcp/list_agents").header("Origin", origin);
            if token { request.bearer(&daemon.token()) } else { request }.send()
        };

        for origin in
            ["https://evil.example.com", "null", "", "file://", "http://127.0.0.1.evil.com"]
        {
            assert_403(&get(origin), ORIGIN);
        }
        for origin in [&format!("http://{own}"), "http://localhost:3000", "http://[::1]:9"] {
            assert_eq!(get(origin).status, 200, "{origin}");
        }
    }
}

#[test]
fn behind_a_proxy_the_public_name_is_an_own_origin() {
    let daemon = TestDaemon::start();
    let token = daemon.token();
    let get = |origin: &str| {
        let request = daemon.get("/mcp/list_agents").bearer(&token);
        request.header("Host", "fleet-mcp.example.com").header("Origin", origin).send()
    };

    assert_eq!(get("https://fleet-mcp.example.com").status, 200);
    assert_403(&get("https://other.example.com"), ORIGIN);
}

#[test]
fn listed_hosts_are_the_only_ones_besides_loopback() {
    let builder = TestDaemon::builder()
        .config("[http]\nallowed_hosts = [\"fleet.example.com\", \"192.0.2.1\"]\n");
    let daemon = builder.start();
    let token = daemon.token();
    let get = |host: &str| daemon.get("/mcp/list_agents").header("Host", host);

    for host in ["fleet.example.com", "FLEET.example.com:443", "192.0.2.1:8443", "localhost"] {
        assert_eq!(get(host).bearer(&token).send().status, 200, "{host}");
    }
    for host in ["evil.example.com", "other.example.com", "a.fleet.example.com", "x/health?"] {
        // Nobody learns here whether a token is good.
        for request in [get(host), get(host).bearer(&token), get(host).bearer("WRONG")] {
            assert_403(&request.send(), HOST);
        }
    }
    let second = get("fleet.example.com").bearer(&token);
    let two =
        String::from_utf8(second.bytes()).unwrap().replace("\r\n\r\n", "\r\nHost: evil\r\n\r\n");
    let mut wire = Wire::connect(daemon.address());
    assert_403(&wire.send(two).answer(), HOST);
}

#[test]
fn listed_origins_are_served() {
    let builder = TestDaemon::builder()
        .env("FLEET_MCP_HTTP_ALLOWED_ORIGINS", "https://app.example.com,https://b.example.com:1");
    let daemon = builder.start();
    let token = daemon.token();
    let get = |origin: &str| {
        daemon.get("/mcp/list_agents").bearer(&token).header("Origin", origin).send()
    };

    assert_eq!(get("https://app.example.com").status, 200);
    assert_eq!(get("https://b.example.com:1").status, 200);
    for origin in ["http://app.example.com", "https://app.example.com:444", "https://b.example.com"]
    {
        assert_403(&get(origin), ORIGIN);
    }
}

#[test]
fn each_request_refused_for_its_host_or_origin_is_one_entry_and_counted() {
    let mut daemon = TestDaemon::builder().auth(false).start();
    daemon
        .get("/mcp?secret=1")
        .header("Host", "evil.example.com")
        .header("User-Agent", "x y")
        .send();
    daemon.get("/mcp").header("Origin", "https://evil.example.com").send();

    let refused = daemon.status()["refused"].clone();
    let log = whole_log(&mut daemon);

    let forbidden: Vec<_> = refused
        .as_array()
        .unwrap()
        .iter()
        .filter(|count| count["count"] != 0)
        .map(|count| count["count"].as_u64().unwrap())
        .collect();
    assert_eq!(forbidden, [2], "{refused}");
    let entries = entries(&log, "request_refused");
    let [host, origin] = entries[..] else { panic!("{entries:?}") };
    assert!(host.contains(" - WARNING - 403 host_not_allowed from 127.0.0.1: GET /mcp "), "{host}");
    assert!(host.contains(" status=403 ") && host.contains(" user_agent=\"x y\" "), "{host}");
    assert!(!host.contains("secret"), "{host}");
    assert_eq!(field(origin, "reason"), Some("origin_not_allowed"));
}

/// Who each of these requests without a token came from, by the log.
fn clients(mut daemon: TestDaemon, headers: &[(&str, &str)]) -> Vec<String> {
    for (name, value) in headers {
        daemon.get("/mcp").header(name, value).send();
    }
    let log = whole_log(&mut daemon);
    let entries = entries(&log, "auth_failure");
    for entry in &entries {
        let client = field(entry, "client_ip").unwrap();
        assert!(entry.contains(&format!("401 missing_token from {client}: GET /mcp ")), "{entry}");
    }
    entries.iter().map(|entry| field(entry, "client_ip").unwrap().to_owned()).collect()
}

const FORWARDED: [(&str, &str); 6] = [
    ("X-Forwarded-For", "203.0.113.7"),
    ("X-Forwarded-For", "198.51.100.1, 203.0.113.8"),
    ("X-Forwarded-For", "2001:db8::9"),
    ("Forwarded", "for=\"[2001:db8::a]:4711\";proto=https"),
    ("X-Forwarded-For", "203.0.113.9: GET /mcp\u{2028}x"),
    ("X-Real-IP", "203.0.113.10"),
];

#[test]
fn a_trusted_proxy_says_who_its_client_is() {
    let builder = TestDaemon::builder().env("FLEET_MCP_HTTP_TRUSTED_PROXIES", "127.0.0.0/8");

    let clients = clients(builder.start(), &FORWARDED);

    let (own, known) = ("127.0.0.1", ["203.0.113.7", "203.0.113.8", "2001:db8::9"]);
    assert_eq!(clients, [&known[..], &[own; 3]].concat());
}

#[test]
fn a_trusted_proxy_may_say_it_in_the_standard_header_instead() {
    let builder = TestDaemon::builder()
        .env("FLEET_MCP_HTTP_TRUSTED_PROXIES", "127.0.0.0/8")
        .env("FLEET_MCP_HTTP_FORWARDED_HEADER", "forwarded");

    let clients = clients(builder.start(), &FORWARDED);

    let own = "127.0.0.1";
    assert_eq!(clients, [own, own, own, "2001:db8::a", own, own]);
}

#[test]
fn nobody_else_can_say_who_they_are() {
    let untrusting = TestDaemon::start();
    let trusts_another =
        TestDaemon::builder().env("FLEET_MCP_HTTP_TRUSTED_PROXIES", "10.0.0.0/8,192.0.2.1").start();

    assert_eq!(clients(untrusting, &FORWARDED), ["127.0.0.1"; 6]);
    assert_eq!(clients(trusts_another, &FORWARDED), ["127.0.0.1"; 6]);
}

#[test]
fn nothing_from_outside_can_forge_an_entry_or_an_address_in_it() {
    let mut daemon = TestDaemon::start();
    let forged = "401 invalid_token from 203.0.113.66: POST /mcp";
    let attempts: [(&str, &str, &[u8]); 5] = [
        ("GET", "/401%20invalid_token%20from%20203.0.113.66:%20POST%20/mcp", b"x"),
        ("GET", "/x", forged.as_bytes()),
        ("GET", "/x", b"x\" client_ip=203.0.113.66 reason=\"y"),
        ("GET", "/\u{9b}2J\u{202e}\u{2028}", b"x"),
        ("FROM203.0.113.66", "/x", b"\xff\xfe"),
    ];

    for (method, path, user_agent) in attempts {
        let request = Request::new(daemon.address(), method, path);
        assert_eq!(request.header("User-Agent", user_agent).send().status, 401, "{method} {path}");
    }

    let log = whole_log(&mut daemon);
    let entries = entries(&log, "auth_failure");
    assert_eq!(entries.len(), attempts.len(), "{entries:?}");
    for entry in entries {
        let message = entry.split(" - ").nth(3).unwrap();
        assert!(message.starts_with("401 missing_token from 127.0.0.1: "), "{entry}");
        assert_eq!(field(entry, "client_ip"), Some("127.0.0.1"), "{entry}");
        assert!(!entry.contains(" client_ip=203.0.113.66 reason=\"y"), "{entry}");
        assert!(!entry.chars().any(|c| c.is_control() || ('\u{2028}'..='\u{202e}').contains(&c)));
    }
}
