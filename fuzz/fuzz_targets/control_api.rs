//! Requests to the control socket, through the socket: each is answered, never with an internal error, and
//! a failure has a code and says something.

#![no_main]

use std::{sync::Arc, time::Duration};

use fleet_mcp::control::{self, Control};
use fleet_mcp_fuzz::{
    app::{Daemon, Nothing},
    byte,
};
use libfuzzer_sys::fuzz_target;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{UnixListener, UnixStream},
};
use tokio_util::sync::CancellationToken;

const ROUTES: &[(&str, &str)] = &[
    ("POST", "/v1/tokens"),
    ("POST", "/v1/tokens/default/rotate"),
    ("POST", "/v1/tokens/ci/rotate"),
    ("POST", "/v1/tokens/ci/revoke"),
    ("POST", "/v1/tools/create_agent"),
    ("POST", "/v1/tools/start_agent_task"),
    ("POST", "/v1/tools/list_agents"),
    ("POST", "/v1/tools/show_agent_log"),
    ("POST", "/v1/tools/show_agent_task_history"),
    ("POST", "/v1/tools/answer_agent"),
    ("POST", "/v1/tools/delete_agent"),
    ("POST", "/v1/tools/cancel_agent_task"),
    ("GET", "/v1/events?"),
    ("GET", "/v1/agents/"),
    ("POST", "/v1/tokens/"),
    ("GET", "/v1/"),
];

thread_local! {
    static DAEMON: Daemon = serve();
}

fn serve() -> Daemon {
    let daemon = Daemon::start();
    let control = Arc::new(Control {
        app: Arc::clone(&daemon.app),
        reload: Arc::new(Nothing),
        doctor: Arc::new(Nothing),
        own_uid: 0,
    });
    let _entered = daemon.runtime.enter();
    let listener = UnixListener::bind(daemon.directory.path().join("socket")).expect("a socket");
    daemon.runtime.spawn(control::serve(control, listener, CancellationToken::new()));
    daemon
}

fuzz_target!(|data: &[u8]| {
    let mut data = data;
    let (method, path) = ROUTES[usize::from(byte(&mut data)) % ROUTES.len()];
    let (path, body) = match method {
        // The rest of the path, in characters that a path can have; a long wait is not the point.
        "GET" => {
            let rest: String = data.iter().map(|b| char::from(33 + b % 94)).collect();
            (format!("{path}{}", rest.replace("wait", "w").replace('#', "")), &[][..])
        }
        _ => (path.to_owned(), data),
    };
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    DAEMON.with(|daemon| {
        let answer = daemon.runtime.block_on(async {
            let socket = daemon.directory.path().join("socket");
            let mut stream = UnixStream::connect(socket).await.expect("a connection");
            stream.write_all(head.as_bytes()).await.expect("a request");
            // A request that is refused by its head is not read any further.
            let _ = stream.write_all(body).await;
            let mut answer = Vec::new();
            let read = stream.read_to_end(&mut answer);
            tokio::time::timeout(Duration::from_secs(20), read).await.expect("an answer").ok();
            answer
        });
        let answer = String::from_utf8(answer).expect("text");
        let status = answer.split(' ').nth(1).unwrap_or_default().parse().unwrap_or(0);
        assert!(
            matches!(status, 200 | 400 | 401 | 403 | 404 | 405 | 409 | 413..=415 | 422 | 503),
            "{head}{answer}"
        );
        let body = answer.split_once("\r\n\r\n").map(|(_, body)| body).unwrap_or_default();
        if let Ok(json) = serde_json::from_str::<serde_json::Value>(body)
            && status != 200
        {
            let said = |member: &str| json["error"][member].as_str().is_some_and(|s| !s.is_empty());
            assert!(said("code") && said("message"), "{answer}");
        }
    });
});
