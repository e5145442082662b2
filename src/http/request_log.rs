//! Around all routes: names and counts each request, and writes the access log if there is one.

use std::{convert::Infallible, net::SocketAddr, time::Instant};

use axum::{Router, extract::Request, response::Response};
use http_body::Body as _;
use tower::Service as _;

use super::context::Context;
use crate::app::{App, log_targets::ACCESS_TARGET, metrics::Route};

/// The answer of the [`router`](super::router) to a request of this peer.
///
/// # Errors
/// None; routes can't fail.
pub async fn answer(
    app: &App,
    router: &Router,
    peer: SocketAddr,
    mut request: Request,
) -> Result<Response, Infallible> {
    let context = {
        let http = &app.settings().http;
        Context::of(peer, request.headers(), &http.trusted_proxies, http.forwarded_header)
    };
    request.extensions_mut().insert(context);
    let (route, start) = (Route::of(request.uri().path()), Instant::now());
    let response = logged(router.clone(), request, context).await?;
    app.metrics.http.answered(route, response.status().as_u16(), start.elapsed());
    Ok(response)
}

async fn logged(
    mut router: Router,
    request: Request,
    context: Context,
) -> Result<Response, Infallible> {
    if !tracing::enabled!(target: ACCESS_TARGET, tracing::Level::INFO) {
        return router.call(request).await;
    }
    let (method, uri, version) =
        (request.method().clone(), request.uri().clone(), request.version());
    let response = router.call(request).await?;
    tracing::info!(
        target: ACCESS_TARGET,
        client = %context.client.ip().to_canonical(),
        method = method.as_str(),
        path = uri.path(),
        version = ?version,
        status = u64::from(response.status().as_u16()),
        bytes = response.body().size_hint().exact(),
        "request"
    );
    Ok(response)
}
