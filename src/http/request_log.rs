//! The outermost layer: names and counts each request, and writes the access log if there is one.

use std::{sync::Arc, time::Instant};

use axum::{
    extract::{Request, State},
    middleware::Next,
    response::Response,
};
use http_body::Body as _;

use super::context::Context;
use crate::app::{App, log_targets::ACCESS_TARGET, metrics::Route};

pub(super) async fn request_log(
    State(app): State<Arc<App>>,
    mut request: Request,
    next: Next,
) -> Response {
    let settings = app.settings();
    let context =
        Context::of(&request, &settings.http.trusted_proxies, settings.http.forwarded_header);
    request.extensions_mut().insert(context);
    let (route, start) = (Route::of(request.uri().path()), Instant::now());
    let response = logged(request, next, context).await;
    app.metrics.http.answered(route, response.status().as_u16(), start.elapsed());
    response
}

async fn logged(request: Request, next: Next, context: Context) -> Response {
    if !tracing::enabled!(target: ACCESS_TARGET, tracing::Level::INFO) {
        return next.run(request).await;
    }
    let (method, uri, version) =
        (request.method().clone(), request.uri().clone(), request.version());
    let response = next.run(request).await;
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
    response
}
