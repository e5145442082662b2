//! The stream of a connection, as it looks from below HTTP and TLS.

use std::{
    future::Future as _,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    time::{Sleep, sleep},
};

use super::connection::{Connection, Sent};

/// How long a request goes on after its client has ended its side. Whether the client still listens
/// can't be known, and a client that went away cancels what it asked for.
const HANG_UP_GRACE: Duration = Duration::from_secs(1);

/// A stream that tells its connection which bytes come in and go out, and that keeps the client's end
/// to itself for a while when a request is being answered: hyper drops the request at once, but the
/// client may only have said all it had to say and be listening still.
pub(super) struct Watched {
    stream: TcpStream,
    connection: Arc<Connection>,
    /// Once the client has ended its side in the middle of a request.
    hung_up: Option<Pin<Box<Sleep>>>,
}

impl Watched {
    pub(super) fn new(stream: TcpStream, connection: Arc<Connection>) -> Self {
        Self { stream, connection, hung_up: None }
    }

    fn note_sent(&self, polled: &Poll<io::Result<usize>>, wanted: usize) {
        match polled {
            Poll::Ready(Ok(sent)) if *sent < wanted => self.connection.sent(Sent::Some),
            Poll::Ready(Ok(_)) => self.connection.sent(Sent::All),
            Poll::Ready(Err(_)) => {}
            Poll::Pending => self.connection.sent(Sent::Nothing),
        }
    }
}

impl AsyncRead for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(cx, buffer);
        if buffer.filled().len() > before {
            self.connection.received();
        } else if matches!(polled, Poll::Ready(Ok(()))) && self.connection.is_busy() {
            let grace = || Box::pin(sleep(HANG_UP_GRACE));
            ready!(self.hung_up.get_or_insert_with(grace).as_mut().poll(cx));
        }
        polled
    }
}

impl AsyncWrite for Watched {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.note_sent(&polled, bytes.len());
        polled
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.note_sent(&polled, slices.iter().map(|slice| slice.len()).sum());
        polled
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
