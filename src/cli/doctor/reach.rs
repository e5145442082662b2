//! What a client on this machine gets from the daemon.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use http::{StatusCode, Uri};

use super::{
    Findings,
    probe::{self, Answer, Via},
};
use crate::{
    app::doctor::Finding,
    auth::token::PRIMARY,
    control::{
        api::{self, IssuedToken, Status},
        client::Client,
    },
};

/// `/health` of each listener, and by the public URL.
pub(super) async fn listeners(status: &Status, findings: &mut Findings) {
    for url in &status.listeners {
        findings.add(health(url).await);
    }
    if let Some(url) = &status.public_url {
        findings.add(public(url).await);
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
    // Its certificate is for the name that clients use, not for this address, and this machine's
    // port is enough: no secret is sent.
    let via = if url.starts_with("https://") { Via::Anyone } else { Via::Plain };
    match probe::ask(via, address, &address.to_string(), "/health", None).await {
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

/// What clients reach: names, proxies and certificates included, as far as they are the same here.
async fn public(url: &str) -> Option<Finding> {
    const CHECK: &str = "public_url";
    let url = url.strip_suffix("/mcp").unwrap_or(url);
    let try_there = format!("where a client is: curl -fsS {url}/health");
    let answer = match by_name(url, Via::Trusted).await {
        Err(error) if probe::is_distrust(&error) => {
            return Some(Finding::warning(
                CHECK,
                format!("the certificate of {url} is not trusted here: {error}"),
                "clients that trust what this machine trusts do not connect",
                "renew it, or have the whole chain served; if it is of an authority of your own, \
                 give that to the clients, and to this machine",
            ));
        }
        answer => answer,
    };
    match answer {
        Ok((StatusCode::OK, body)) if is_ours(&body) => None,
        Ok((StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN, _)) => Some(Finding::warning(
            CHECK,
            format!("{url}/health is refused"),
            "fleet-mcp never does that: something in front of it wants a credential of its own, and \
             clients send only the token",
            "have the proxy pass requests on as they are, with their Authorization header",
        )),
        Ok((status, _)) => Some(Finding::warning(
            CHECK,
            format!("{url}/health answers {status}, and not as fleet-mcp does"),
            "clients that use this address reach something else",
            "the proxy's configuration and its log, or http.public_url",
        )),
        Err(error) => Some(Finding::warning(
            CHECK,
            format!("{url}/health does not answer from here: {error}"),
            "clients use this address; names and routes may be others where they are",
            try_there,
        )),
    }
}

/// `/health` of a URL; `via` counts if it speaks TLS.
async fn by_name(url: &str, via: Via) -> Answer {
    let uri: Uri = url.parse()?;
    let (via, port) = match uri.scheme_str() {
        Some("https") => (via, 443),
        _ => (Via::Plain, 80),
    };
    let authority = uri.authority().ok_or("it names no host")?;
    let host = authority.host().trim_start_matches('[').trim_end_matches(']');
    let path = format!("{}/health", uri.path().trim_end_matches('/'));
    let address = (host, authority.port_u16().unwrap_or(port));
    probe::ask(via, address, authority.as_str(), &path, None).await
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
    let host = address.to_string();
    let ask = async |token| probe::ask(Via::Plain, address, &host, PATH, token).await;
    findings.add(match ask(None).await {
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
    findings.add(match ask(Some(&issued.secret)).await {
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

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpListener,
    };

    use super::*;

    const OURS: &str = "HTTP/1.1 200 OK\r\nContent-Length: 23\r\n\r\n{\"service\":\"fleet-mcp\"}";

    /// The URL of a server that answers so, once.
    async fn answers(answer: &'static str) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let _ = stream.read(&mut [0; 4096]).await.unwrap();
            stream.write_all(answer.as_bytes()).await.unwrap();
        });
        url
    }

    /// What is found if `/health` is answered so.
    async fn found(answer: &'static str) -> Option<Finding> {
        health(&answers(answer).await).await
    }

    #[tokio::test]
    async fn whatever_answers_health_in_our_place_is_found() {
        let refused = found("HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n").await;
        let other = found("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}").await;
        let garbage = found("SSH-2.0-OpenSSH\r\n").await;

        assert!(refused.unwrap().why.contains("something else answers"));
        assert!(other.unwrap().what.contains("not as fleet-mcp does"));
        assert!(garbage.unwrap().what.contains("does not answer"));
        assert_eq!(found(OURS).await, None);
    }

    #[tokio::test]
    async fn what_answers_in_front_of_us_by_the_public_url_is_found() {
        let found = async |answer: &'static str| public(&answers(answer).await).await;
        let refused = found("HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n").await;
        let broken = found("HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n").await;
        let nobody = public("http://127.0.0.1:1/mcp").await;

        assert!(refused.unwrap().why.contains("a credential of its own"));
        assert!(broken.unwrap().what.contains("answers 502 Bad Gateway"));
        assert!(nobody.unwrap().what.starts_with("http://127.0.0.1:1/health does not answer"));
        assert_eq!(found(OURS).await, None);
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
