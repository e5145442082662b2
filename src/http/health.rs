//! `GET /health`: whether the daemon serves. Open to everyone, so it tells nothing else.

use std::sync::Arc;

use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use http::{StatusCode, header};
use serde::Serialize;

use crate::app::{App, Phase};

#[derive(Serialize)]
struct Health {
    status: &'static str,
    service: &'static str,
    version: &'static str,
}

pub(super) async fn health(State(app): State<Arc<App>>) -> Response {
    let (code, status) = match app.phase() {
        Phase::Starting => (StatusCode::SERVICE_UNAVAILABLE, "starting"),
        Phase::Ready => (StatusCode::OK, "healthy"),
        Phase::Stopping => (StatusCode::SERVICE_UNAVAILABLE, "stopping"),
    };
    let health = Health { status, service: "fleet-mcp", version: env!("CARGO_PKG_VERSION") };
    (code, [(header::CACHE_CONTROL, "no-store")], Json(health)).into_response()
}
