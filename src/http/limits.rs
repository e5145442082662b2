//! How much one request, and all of them together, may take.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::Relaxed},
};

use axum::{
    Router,
    body::Body,
    extract::Request,
    response::{IntoResponse, Response},
};
use http::StatusCode;
use http_body::Body as _;
use tower::Service as _;

use super::{
    body::Guarded,
    error::{HttpError, closing},
    mcp,
    request_body::Memory,
    streams::{Place, Streams},
};
use crate::app::{App, metrics::Limit};

/// One of the requests that are being answered now; counts until it is dropped.
struct Permit(Arc<AtomicUsize>);

impl Permit {
    /// `None` if there are as many as may be.
    fn enter(in_flight: &Arc<AtomicUsize>, limit: usize) -> Option<Self> {
        let grow = |count| (count < limit).then_some(count + 1);
        in_flight.fetch_update(Relaxed, Relaxed, grow).ok()?;
        Some(Self(Arc::clone(in_flight)))
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

/// What requests are measured against.
#[derive(Clone)]
pub(super) struct Bounds {
    app: Arc<App>,
    memory: Memory,
    streams: Streams,
}

impl Bounds {
    pub(super) fn new(app: &Arc<App>) -> Self {
        let streams = Streams::new(Arc::clone(&app.metrics));
        Self { app: Arc::clone(app), memory: Memory::default(), streams }
    }

    /// A place for a request that is about to be worked on.
    fn enter(&self, request: &Request) -> Result<Held, HttpError> {
        let http = &self.app.settings().http;
        if mcp::wants_stream(request) {
            let place = self.streams.enter(request, http.max_connections);
            return place.map(|place| Held::Stream { _place: place }).map_err(|most| {
                self.app.metrics.http.met(Limit::Streams);
                busy(most, "streams of notifications")
            });
        }
        let permit = Permit::enter(&self.app.metrics.http.in_flight, http.max_requests);
        permit.map(|permit| Held::Request { _permit: permit }).ok_or_else(|| {
            self.app.metrics.http.met(Limit::Requests);
            busy(http.max_requests, "requests")
        })
    }
}

/// What a request holds until its answer's last byte.
enum Held {
    Request { _permit: Permit },
    Stream { _place: Place },
}

/// Reads the whole body of a request within its bounds before anyone works on it, and refuses the
/// request if too many are being worked on then: one that is still on its way keeps nobody out.
pub(super) async fn limit(bounds: Bounds, request: Request, mut inside: Router) -> Response {
    let settings = bounds.app.settings();
    let http = &settings.http;
    let (parts, body) = request.into_parts();
    let read =
        bounds.memory.read(body, &parts.extensions, http.max_body_bytes, http.body_timeout).await;
    let body = match read {
        Ok(bytes) => Body::from(bytes),
        Err(error) => {
            met(&bounds.app, error.status());
            return closing(error.into_response());
        }
    };
    let request = Request::from_parts(parts, body);
    let held = match bounds.enter(&request) {
        Ok(held) => held,
        Err(error) => return error.into_response(),
    };
    let Ok(response) = inside.call(request).await;
    if response.body().size_hint().exact().is_some() {
        return response;
    }
    // Its client has no use for the connection afterwards, so a stop need not wait for it to rest.
    let ends_connection = matches!(held, Held::Stream { .. });
    // A stream is in flight until its last byte.
    let response = response.map(|body| Body::new(Guarded::new(body, held)));
    if ends_connection { closing(response) } else { response }
}

/// Counts the limit that a body has met.
fn met(app: &App, status: StatusCode) {
    let limit = match status {
        StatusCode::PAYLOAD_TOO_LARGE => Limit::BodySize,
        StatusCode::REQUEST_TIMEOUT => Limit::BodyTime,
        StatusCode::SERVICE_UNAVAILABLE => Limit::BodyMemory,
        // It broke off.
        _ => return,
    };
    app.metrics.http.met(limit);
}

fn busy(limit: usize, of_what: &str) -> HttpError {
    let message = format!("more than {limit} {of_what} at once; try again");
    HttpError::new(StatusCode::SERVICE_UNAVAILABLE, "SERVICE_UNAVAILABLE", message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_beyond_the_limit_is_told_to_come_back() {
        let in_flight = Arc::default();

        let first = Permit::enter(&in_flight, 1);
        let refused = Permit::enter(&in_flight, 1).is_none();
        drop(first);
        let second = Permit::enter(&in_flight, 1);

        assert!(refused && second.is_some());
        assert_eq!(busy(1, "requests").into_response().headers()["retry-after"], "1");
    }
}
