//! What every request passes that is not open to everyone: Host and Origin, authentication, limits.
//!
//! One service and no layers of axum: each of these is copied for each request, with all that is
//! behind it, and a request that is refused needs none of that. What is refused at once waits for
//! nothing, so that its answer needs no large future either.

use std::{convert::Infallible, ops::ControlFlow, sync::Arc};

use axum::{Router, extract::Request, response::Response};
use futures_util::future::{BoxFuture, Either, Ready, ready};
use tower::{Service, service_fn};

use super::{
    auth_layer::Admitted,
    guard,
    limits::{self, Bounds},
};
use crate::app::App;

/// An answer that is there, or one that is worked on.
pub(super) type Answer = Either<Ready<Response>, BoxFuture<'static, Response>>;

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
    let bounds = Bounds::new(&app);
    service_fn(move |request| {
        let answer = answer(&app, &bounds, &inside, request);
        async { Ok(answer.await) }
    })
}

fn answer(app: &Arc<App>, bounds: &Bounds, inside: &Router, request: Request) -> Answer {
    if let Some(refused) = guard::refused(app, &request) {
        return Either::Left(ready(refused));
    }
    match Admitted::of(app, request) {
        ControlFlow::Break(refused) => refused,
        ControlFlow::Continue((admitted, request)) => {
            let work = limits::limit(bounds.clone(), request, inside.clone());
            Either::Right(Box::pin(admitted.answer(work)))
        }
    }
}
