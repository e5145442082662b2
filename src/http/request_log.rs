//! Around all routes: names and counts each request, and writes the access log if there is one.

use std::{convert::Infallible, net::SocketAddr, time::Instant};

use axum::{Router, extract::Request, response::Response};
use http::{Method, Uri, Version};
use http_body::Body as _;
use tower::Service as _;

use super::context::Context;
use crate::app::{App, log_targets::ACCESS_TARGET, metrics::Route};

/// The answer of the [`router`](super::router) to a request of this peer.
///
/// # Errors
/// None; routes can't fail.
pub fn answer<'a>(
    app: &'a App,
    router: &Router,
    peer: SocketAddr,
    mut request: Request,
) -> impl Future<Output = Result<Response, Infallible>> + Send + use<'a> {
    let context = {
        let http = &app.settings().http;
        Context::of(peer, request.headers(), &http.trusted_proxies, http.forwarded_header)
    };
    request.extensions_mut().insert(context);
    let (route, start) = (Route::of(request.uri().path()), Instant::now());
    let entry = tracing::enabled!(target: ACCESS_TARGET, tracing::Level::INFO)
        .then(|| Box::new(Entry::of(&request, context)));
    // The request itself goes on at once: what waits for the answer is small.
    let answer = router.clone().call(request);
    async move {
        let response = answer.await?;
        if let Some(entry) = entry {
            entry.write(&response);
        }
        app.metrics.http.answered(route, response.status().as_u16(), start.elapsed());
        Ok(response)
    }
}

/// What the access log has of a request.
struct Entry {
    client: SocketAddr,
    method: Method,
    uri: Uri,
    version: Version,
}

impl Entry {
    fn of(request: &Request, context: Context) -> Self {
        let (method, uri) = (request.method().clone(), request.uri().clone());
        Self { client: context.client, method, uri, version: request.version() }
    }

    fn write(&self, response: &Response) {
        tracing::info!(
            target: ACCESS_TARGET,
            client = %self.client.ip().to_canonical(),
            method = self.method.as_str(),
            path = self.uri.path(),
            version = ?self.version,
            status = u64::from(response.status().as_u16()),
            bytes = response.body().size_hint().exact(),
            "request"
        );
    }
}
