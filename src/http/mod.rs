//! The data plane: MCP and plain HTTP over TCP, behind bearer tokens.

mod auth_layer;
mod body;
mod connection;
mod connections;
mod context;
mod error;
mod gate;
mod guard;
mod health;
mod limits;
pub mod mcp;
mod metrics;
mod plain;
mod request_body;
mod request_log;
pub mod server;
mod streams;
pub mod tls;
mod watched;

use std::sync::Arc;

use axum::{
    Router,
    extract::DefaultBodyLimit,
    routing::{MethodRouter, any, get},
};
use tokio_util::sync::CancellationToken;

use self::error::HttpError;
pub use self::request_log::answer;
use crate::app::App;

/// Makes what answers MCP clients. The token ends its streams.
pub type Endpoint = fn(&Arc<App>, CancellationToken) -> MethodRouter<Arc<App>>;

/// Every route of the data plane on one screen; [`answer`] asks it. `mcp` is what MCP clients get at.
///
/// `/health` and the paths where clients look for OAuth are open by their place in this list, never
/// by a comparison of paths: everything else, known or not, is behind the gate.
pub fn router(app: &Arc<App>, mcp: MethodRouter<Arc<App>>) -> Router {
    let tool = get(plain::get).post(plain::post).fallback(plain::other_method);
    // Ours is the only limit of bodies.
    let tool = tool.layer(DefaultBodyLimit::disable());
    let guarded = Router::new()
        .route("/", mcp.clone())
        .route("/mcp", mcp.clone())
        .route("/mcp/", mcp)
        .route("/mcp/{tool}", tool)
        .route("/metrics", get(metrics::metrics))
        .fallback(async || HttpError::not_found("there is nothing here; MCP is at /mcp"))
        .with_state(Arc::clone(app));
    // Clients that are refused probe these; a plain 404 ends their search, and it is no offence.
    let no_oauth = any(async || {
        HttpError::not_found(
            "this server has no OAuth; use its access token, and if you did, it is not the present one",
        )
    });
    Router::new()
        .route("/health", get(health::health))
        .route("/.well-known/{*path}", no_oauth.clone())
        .route("/register", no_oauth.clone())
        .route("/authorize", no_oauth.clone())
        .route("/token", no_oauth)
        .fallback_service(gate::service(Arc::clone(app), guarded))
        .with_state(Arc::clone(app))
}

/// The client that a request of this peer is from, as every layer here sees it.
#[cfg(feature = "fuzzing")]
pub fn seen_through(
    peer: std::net::SocketAddr,
    headers: &http::HeaderMap,
    trusted: &[ipnet::IpNet],
    header: crate::app::settings::ForwardedHeader,
) -> std::net::SocketAddr {
    context::seen_through(peer, headers, trusted, header)
}
