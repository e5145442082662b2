//! Tools called over plain HTTP and MCP: whatever the arguments, the answer is JSON that says what was wrong
//! and whose status fits its code; no input is an internal error.

#![no_main]

use std::{net::SocketAddr, time::Duration};

use axum::body::Body;
use fleet_mcp_fuzz::{app::Daemon, byte};
use http::{Request, header};
use http_body_util::BodyExt as _;
use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

const TOOLS: &[&str] = &[
    "answer_agent",
    "cancel_agent_task",
    "create_agent",
    "delete_agent",
    "list_agent_projects",
    "list_agent_roles",
    "list_agents",
    "publish_agent",
    "restart_agent",
    "show_agent",
    "show_agent_log",
    "show_agent_task_history",
    "start_agent_task",
    "wait_for_agent",
];

thread_local! {
    static DAEMON: (Daemon, axum::Router) = {
        let daemon = Daemon::start();
        let router = {
            let _entered = daemon.runtime.enter();
            let mcp = fleet_mcp::http::mcp::fleet(&daemon.app, CancellationToken::new());
            fleet_mcp::http::router(&daemon.app, mcp)
        };
        (daemon, router)
    };
}

fuzz_target!(|data: &[u8]| {
    let mut data = data;
    let form = byte(&mut data) % 3;
    let tool = TOOLS[usize::from(byte(&mut data)) % TOOLS.len()];
    let query: String = data.iter().map(|b| char::from(33 + b % 94)).collect();
    let request = match form {
        0 => Request::get(format!("/mcp/{tool}?{}", query.replace('#', ""))).body(Body::empty()),
        1 => Request::post(format!("/mcp/{tool}")).body(Body::from(data.to_vec())),
        _ => Request::post("/mcp")
            .header(header::ACCEPT, "application/json, text/event-stream")
            .header(header::CONTENT_TYPE, "application/json")
            .body(Body::from(data.to_vec())),
    };
    let Ok(mut request) = request else { return };
    request.headers_mut().insert(header::HOST, "localhost".parse().expect("a name"));
    DAEMON.with(|(daemon, router)| {
        let peer = SocketAddr::from(([127, 0, 0, 1], 1));
        let answer = async {
            let answer = fleet_mcp::http::answer(&daemon.app, router, peer, request).await.expect("infallible");
            let status = answer.status().as_u16();
            let body = answer.into_body().collect().await.expect("a body").to_bytes();
            (status, body)
        };
        // Who waits for an agent may wait for long: hanging up is allowed.
        let answer = async { tokio::time::timeout(Duration::from_millis(100), answer).await };
        let Ok((status, body)) = daemon.runtime.block_on(answer) else {
            assert!(tool == "wait_for_agent" || form == 2 || tool.starts_with("delete"));
            return;
        };
        if form == 2 {
            assert!(status < 500, "{status} {body:?}");
            return;
        }
        let json: Value = serde_json::from_slice(&body).expect("JSON");
        let code = json["error"]["code"].as_str().unwrap_or_default();
        let fits = match status {
            200 => json["error"].is_null(),
            400 | 405 | 413 => code == "INVALID_INPUT",
            404 => code == "NOT_FOUND",
            409 => code == "CONFLICT",
            503 => code == "SERVICE_UNAVAILABLE",
            _ => false,
        };
        assert!(fits, "{status} {json}");
        assert!(status == 200 || json["error"]["message"].as_str().is_some_and(|s| !s.is_empty()));
    });
});
