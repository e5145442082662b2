//! Errors as the plain-HTTP form and the layers around every route tell them.

use axum::{
    Json,
    response::{IntoResponse, Response},
};
use http::{HeaderValue, StatusCode, header};
use serde_json::json;

use crate::{
    app::error::{Code, FleetError},
    auth::Scope,
};

/// `{"error":{"code":…,"message":…}}` with a status.
#[derive(Debug)]
pub(crate) struct HttpError {
    status: StatusCode,
    code: &'static str,
    message: String,
    /// What the token would have to allow.
    lacks: Option<Scope>,
}

impl HttpError {
    pub(crate) fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into(), lacks: None }
    }

    pub(crate) fn status(&self) -> StatusCode {
        self.status
    }

    pub(crate) fn not_found(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "NOT_FOUND", message)
    }
}

impl From<FleetError> for HttpError {
    fn from(error: FleetError) -> Self {
        let status = StatusCode::from_u16(error.code.http_status())
            .unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let lacks = match error.code {
            Code::InsufficientScope(scope) => Some(scope),
            _ => None,
        };
        Self { lacks, ..Self::new(status, error.code.as_str(), error.message) }
    }
}

impl IntoResponse for HttpError {
    fn into_response(self) -> Response {
        let body = Json(json!({"error": {"code": self.code, "message": self.message}}));
        let mut response =
            (self.status, [(header::CACHE_CONTROL, "no-store")], body).into_response();
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        if let Some(scope) = self.lacks
            && let Ok(challenge) = HeaderValue::try_from(insufficient(scope))
        {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
        }
        response
    }
}

/// RFC 6750's challenge for a token that is good, but not for this.
fn insufficient(scope: Scope) -> String {
    format!(r#"Bearer realm="fleet-mcp", error="insufficient_scope", scope="{scope}""#)
}

/// Tells the client, and hyper, that this connection ends after the answer.
pub(crate) fn closing(mut response: Response) -> Response {
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
}
