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
use crate::app::App;

/// The requests that are being answered now.
#[derive(Debug, Clone, Default)]
struct InFlight(Arc<AtomicUsize>);

/// One of them; counts until it is dropped.
struct Permit(Arc<AtomicUsize>);

impl InFlight {
    fn enter(&self, limit: usize) -> Option<Permit> {
        let grow = |count| (count < limit).then_some(count + 1);
        self.0.fetch_update(Relaxed, Relaxed, grow).ok()?;
        Some(Permit(Arc::clone(&self.0)))
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

/// What all requests share.
#[derive(Debug, Clone, Default)]
pub(super) struct Limits {
    in_flight: InFlight,
    memory: Memory,
}

/// Reads the whole body of a request within its bounds before anyone works on it, and refuses the
/// request if too many are being worked on then: one that is still on its way keeps nobody out.
pub(super) async fn limit(
    State((app, limits)): State<(Arc<App>, Limits)>,
    request: Request,
    next: Next,
) -> Response {
    let settings = app.settings();
    let http = &settings.http;
    let (parts, body) = request.into_parts();
    let read =
        limits.memory.read(body, &parts.extensions, http.max_body_bytes, http.body_timeout).await;
    let body = match read {
        Ok(bytes) => Body::from(bytes),
        Err(error) => return closing(error.into_response()),
    };
    let Some(permit) = limits.in_flight.enter(http.max_requests) else {
        return busy(http.max_requests).into_response();
    };
    let response = next.run(Request::from_parts(parts, body)).await;
    if response.body().size_hint().exact().is_some() {
        return response;
    }
    // A stream is in flight until its last byte.
    response.map(|body| Body::new(Guarded::new(body, permit)))
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
        let in_flight = InFlight::default();

        let first = in_flight.enter(1);
        let refused = in_flight.enter(1).is_none();
        drop(first);
        let second = in_flight.enter(1);

        assert!(refused && second.is_some());
        assert_eq!(busy(1).into_response().headers()["retry-after"], "1");
    }
}
