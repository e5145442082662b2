//! What every request passes that is not open to everyone: Host and Origin, then authentication.
//!
//! One service and no layers of axum: each of these is copied for each request, with all that is
//! behind it, and a request that is refused needs none of that.

use std::{convert::Infallible, future::Future, sync::Arc};

use axum::{Router, extract::Request, response::Response};
use tower::{Service, service_fn};

use super::{auth_layer, guard};
use crate::app::App;

/// The gate with what is behind it.
pub(super) fn service(
    app: Arc<App>,
    inside: Router,
) -> impl Service<
    Request,
    Response = Response,
    Error = Infallible,
    Future = impl Future<Output = Result<Response, Infallible>> + Send + 'static,
> + Clone
+ Send
+ Sync
+ 'static {
    service_fn(move |request| {
        let (app, mut inside) = (Arc::clone(&app), inside.clone());
        async move {
            if let Some(refused) = guard::refused(&app, &request) {
                return Ok(refused);
            }
            auth_layer::authenticate(&app, request, |request| inside.call(request)).await
        }
    })
}
