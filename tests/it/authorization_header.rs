//! Every way to write the Authorization header, and what each is answered and logged as.

use std::{fs, net::SocketAddr};

use crate::support::{Request, Response, TestDaemon, entries, field, whole_log};

const MISSING: &str = r#"Bearer realm="fleet-mcp""#;
const MALFORMED: &str = r#"Bearer realm="fleet-mcp", error="invalid_request", error_description="The header must be exactly: Authorization: Bearer <token>""#;
const INVALID: &str = r#"Bearer realm="fleet-mcp", error="invalid_token", error_description="The access token is invalid or missing""#;

/// What a header is: `None` is valid.
type Fault = Option<&'static str>;

const MISSING_TOKEN: Fault = Some("missing_token");
const MALFORMED_HEADER: Fault = Some("malformed_header");
const INVALID_TOKEN: Fault = Some("invalid_token");

/// The values of all Authorization headers of one request, and how they are judged.
fn table(token: &str) -> Vec<(Vec<Vec<u8>>, Fault)> {
    let one = |value: &[u8], fault| (vec![value.to_vec()], fault);
    let with_token = |format: &str| format.replace('T', token).into_bytes();
    let mut rows = vec![
        (Vec::new(), MISSING_TOKEN),
        one(b"", MALFORMED_HEADER),
        one(b"   ", MALFORMED_HEADER),
        one(b"Bearer", MALFORMED_HEADER),
        one(b"Bearer ", MALFORMED_HEADER),
        one(b"Bearer WRONG", INVALID_TOKEN),
        one(b"Bearer x", INVALID_TOKEN),
        one(b"Bearer a,b=\"c\"", INVALID_TOKEN),
        one("Bearer é".as_bytes(), MALFORMED_HEADER),
        one(b"Bearer \xe9", MALFORMED_HEADER),
        one(b"Bearer \x80", MALFORMED_HEADER),
        one(b"\xff", MALFORMED_HEADER),
    ];
    for malformed in [
        "bearer T",
        "BEARER T",
        "bEaReR T",
        "Bearer  T",
        "Bearer\tT",
        "Bearer \tT",
        "BearerT",
        "Bearer:T",
        "Bearer T extra",
        "Bearer T\textra",
        "Bearer T, Bearer T",
        "Basic T",
        "Token T",
        "T",
        "\"Bearer T\"",
    ] {
        rows.push((vec![malformed.replace('T', token).into_bytes()], MALFORMED_HEADER));
    }
    let not_ascii_after_the_token = [with_token("Bearer T").as_slice(), b"\xff"].concat();
    rows.push((vec![not_ascii_after_the_token], MALFORMED_HEADER));
    rows.push((vec![with_token("Bearer T"), with_token("Bearer T")], MALFORMED_HEADER));
    rows.push((vec![with_token("Bearer T"), b"Basic eDp5".to_vec()], MALFORMED_HEADER));
    rows.push((vec![Vec::new(), with_token("Bearer T")], MALFORMED_HEADER));
    for wrong in ["Bearer Tx", "Bearer xT", "Bearer T=", "Bearer \"T\""] {
        rows.push((vec![with_token(wrong)], INVALID_TOKEN));
    }
    for length in [42, 43, 128, 129, 8000] {
        rows.push((vec![format!("Bearer {}", "a".repeat(length)).into_bytes()], INVALID_TOKEN));
    }
    for valid in ["Bearer T", "Bearer T ", "Bearer T   ", "Bearer T\t", "  Bearer T"] {
        rows.push((vec![with_token(valid)], None));
    }
    rows
}

fn assert_refused(response: &Response, fault: &str, what: &str) {
    let challenge = match fault {
        "missing_token" => MISSING,
        "malformed_header" => MALFORMED,
        _ => INVALID,
    };
    let body = format!(
        r#"{{"error":"{fault}","error_description":"The access token is invalid or missing"}}"#
    );
    assert_eq!((response.status, &response.body), (401, &body), "{what}");
    assert_eq!(response.header("www-authenticate"), Some(challenge), "{what}");
    assert_eq!(response.header("content-type"), Some("application/json"), "{what}");
    assert_eq!(response.header("cache-control"), Some("no-store"), "{what}");
}

#[test]
fn each_header_gets_its_answer_and_each_refusal_one_entry_with_the_reason() {
    let builder = TestDaemon::builder().env("FLEET_MCP_HTTP_TRUSTED_PROXIES", "127.0.0.1");
    let mut daemon = builder.start();
    let rows = table(&daemon.token());
    // A client of its own for each row: the log sums up what one client does too often.
    let client = |row: usize| format!("203.0.113.{row}");

    for (row, (values, fault)) in rows.iter().enumerate() {
        let request = daemon.get("/mcp/list_agents").header("X-Forwarded-For", client(row));
        let add = |request: Request, value: &Vec<u8>| request.header("Authorization", value);
        let response = values.iter().fold(request, add).send();

        let what = format!("row {row}: {fault:?}");
        match fault {
            Some(fault) => assert_refused(&response, fault, &what),
            None => assert_eq!(response.status, 200, "{what}"),
        }
    }

    let log = whole_log(&mut daemon);
    let refused = entries(&log, "auth_failure");
    for (row, (_, fault)) in rows.iter().enumerate() {
        let of_client = |entry: &&&str| field(entry, "client_ip") == Some(&client(row));
        let logged: Vec<_> = refused.iter().filter(of_client).collect();
        let reasons: Vec<_> = logged.iter().map(|entry| field(entry, "reason")).collect();
        assert_eq!(reasons, Vec::from_iter(fault.map(Some)), "row {row}");
        for entry in logged {
            let code = fault.unwrap();
            let message =
                format!(" - WARNING - 401 {code} from {}: GET /mcp/list_agents", client(row));
            assert!(entry.contains(&message), "{entry}");
            assert_eq!(field(entry, "status"), Some("401"));
            let has_fingerprint = field(entry, "token_fingerprint").is_some();
            assert_eq!(has_fingerprint, code == "invalid_token", "{entry}");
        }
    }
}

#[test]
fn bytes_that_no_header_may_have_are_a_bad_request() {
    let daemon = TestDaemon::start();

    for value in [b"Bearer \x00".as_slice(), b"Bearer \x01", b"Bearer \x7f"] {
        let response = daemon.get("/mcp/list_agents").header("Authorization", value).send();

        assert_eq!(response.status, 400, "{value:?}");
    }
}

#[test]
fn the_longest_token_is_valid_and_one_more_character_is_not() {
    let token = "a".repeat(128);
    let builder = TestDaemon::builder();
    fs::create_dir(builder.state_dir()).unwrap();
    let file = format!(r#"{{"value":"{token}","created_at":"2025-11-11T10:30:00Z"}}"#);
    fs::write(builder.token_file(), file).unwrap();

    let daemon = builder.start();

    daemon.watch_for(&token);
    let status = |token: &str| daemon.get("/mcp/list_agents").bearer(token).send().status;
    assert_eq!(status(&token), 200);
    assert_eq!(status(&token[1..]), 401);
    assert_eq!(status(&format!("{token}a")), 401);
}

#[test]
fn the_header_is_judged_alike_for_every_form_of_request() {
    let daemon = TestDaemon::start();
    let token = daemon.token();
    let call = r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#;
    let mcp = |path: &str| {
        daemon
            .post(path, call)
            .header("Content-Type", "application/json")
            .header("Accept", "application/json, text/event-stream")
    };

    let forms: [&dyn Fn() -> Request; 4] = [
        &|| daemon.get("/mcp/list_agents"),
        &|| daemon.post("/mcp/list_agents", "{}"),
        &|| mcp("/mcp"),
        &|| mcp("/"),
    ];
    for form in forms {
        assert_refused(&form().send(), "missing_token", "no header");
        assert_refused(&form().bearer("WRONG").send(), "invalid_token", "a wrong one");
        let lower = form().header("Authorization", format!("bearer {token}")).send();
        assert_refused(&lower, "malformed_header", "another spelling");
        assert_eq!(form().bearer(&token).send().status, 200);
    }
}

#[test]
fn the_name_of_the_header_has_any_case_and_the_query_is_no_place_for_a_token() {
    let daemon = TestDaemon::start();
    let token = daemon.token();
    let address: SocketAddr = daemon.address();

    for name in ["authorization", "AUTHORIZATION"] {
        let request = Request::new(address, "GET", "/mcp/list_agents");
        assert_eq!(request.header(name, format!("Bearer {token}")).send().status, 200);
    }
    for name in ["access_token", "token"] {
        let path = format!("/mcp/list_agents?{name}={token}");
        assert_refused(&daemon.get(&path).send(), "missing_token", name);
    }
    let proxy = daemon.get("/mcp/list_agents").header("Proxy-Authorization", "Bearer x").send();
    assert_refused(&proxy, "missing_token", "for a proxy");
}
