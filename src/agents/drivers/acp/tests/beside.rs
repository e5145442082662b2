//! What programs do beside the protocol.

use super::*;

#[test]
fn what_is_no_protocol_is_a_diagnostic() {
    for line in [
        "debugger attached",
        "[1, 2]",
        "{\"jsonrpc\":\"2.0\"}",
        "{\"error\":{\"code\":-32601,\"message\":\"Method not found\"}}",
        "{\"id\":null,\"error\":{\"code\":-32601,\"message\":\"Method not found\"}}",
        "{\"id\":99,\"result\":{}}",
        "{\"id\":\"1\",\"result\":{}}",
        "{\"id\":1.5,\"method\":\"x\"}",
        "{\"method\":7}",
        "{\"id\":3,\"method\":\"session/request_permission\",\"params\":{}}",
    ] {
        let mut script = Script::working(Permissions::Ask);

        let news = script.hears(line);

        assert!(
            matches!(&news[..], [News::Said(entry)]
            if entry.kind == EntryKind::Diagnostic && entry.joins),
            "{line}: {news:?}"
        );
    }
}

#[test]
fn an_answer_that_comes_twice_ends_the_turn_once() {
    let mut script = Script::working(Permissions::Ask);
    let id = script.last_request()["id"].clone();
    let end = json!({"id": id, "result": {"stopReason": "end_turn"}});

    let first = script.says(end.clone());
    let second = script.says(end);

    assert_eq!(*outcome(&first), Outcome::Done);
    assert_eq!(said(&second)[0].0, EntryKind::Diagnostic);
    assert_eq!(second.len(), 1);
}

#[test]
fn requests_that_nobody_serves_get_an_answer() {
    let mut script = Script::working(Permissions::Ask);
    script.written();
    for (method, member, expected) in [
        ("fs/read_text_file", "error", json!(-32601)),
        ("fs/write_text_file", "error", json!(-32601)),
        ("terminal/create", "error", json!(-32601)),
        ("_vendor/thing", "error", json!(-32601)),
        ("elicitation/create", "result", json!("decline")),
    ] {
        let news = script.says(json!({"id": "r", "method": method, "params": {}}));

        let answer = script.wrote();
        assert_eq!(answer["id"], "r");
        let known = if member == "error" { "code" } else { "action" };
        assert_eq!(answer[member][known], expected, "{method}");
        assert!(news.is_empty());
    }
    for method in ["_auth/status_update", "session/something", "$/progress"] {
        assert!(script.says(json!({"method": method, "params": {"x": 1}})).is_empty());
        assert!(script.written().is_empty());
    }
}
