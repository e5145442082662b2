//! What is open without a token, and how little that is.

use crate::support::{Request, TestDaemon, Wire, entries, whole_log};

#[test]
fn every_route_but_health_wants_a_token_with_every_method() {
    let daemon = TestDaemon::start();

    for path in [
        "/",
        "/mcp",
        "/mcp/",
        "/mcp/x",
        "/mcp/list_agents",
        "/mcp/x/y",
        "/nope",
        "/docs",
        "/metrics",
        "/metadata",
        "/.well-known",
        "//",
        "/mcp//list_agents",
        "/%2e%2e/health",
        "/mcp/../health",
    ] {
        for method in ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "BREW"]
        {
            let response = Request::new(daemon.address(), method, path).send();
            assert_eq!(response.status, 401, "{method} {path}");
            assert!(response.header("access-control-allow-origin").is_none());
        }
    }
    assert_eq!(Request::new(daemon.address(), "OPTIONS", "*").send().status, 401);
    assert_eq!(Request::new(daemon.address(), "CONNECT", "health:443").send().status, 401);
}

#[test]
fn health_is_open_and_tells_nothing_else() {
    let daemon = TestDaemon::start();
    let body = format!(
        r#"{{"status":"healthy","service":"fleet-mcp","version":"{}"}}"#,
        env!("CARGO_PKG_VERSION")
    );

    for path in ["/health", "/health?", "/health?x=1", "/health?/mcp/list_agents"] {
        let response = daemon.get(path).send();
        assert_eq!((response.status, &response.body), (200, &body), "{path}");
    }
    let wrong = daemon.get("/health").bearer("WRONG").send();
    assert_eq!((wrong.status, &wrong.body), (200, &body));
    let head = Request::new(daemon.address(), "HEAD", "/health").send();
    assert_eq!((head.status, head.body.as_str()), (200, ""));
    assert_eq!(Request::new(daemon.address(), "POST", "/health").send().status, 405);
}

#[test]
fn nothing_that_only_looks_like_health_is_open() {
    let daemon = TestDaemon::start();

    for path in [
        "/health/",
        "//health",
        "/HEALTH",
        "/Health",
        "/health;x",
        "/health%2f",
        "/health/x",
        "/%68ealth",
        "/health%00",
        "/health%20",
        "/health.",
        "/./health",
        "/mcp/health",
        "/healthz",
    ] {
        assert_eq!(daemon.get(path).send().status, 401, "{path}");
    }
}

#[test]
fn the_host_header_opens_no_route() {
    let daemon = TestDaemon::start();
    let call = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"list_agents"}}"#;

    for host in [
        "x/health?",
        "x/metadata?",
        "x/health#",
        "x/health",
        "/health",
        "health",
        "localhost/health?",
        "x\\health?",
        "",
        "x:80/health?",
        "x@y/health?",
        "\u{e9}",
    ] {
        for path in ["/mcp", "/", "/mcp/list_agents"] {
            let request = daemon
                .post(path, call)
                .header("Host", host)
                .header("X-Forwarded-Host", host)
                .header("X-Original-URL", "/health")
                .header("X-Rewrite-URL", "/health")
                .header("Content-Type", "application/json")
                .header("Accept", "application/json, text/event-stream");
            let response = request.send();
            assert_eq!(response.status, 401, "{host:?} {path}");
        }
    }
}

#[test]
fn a_target_in_absolute_form_is_routed_by_its_path() {
    let daemon = TestDaemon::start();
    let token = daemon.token();

    for (target, without, with) in [
        ("http://x/health", 200, 200),
        ("http://x/mcp/list_agents", 401, 200),
        ("http://health/mcp/list_agents", 401, 200),
        ("http://x/mcp/list_agents?/health", 401, 400),
        ("http://x/mcp/list_agents#/health", 401, 200),
        ("http://x/health/../mcp/list_agents", 401, 404),
        ("http://x", 401, 405),
        // An authority alone, as CONNECT has it, is no path: there is nothing to find.
        ("health", 401, 404),
        ("health:80", 401, 404),
    ] {
        assert_eq!(daemon.get(target).send().status, without, "{target}");
        assert_eq!(daemon.get(target).bearer(&token).send().status, with, "{target}");
    }
}

#[test]
fn a_token_for_an_unknown_path_gets_a_plain_404() {
    let daemon = TestDaemon::start();
    let token = daemon.token();

    let response = daemon.get("/nope").bearer(&token).send();

    assert_eq!(
        (response.status, response.json()["error"]["code"].as_str()),
        (404, Some("NOT_FOUND"))
    );
}

#[test]
fn oauth_probes_find_nothing_and_are_neither_logged_nor_counted() {
    let mut daemon = TestDaemon::start();
    let token = daemon.token();

    for path in [
        "/.well-known/oauth-protected-resource",
        "/.well-known/oauth-protected-resource/mcp",
        "/.well-known/oauth-authorization-server",
        "/.well-known/openid-configuration",
        "/register",
        "/authorize",
        "/token",
        "/token?grant_type=x",
    ] {
        // A well-known client sends its token to all of them.
        for authorization in
            [None, Some("Bearer WRONG".to_owned()), Some(format!("Bearer {token}"))]
        {
            for method in ["GET", "POST", "OPTIONS"] {
                let mut request = Request::new(daemon.address(), method, path);
                if let Some(value) = &authorization {
                    request = request.header("Authorization", value);
                }
                let response = request.send();
                assert_eq!(response.status, 404, "{method} {path}");
                assert!(response.header("www-authenticate").is_none());
            }
        }
    }

    let refused = daemon.status()["refused"].clone();
    let counts = refused.as_array().unwrap().iter().map(|count| count["count"].as_u64().unwrap());
    assert_eq!(counts.sum::<u64>(), 0, "{refused}");
    let log = whole_log(&mut daemon);
    assert_eq!(entries(&log, "auth_failure"), [""; 0]);
    assert!(!log.iter().any(|line| line.contains("well-known") || line.contains("/register")));
}

#[test]
fn two_requests_in_one_do_not_share_a_token() {
    let daemon = TestDaemon::start();
    let token = daemon.token();
    let mut wire = Wire::connect(daemon.address());

    let first = format!(
        "GET /mcp/list_agents HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {token}\r\n\r\n"
    );
    wire.send(format!("{first}GET /mcp/list_agents HTTP/1.1\r\nHost: a\r\n\r\n{first}"));

    assert_eq!([(); 3].map(|()| wire.answer().status), [200, 401, 200]);
}
