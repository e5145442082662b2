//! Every route of the control plane on one screen.

use std::sync::Arc;

use axum::{
    Json, Router,
    extract::DefaultBodyLimit,
    middleware::from_fn_with_state,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use http::{StatusCode, header};
use tokio::net::UnixListener;
use tokio_util::sync::CancellationToken;

use super::{api, handlers, peer, tokens};
use crate::app::{
    App,
    ports::{Examine, Reload},
};

/// Largest request body, in bytes: no request has much to say.
const MAX_BODY: usize = 64 * 1024;

/// What the handlers work with.
pub struct Control {
    /// The use cases.
    pub app: Arc<App>,
    /// How to reload.
    pub reload: Arc<dyn Reload>,
    /// How to look whether everything is as it should be.
    pub doctor: Arc<dyn Examine>,
    /// The daemon's own uid.
    pub own_uid: u32,
}

fn router(control: &Arc<Control>) -> Router {
    Router::new()
        .route(api::STATUS, get(handlers::status))
        .route(api::RELOAD, post(handlers::reload))
        .route(api::DOCTOR, get(handlers::examine))
        .route(api::METRICS, get(handlers::metrics))
        .route(api::EVENTS, get(handlers::events))
        .route(&api::tool("{name}"), post(handlers::tool))
        .route(&api::log_tail("{name}"), get(handlers::log_tail))
        .route(api::TOKENS, get(tokens::list).post(tokens::create))
        .route(&api::rotate("{name}"), post(tokens::rotate))
        .route(&api::revoke("{name}"), post(tokens::revoke))
        .route(&api::secret("{name}"), get(tokens::secret))
        .fallback(async || {
            let message = "this daemon does not know the request; is fleetctl of another version?";
            Failure::new(StatusCode::NOT_FOUND, "NOT_FOUND", message)
        })
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .layer(from_fn_with_state(Arc::clone(control), peer::authorize))
        .with_state(Arc::clone(control))
}

/// Serves the control socket until `shutdown`; requests in flight finish.
///
/// # Errors
/// When the listener fails for good.
pub async fn serve(
    control: Arc<Control>,
    listener: UnixListener,
    shutdown: CancellationToken,
) -> std::io::Result<()> {
    let router = router(&control).into_make_service_with_connect_info::<peer::PeerUid>();
    axum::serve(listener, router).with_graceful_shutdown(shutdown.cancelled_owned()).await
}

/// An answer that is no success.
#[derive(Debug)]
pub(super) struct Failure {
    status: StatusCode,
    body: api::ErrorBody,
}

impl Failure {
    pub(super) fn new(status: StatusCode, code: &str, message: impl Into<String>) -> Self {
        let error = api::Error {
            code: code.to_owned(),
            message: message.into(),
            causes: Vec::new(),
            help: None,
        };
        Self { status, body: api::ErrorBody { error } }
    }

    pub(super) fn because(mut self, causes: Vec<String>) -> Self {
        self.body.error.causes = causes;
        self
    }

    pub(super) fn help(mut self, help: impl Into<String>) -> Self {
        self.body.error.help = Some(help.into());
        self
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        (self.status, [(header::CACHE_CONTROL, "no-store")], Json(self.body)).into_response()
    }
}
