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
use http_body_util::LengthLimitError;

use super::{
    body::Guarded,
    connection::{Phase, Reading},
    error::{HttpError, closing},
};
use crate::app::App;

/// The requests that are being answered now.
#[derive(Debug, Clone, Default)]
pub(super) struct InFlight(Arc<AtomicUsize>);

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

/// Refuses a request beyond the limit, and reads the whole body of all others within its bounds of
/// size and time before anyone works on it.
pub(super) async fn limit(
    State((app, in_flight)): State<(Arc<App>, InFlight)>,
    request: Request,
    next: Next,
) -> Response {
    let settings = app.settings();
    let Some(permit) = in_flight.enter(settings.http.max_requests) else {
        return closing(busy(settings.http.max_requests).into_response());
    };
    let (parts, body) = request.into_parts();
    if body.size_hint().lower() > settings.http.max_body_bytes as u64 {
        return closing(too_large(settings.http.max_body_bytes).into_response());
    }
    let body = if body.is_end_stream() {
        Body::empty()
    } else {
        let _reading = Reading::begin(&parts.extensions, Phase::Body);
        let read = axum::body::to_bytes(body, settings.http.max_body_bytes);
        match tokio::time::timeout(settings.http.body_timeout, read).await {
            Ok(Ok(bytes)) => Body::from(bytes),
            Ok(Err(error)) => {
                return closing(unreadable(&error, settings.http.max_body_bytes).into_response());
            }
            Err(_elapsed) => return closing(too_slow().into_response()),
        }
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

fn too_large(limit: usize) -> HttpError {
    let message = format!("the request body is larger than {limit} bytes");
    HttpError::new(StatusCode::PAYLOAD_TOO_LARGE, "INVALID_INPUT", message)
}

fn too_slow() -> HttpError {
    HttpError::new(StatusCode::REQUEST_TIMEOUT, "INVALID_INPUT", "the request body took too long")
}

fn unreadable(error: &axum::Error, limit: usize) -> HttpError {
    let mut cause: Option<&dyn std::error::Error> = Some(error);
    while let Some(error) = cause {
        if error.is::<LengthLimitError>() {
            return too_large(limit);
        }
        cause = error.source();
    }
    HttpError::new(StatusCode::BAD_REQUEST, "INVALID_INPUT", "the request body broke off")
}
