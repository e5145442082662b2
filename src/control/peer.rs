//! Who is at the other end of the control socket.

use std::sync::Arc;

use axum::{
    extract::{ConnectInfo, Request, State, connect_info::Connected},
    middleware::Next,
    response::{IntoResponse, Response},
    serve::IncomingStream,
};
use http::{StatusCode, header};
use tokio::net::UnixListener;

use super::router::{Control, Failure};
use crate::{app::audit, auth::Principal};

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
    // A browser can't reach a Unix socket, but a forwarded one it can.
    if request.headers().contains_key(header::ORIGIN) {
        return deny(uid, "requests with an Origin header are refused");
    }
    match uid {
        Some(uid) if uid == 0 || uid == control.own_uid => {
            request.extensions_mut().insert(Principal::Local { uid });
            next.run(request).await
        }
        _ => deny(uid, "only root and the daemon's own user may use the control socket"),
    }
}

fn deny(uid: Option<u32>, reason: &'static str) -> Response {
    audit::control_denied(uid.unwrap_or(u32::MAX), reason);
    Failure::new(StatusCode::FORBIDDEN, "PERMISSION_DENIED", reason).into_response()
}
