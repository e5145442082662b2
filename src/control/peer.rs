//! Who is at the other end of the control socket.

use std::{net::IpAddr, sync::Arc};

use axum::{
    extract::{ConnectInfo, Request, State, connect_info::Connected},
    middleware::Next,
    response::{IntoResponse, Response},
    serve::IncomingStream,
};
use http::{
    HeaderValue, StatusCode,
    header::{self, HeaderName},
    uri::Authority,
};
use tokio::net::UnixListener;

use super::router::{Control, Failure};
use crate::{app::audit, auth::Principal};

/// Headers that browsers send and no program of an operator does.
const BROWSERS: [HeaderName; 2] = [header::ORIGIN, HeaderName::from_static("sec-fetch-site")];

/// The peer's effective uid when it connected; `None` if the kernel does not say.
#[derive(Debug, Clone, Copy)]
pub(super) struct PeerUid(Option<u32>);

impl Connected<IncomingStream<'_, UnixListener>> for PeerUid {
    fn connect_info(stream: IncomingStream<'_, UnixListener>) -> Self {
        Self(stream.io().peer_cred().ok().map(|cred| cred.uid()))
    }
}

/// Lets root and the daemon's own user in. The socket's mode keeps others out already; this keeps
/// them out too if the mode was changed, or the socket was passed on.
pub(super) async fn authorize(
    State(control): State<Arc<Control>>,
    ConnectInfo(PeerUid(uid)): ConnectInfo<PeerUid>,
    mut request: Request,
    next: Next,
) -> Response {
    // A browser can't reach a Unix socket, but a forwarded one it can: from a page of its own, or
    // under a name that was made to lead there.
    if BROWSERS.iter().any(|name| request.headers().contains_key(name)) {
        return deny(uid, "requests of browsers are refused");
    }
    if !request.headers().get_all(header::HOST).iter().all(is_local) {
        return deny(uid, "the Host must be `fleet-mcp` or `localhost`");
    }
    match uid {
        Some(uid) if uid == 0 || uid == control.own_uid => {
            request.extensions_mut().insert(Principal::Local { uid });
            next.run(request).await
        }
        _ => deny(uid, "only root and the daemon's own user may use the control socket"),
    }
}

/// What curl and we call a server that has no name.
fn is_local(host: &HeaderValue) -> bool {
    let Ok(authority) = Authority::try_from(host.as_bytes()) else { return false };
    let name = authority.host().to_ascii_lowercase();
    let bare = name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(&name);
    matches!(bare, "fleet-mcp" | "localhost")
        || bare.parse().is_ok_and(|ip: IpAddr| ip.to_canonical().is_loopback())
}

fn deny(uid: Option<u32>, reason: &'static str) -> Response {
    audit::control_denied(uid.unwrap_or(u32::MAX), reason);
    Failure::new(StatusCode::FORBIDDEN, "PERMISSION_DENIED", reason).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_that_no_dns_can_give_are_local() {
        let local = |host: &str| is_local(&host.parse().unwrap());

        for host in ["fleet-mcp", "localhost", "LocalHost:80", "127.0.0.1:1", "[::1]:80"] {
            assert!(local(host), "{host}");
        }
        for host in ["evil.com", "localhost.evil.com", "fleet-mcp.evil.com", "10.0.0.1", "", "x"] {
            assert!(!local(host), "{host}");
        }
    }
}
