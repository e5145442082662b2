//! How much one request, and all of them together, may take.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::Relaxed},
};

use axum::{
    body::Body,
    extract::{Request, State},
    middleware::Next,
    response::{IntoResponse, Response},
};
use http::StatusCode;
use http_body::Body as _;

use super::{
    body::Guarded,
    error::{HttpError, closing},
    request_body::Memory,
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

/// Reads the whole body of a request within its bounds before anyone works on it, and refuses the
/// request if too many are being worked on then: one that is still on its way keeps nobody out.
pub(super) async fn limit(
    State((app, memory)): State<(Arc<App>, Memory)>,
    request: Request,
    next: Next,
) -> Response {
    let settings = app.settings();
    let http = &settings.http;
    let (parts, body) = request.into_parts();
    let read = memory.read(body, &parts.extensions, http.max_body_bytes, http.body_timeout).await;
    let body = match read {
        Ok(bytes) => Body::from(bytes),
        Err(error) => {
            met(&app, error.status());
            return closing(error.into_response());
        }
    };
    let Some(permit) = Permit::enter(&app.metrics.http.in_flight, http.max_requests) else {
        app.metrics.http.met(Limit::Requests);
        return busy(http.max_requests).into_response();
    };
    let response = next.run(Request::from_parts(parts, body)).await;
    if response.body().size_hint().exact().is_some() {
        return response;
    }
    // A stream is in flight until its last byte.
    response.map(|body| Body::new(Guarded::new(body, permit)))
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

fn busy(limit: usize) -> HttpError {
    let message = format!("more than {limit} requests at once; try again");
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
        assert_eq!(busy(1).into_response().headers()["retry-after"], "1");
    }
}
