//! Response bodies that end with the token they were asked for with, and that keep something alive
//! until their last byte.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use axum::body::Body;
use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};

/// A body that holds a guard until it was sent or dropped.
pub(super) struct Guarded<G> {
    inner: Body,
    _guard: G,
}

impl<G: Unpin> Guarded<G> {
    pub(super) fn new(inner: Body, guard: G) -> Self {
        Self { inner, _guard: guard }
    }
}

impl<G: Unpin> HttpBody for Guarded<G> {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.inner).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// A stream that ends, without another byte, when its token does.
pub(super) struct Revocable {
    inner: Body,
    over: Pin<Box<dyn Future<Output = ()> + Send>>,
}

impl Revocable {
    pub(super) fn new(inner: Body, over: impl Future<Output = ()> + Send + 'static) -> Self {
        Self { inner, over: Box::pin(over) }
    }
}

impl HttpBody for Revocable {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        // Asked first, so that nothing that is ready slips out after the revocation.
        if self.over.as_mut().poll(cx).is_ready() {
            return Poll::Ready(None);
        }
        Pin::new(&mut self.inner).poll_frame(cx)
    }
}
