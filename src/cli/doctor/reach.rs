//! What a client on this machine gets from the daemon.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, StatusCode, header};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, time::timeout};
use zeroize::Zeroizing;

use super::Findings;
use crate::{
    app::doctor::Finding,
    auth::token::PRIMARY,
    control::{
        api::{self, IssuedToken, Status},
        client::Client,
    },
};

/// Our User-Agent: what is refused to it is no finding.
pub(super) const USER_AGENT: &str = "fleetctl-doctor";
/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// Most bytes of an answer that are read.
const MAX_ANSWER: usize = 1024 * 1024;

type Trouble = Box<dyn std::error::Error + Send + Sync>;

/// `/health` of each listener, and of the public URL as far as we can.
pub(super) async fn listeners(status: &Status, findings: &mut Findings) {
    for url in &status.listeners {
        findings.add(health(url).await);
    }
    if let Some(url) = &status.public_url {
        let what = format!("whether clients reach {url} was not checked");
        let why = "that depends on names, proxies and certificates between them and here; try \
                   `curl -fsS URL/health` where a client is: 401 there comes from something in \
                   front, since /health is open";
        findings.add([Finding::skipped("public_url", what, why)]);
    }
}

async fn health(url: &str) -> Option<Finding> {
    const CHECK: &str = "health";
    let Some(address) = address(url) else {
        let what = format!("{url}/health was not checked");
        return Some(Finding::skipped(CHECK, what, "it is no address of this machine"));
    };
    let why = "clients get no connection";
    let fix = "fleetctl status; journalctl -u fleet-mcp -e, or the daemon's standard error";
    if url.starts_with("https://") {
        let connected = timeout(PATIENCE, TcpStream::connect(address)).await;
        if !matches!(connected, Ok(Ok(_))) {
            let what = format!("{url} can't be connected to");
            return Some(Finding::error(CHECK, what, why, fix));
        }
        let what = format!("{url}/health was not checked behind TLS");
        return Some(Finding::skipped(CHECK, what, format!("try `curl -kfsS {url}/health`")));
    }
    match ask(address, "/health", None).await {
        Ok((StatusCode::OK, body)) if is_ours(&body) => None,
        Ok((StatusCode::UNAUTHORIZED, _)) => Some(Finding::error(
            CHECK,
            format!("{url}/health answers 401"),
            "fleet-mcp never does: /health is open by its route, so something else answers",
            format!("ss -ltnp 'sport = :{}'", address.port()),
        )),
        Ok((status, _)) => {
            let what = format!("{url}/health answers {status}, and not as fleet-mcp does");
            Some(Finding::error(CHECK, what, why, fix))
        }
        Err(error) => {
            let what = format!("{url}/health does not answer: {error}");
            Some(Finding::error(CHECK, what, why, fix))
        }
    }
}

fn is_ours(body: &[u8]) -> bool {
    let health: Option<serde_json::Value> = serde_json::from_slice(body).ok();
    health.is_some_and(|health| health["service"] == "fleet-mcp")
}

/// One request without a token and one with the primary token, as clients make them.
pub(super) async fn round_trip(client: &Client, status: &Status, findings: &mut Findings) {
    const CHECK: &str = "token";
    const PATH: &str = "/mcp/list_agents";
    let plain = status.listeners.iter().filter(|url| url.starts_with("http://"));
    let Some(address) = plain.filter_map(|url| address(url)).next() else {
        let why = "no listener speaks plain HTTP";
        findings.add([Finding::skipped(CHECK, "the token was not tried", why)]);
        return;
    };
    if !status.auth.enforced {
        let why = "authentication is off";
        findings.add([Finding::skipped(CHECK, "the token was not tried", why)]);
        return;
    }
    findings.add(match ask(address, PATH, None).await {
        Ok((StatusCode::UNAUTHORIZED, _)) => None,
        Ok((status, _)) => Some(Finding::error(
            CHECK,
            format!("a request without a token is answered {status}, not 401"),
            "whoever can connect can use the server",
            "restart the daemon, and report it: this is a bug",
        )),
        Err(_) => Some(Finding::skipped(CHECK, "no request was refused", "none was answered")),
    });
    let issued: IssuedToken = match client.get(&api::secret(PRIMARY)).await {
        Ok(issued) => issued,
        Err(error) => {
            let fix = "fleetctl token show";
            let why = "nobody can be given the token that is in force";
            findings.add([Finding::warning(CHECK, error.to_string(), why, fix)]);
            return;
        }
    };
    findings.add(match ask(address, PATH, Some(&issued.secret)).await {
        Ok((StatusCode::OK, _)) => None,
        Ok((status, _)) => Some(Finding::error(
            CHECK,
            format!("a request with the primary token is answered {status}"),
            "clients with the right token are refused",
            "fleetctl rotate, then try again",
        )),
        Err(error) => Some(Finding::skipped(CHECK, "the token was not tried", error.to_string())),
    });
}

/// Where to connect to reach a listener from here.
fn address(url: &str) -> Option<SocketAddr> {
    let (_, address) = url.split_once("://")?;
    let mut address: SocketAddr = address.parse().ok()?;
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => address.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(ip) if ip.is_unspecified() => address.set_ip(Ipv6Addr::LOCALHOST.into()),
        _ => {}
    }
    Some(address)
}

async fn ask(
    address: SocketAddr,
    path: &str,
    token: Option<&str>,
) -> Result<(StatusCode, Bytes), Trouble> {
    let exchange = async {
        let stream = TcpStream::connect(address).await?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        let mut request = Request::get(path)
            .header(header::HOST, address.to_string())
            .header(header::USER_AGENT, USER_AGENT);
        if let Some(token) = token {
            let value = Zeroizing::new(format!("Bearer {token}"));
            request = request.header(header::AUTHORIZATION, &**value);
        }
        let connection = tokio::spawn(connection);
        let response = sender.send_request(request.body(Empty::<Bytes>::new())?).await?;
        let status = response.status();
        let body = Limited::new(response.into_body(), MAX_ANSWER).collect().await?.to_bytes();
        connection.abort();
        Ok((status, body))
    };
    timeout(PATIENCE, exchange).await.unwrap_or_else(|_| Err("no answer within 5 s".into()))
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpListener,
    };

    use super::*;

    /// What is found if `/health` is answered so.
    async fn found(answer: &'static str) -> Option<Finding> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let _ = stream.read(&mut [0; 4096]).await.unwrap();
            stream.write_all(answer.as_bytes()).await.unwrap();
        });
        health(&url).await
    }

    #[tokio::test]
    async fn whatever_answers_health_in_our_place_is_found() {
        let refused = found("HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n").await;
        let other = found("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}").await;
        let garbage = found("SSH-2.0-OpenSSH\r\n").await;
        let ours = "{\"service\":\"fleet-mcp\"}";
        let ours = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{ours}", ours.len());

        assert!(refused.unwrap().why.contains("something else answers"));
        assert!(other.unwrap().what.contains("not as fleet-mcp does"));
        assert!(garbage.unwrap().what.contains("does not answer"));
        assert_eq!(found(ours.leak()).await, None);
    }

    #[test]
    fn every_interface_is_reached_by_loopback() {
        for (url, expected) in [
            ("http://0.0.0.0:8000", "127.0.0.1:8000"),
            ("https://[::]:1", "[::1]:1"),
            ("http://192.0.2.1:2", "192.0.2.1:2"),
        ] {
            assert_eq!(address(url), Some(expected.parse().unwrap()), "{url}");
        }
    }
}
