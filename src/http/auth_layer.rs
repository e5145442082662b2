//! Authentication of every request: identity in, secret out.

use std::{ops::ControlFlow, pin::pin, sync::Arc, time::Duration};

use axum::{body::Body, extract::Request, response::Response};
use bytes::Bytes;
use futures_util::future::{Either, ready};
use http::{
    HeaderValue, StatusCode,
    header::{AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE},
};
use http_body::Body as _;
use http_body_util::BodyExt as _;
use jiff::SignedDuration;
use tokio::time::{Instant, sleep_until};

use super::{
    body::Revocable,
    connection::{Phase, Reading},
    context::{Outline, context, info},
    error::closing,
    gate::Answer,
};
use crate::{
    app::{
        App,
        audit::RequestId,
        tokens::{Denied, Issued},
    },
    auth::{Principal, Refusal},
};

/// Most bytes of a refused request's body that are read before the answer.
const MAX_DRAIN: usize = 64 * 1024;
/// How long a refused client may pause while it sends them, and how long it may take in all: long
/// enough for a body that is on its way, too short to keep anyone busy.
const DRAIN_SILENCE: Duration = Duration::from_millis(50);
const DRAIN_TIMEOUT: Duration = Duration::from_millis(500);

/// A request that may pass, and how long it may: until its token is revoked or expires; if it has
/// none, until authentication is turned on.
pub(super) struct Admitted {
    app: Arc<App>,
    by: Result<Arc<Issued>, Box<Denied>>,
    outline: Outline,
}

impl Admitted {
    /// Lets a request with a valid token pass as its principal and refuses all others with 401;
    /// while authentication is off, lets them pass as well, and notes who would have been refused.
    pub(super) fn of(app: &Arc<App>, mut request: Request) -> ControlFlow<Answer, (Self, Request)> {
        let client = context(&request).client;
        let headers = request.headers().get_all(AUTHORIZATION).iter().map(HeaderValue::as_bytes);
        let by = match app.tokens.authenticate(headers, client) {
            Err(denied) if app.enforces_auth() => {
                let denied = app.refusals.throttle(denied, client.ip());
                let info = info(&request);
                app.refusals.unauthorized(&denied, &info);
                let answer = refusal(&denied, info.request_id);
                return ControlFlow::Break(after_the_body(request, answer));
            }
            Err(denied) => {
                app.refusals.passed(&denied, &info(&request));
                Err(Box::new(denied))
            }
            Ok(issued) => Ok(issued),
        };
        request.headers_mut().remove(AUTHORIZATION);
        request.extensions_mut().insert(match &by {
            Ok(issued) => issued.token().principal(),
            Err(_) => Principal::Anonymous,
        });
        let outline = Outline::of(&request);
        ControlFlow::Continue((Self { app: Arc::clone(app), by, outline }, request))
    }

    /// What this answers, which is dropped, and a 401 given, when the request may no longer pass; a
    /// stream ends then.
    pub(super) async fn answer(self, work: impl Future<Output = Response>) -> Response {
        let Self { app, by, outline } = self;
        let issued = by.as_deref().ok();
        let response = tokio::select! {
            biased;
            () = app.until_over(issued) => None,
            response = work => Some(response),
        };
        // An answer that was ready at the moment of the revocation is not given either.
        match response.filter(|_| !app.is_over(issued)) {
            Some(response) if response.body().size_hint().exact().is_some() => response,
            Some(response) => response.map(|body| {
                let issued = by.ok();
                let over = async move { app.until_over(issued.as_deref()).await };
                Body::new(Revocable::new(body, over))
            }),
            None => {
                let denied = match by {
                    Ok(issued) => app.tokens.ended_meanwhile(&issued),
                    Err(denied) => *denied,
                };
                let info = outline.info();
                app.refusals.unauthorized(&denied, &info);
                closing(refusal(&denied, info.request_id))
            }
        }
    }
}

fn refusal(denied: &Denied, request_id: RequestId) -> Response {
    let mut response = match denied.refusal {
        Refusal::Throttled => throttled(denied.retry_after),
        refusal => unauthorized(refusal),
    };
    if let Ok(request_id) = HeaderValue::try_from(request_id.to_string()) {
        response.headers_mut().insert("x-request-id", request_id);
    }
    response
}

/// The answer to a request that is not worked on, once a bounded part of its body has been read, so
/// that the connection can be kept: a client that sends its whole request before it looks at the
/// answer finds it.
fn after_the_body(request: Request, answer: Response) -> Answer {
    let (parts, body) = request.into_parts();
    if body.is_end_stream() {
        return Either::Left(ready(answer));
    }
    if body.size_hint().lower() > MAX_DRAIN as u64 {
        return Either::Left(ready(closing(answer)));
    }
    // The place of a client that keeps us waiting here may go to somebody else.
    let reading = Reading::begin(&parts.extensions, Phase::Refused);
    Either::Right(Box::pin(async move {
        let drained = drain(body).await;
        drop(reading);
        if drained { answer } else { closing(answer) }
    }))
}

/// Whether all of it was read.
async fn drain(mut body: Body) -> bool {
    let begin = Instant::now();
    let mut patience = pin!(sleep_until(begin + DRAIN_SILENCE));
    let mut length = 0;
    loop {
        let frame = tokio::select! {
            biased;
            frame = body.frame() => frame,
            () = patience.as_mut() => return false,
        };
        match frame {
            None => return true,
            Some(Ok(frame)) => length += frame.data_ref().map_or(0, Bytes::len),
            Some(Err(_)) => return false,
        }
        if body.is_end_stream() || length > MAX_DRAIN {
            return length <= MAX_DRAIN;
        }
        patience.as_mut().reset((Instant::now() + DRAIN_SILENCE).min(begin + DRAIN_TIMEOUT));
    }
}

/// The specification's body and RFC 6750's challenge.
fn unauthorized(refusal: Refusal) -> Response {
    let (challenge, body) = match refusal {
        Refusal::MissingToken => (
            r#"Bearer realm="fleet-mcp""#,
            r#"{"error":"missing_token","error_description":"The access token is invalid or missing"}"#,
        ),
        Refusal::MalformedHeader => (
            r#"Bearer realm="fleet-mcp", error="invalid_request", error_description="The header must be exactly: Authorization: Bearer <token>""#,
            r#"{"error":"malformed_header","error_description":"The access token is invalid or missing"}"#,
        ),
        // A client does not learn that its token was once good, or is good elsewhere.
        _ => (
            r#"Bearer realm="fleet-mcp", error="invalid_token", error_description="The access token is invalid or missing""#,
            r#"{"error":"invalid_token","error_description":"The access token is invalid or missing"}"#,
        ),
    };
    let mut response = json(StatusCode::UNAUTHORIZED, body);
    response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
    response
}

fn throttled(retry_after: Option<SignedDuration>) -> Response {
    let body = r#"{"error":"throttled","error_description":"Too many wrong access tokens from this address; a valid one passes"}"#;
    let mut response = json(StatusCode::TOO_MANY_REQUESTS, body);
    // Rounded up: whoever comes back then is not too early.
    let seconds = retry_after.map_or(1, |wait| wait.as_secs().unsigned_abs() + 1);
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
    response
}

fn json(status: StatusCode, body: &'static str) -> Response {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
