//! `GET /metrics`: what is counted, for Prometheus and everything that reads its formats.

use std::sync::Arc;

use axum::{
    Extension,
    extract::State,
    response::{IntoResponse, Response},
};
use http::{
    HeaderMap,
    header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE},
};

use super::error::HttpError;
use crate::{
    app::{
        App,
        error::{Code, FleetError},
        metrics::Format,
    },
    auth::{Principal, Scope},
};

pub(super) async fn metrics(
    State(app): State<Arc<App>>,
    Extension(principal): Extension<Principal>,
    headers: HeaderMap,
) -> Result<Response, HttpError> {
    if !principal.allows(Scope::Metrics) {
        let name = principal.name();
        let message = format!("token `{name}` lacks the scope `{}`", Scope::Metrics);
        return Err(FleetError { code: Code::InsufficientScope(Scope::Metrics), message }.into());
    }
    let format = Format::accepted(headers.get(ACCEPT).and_then(|accept| accept.to_str().ok()));
    let headers = [(CONTENT_TYPE, format.content_type()), (CACHE_CONTROL, "no-store")];
    Ok((headers, app.metrics_text(format)).into_response())
}
