//! The accept loop and what happens on each connection.

use std::{
    convert::Infallible,
    future::poll_fn,
    io,
    net::SocketAddr,
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use axum::{Router, body::Body};
use http::{HeaderValue, Request, Response, header::CONNECTION};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::watch,
    time::{Instant, sleep, timeout},
};
use tokio_rustls::{TlsAcceptor, rustls::ServerConfig};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    Endpoint,
    body::Guarded,
    connection::{Connection, Phase},
    connections::{Connections, Registered},
    watched::Watched,
};
use crate::{app::App, auth::Source};

/// Most bytes of one request's header; hyper answers 431 beyond.
const MAX_HEADER_BYTES: usize = 16 * 1024;
/// How often slow and idle connections are looked for.
const SWEEP_INTERVAL: Duration = Duration::from_millis(500);
/// How long kept connections may still bring a request once the daemon was told to stop.
const LINGER: Duration = Duration::from_secs(1);
/// The same where new clients are served meanwhile, since the client's last answer.
const SEE_OFF: Duration = Duration::from_secs(5);
/// How often it is looked whether all were seen off.
const SEE_OFF_PAUSE: Duration = Duration::from_millis(50);
/// How often an accept loop that waits shows that it is alive.
const BEAT: Duration = Duration::from_secs(1);
/// How long there may be no such sign of a loop that is.
const BEAT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a closing connection is read on, so that its client gets the whole answer.
const LINGERING_CLOSE: Duration = Duration::from_secs(2);
/// How long to wait when the kernel has no descriptor or memory for another connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// How often that is told at most.
const COMPLAINT_INTERVAL: Duration = Duration::from_secs(10);

/// The certificate in force; `None` for plain HTTP.
pub type Tls = watch::Receiver<Option<Arc<ServerConfig>>>;

/// The data plane, listening.
pub struct Server {
    app: Arc<App>,
    router: Router,
    tls: Tls,
    connections: Arc<Connections>,
    tasks: TaskTracker,
    /// Clients that come while this server is stopped wait for the next one.
    outlives: bool,
    /// When each accept loop was last seen alive.
    beats: Vec<Beat>,
    /// Each answer is the last on its connection.
    closing: CancellationToken,
    /// No new connections.
    stopping: CancellationToken,
    /// Whatever is still open ends now.
    ending: CancellationToken,
}

impl Server {
    /// Accepts on these listeners until [`Server::stop`]. `outlive` says that they stay open then: for
    /// the next server.
    pub fn start(
        app: Arc<App>,
        mcp: Endpoint,
        listeners: Vec<TcpListener>,
        outlive: bool,
        tls: Tls,
    ) -> Arc<Self> {
        let ending = CancellationToken::new();
        let server = Arc::new(Self {
            router: super::router(&app, mcp(&app, ending.clone())),
            connections: Arc::new(Connections::new(Arc::clone(&app.metrics))),
            app,
            tls,
            tasks: TaskTracker::new(),
            outlives: outlive,
            beats: listeners.iter().map(|_| Beat::default()).collect(),
            closing: CancellationToken::new(),
            stopping: CancellationToken::new(),
            ending,
        });
        for (listener, beat) in listeners.into_iter().zip(server.beats.clone()) {
            server.tasks.spawn(Arc::clone(&server).accept(listener, beat));
        }
        tokio::spawn(Arc::clone(&server).sweep());
        server
    }

    /// Makes each answer the last on its connection, at once, and stops accepting: at once, too,
    /// unless the listeners outlive this server. The future lets requests in flight finish within the
    /// limit, then ends the rest.
    pub fn stop(&self, limit: Duration) -> impl Future<Output = ()> {
        self.closing.cancel();
        if !self.outlives {
            self.stopping.cancel();
        }
        self.drain(limit)
    }

    /// Whether connections are being accepted, or were until it was told to stop.
    pub fn is_alive(&self) -> bool {
        self.closing.is_cancelled() || self.beats.iter().all(Beat::is_recent)
    }

    async fn drain(&self, limit: Duration) {
        let drain = async {
            if self.outlives {
                self.see_off().await;
                self.stopping.cancel();
            }
            self.tasks.close();
            let mut pause = LINGER;
            while timeout(pause, self.tasks.wait()).await.is_err() {
                self.connections.end_waiting();
                pause = SWEEP_INTERVAL;
            }
        };
        let drained = timeout(limit, drain).await;
        self.stopping.cancel();
        self.tasks.close();
        self.ending.cancel();
        if drained.is_err() {
            tracing::warn!(open = self.tasks.len(), "ended requests that were still in flight");
            self.tasks.wait().await;
        }
    }

    /// Waits until those who were there when the stop began have had their last answer. Who is about
    /// to send a request on a kept connection must not be cut off: many clients never try again.
    /// New ones are served meanwhile, so that nobody waits for them.
    async fn see_off(&self) {
        let newest = self.connections.newest();
        let begin = Instant::now();
        let at_least = begin + LINGER;
        while self.connections.waiting(newest) && begin.elapsed() < SEE_OFF {
            sleep(SEE_OFF_PAUSE).await;
            if at_least <= Instant::now() {
                self.connections.end_resting(newest, SEE_OFF);
            }
        }
        self.connections.end_resting(newest, Duration::ZERO);
    }

    async fn accept(self: Arc<Self>, listener: TcpListener, beat: Beat) {
        let mut complained = None;
        while let Some((stream, peer)) = self
            .stopping
            .run_until_cancelled(beat.during(self.next_client(&listener, &mut complained)))
            .await
        {
            // Only now: nobody is sent away for a client that has not come. And whoever has come is
            // served, whatever happens meanwhile.
            let limit = || self.app.settings().http.max_connections;
            let source = Source::of(peer.ip());
            let registered = beat.during(self.connections.admit(source, limit)).await;
            let server = Arc::clone(&self);
            self.tasks.spawn(async move { server.serve(stream, peer, registered).await });
        }
    }

    /// Cancel safe.
    async fn next_client(
        &self,
        listener: &TcpListener,
        complained: &mut Option<Instant>,
    ) -> (TcpStream, SocketAddr) {
        loop {
            match listener.accept().await {
                Ok(client) => return client,
                // The client went away before we came to it.
                Err(error) if is_of_the_client(&error) => {}
                Err(error) => {
                    if complained.is_none_or(|at| at.elapsed() >= COMPLAINT_INTERVAL) {
                        tracing::warn!(%error, "can't accept connections");
                        *complained = Some(Instant::now());
                    }
                    self.connections.make_room(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    async fn sweep(self: Arc<Self>) {
        let mut ticks = tokio::time::interval(SWEEP_INTERVAL);
        while self.ending.run_until_cancelled(ticks.tick()).await.is_some() {
            let settings = self.app.settings();
            self.connections.sweep(settings.http.header_timeout, settings.http.idle_timeout);
        }
    }

    async fn serve(&self, stream: TcpStream, peer: SocketAddr, registered: Registered) {
        // Without it each event of a stream waits for the acknowledgement of the one before.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "can't set TCP_NODELAY");
        }
        let connection = &registered.connection;
        let stream = Watched::new(stream, Arc::clone(connection));
        let tls = self.tls.borrow().clone();
        match tls {
            None => self.serve_http(stream, peer, connection).await,
            Some(config) => {
                let handshake = TlsAcceptor::from(config).accept(stream);
                let accepted = tokio::select! {
                    accepted = handshake => accepted.ok(),
                    () = connection.end.cancelled() => None,
                    () = self.ending.cancelled() => None,
                };
                if let Some(stream) = accepted {
                    self.serve_http(stream, peer, connection).await;
                }
            }
        }
    }

    async fn serve_http<S>(&self, stream: S, peer: SocketAddr, connection: &Arc<Connection>)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        // Boxed, because only a connection that can move gives its stream back.
        let service = service_fn(|request| {
            // Before the answer is first polled: hyper looks for the client's end before that.
            connection.enter(Phase::Busy);
            Box::pin(self.answer(request, peer, Busy(Arc::clone(connection))))
        });
        let mut http = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(None)
            .max_buf_size(MAX_HEADER_BYTES)
            .serve_connection(TokioIo::new(stream), service);
        let served = tokio::select! {
            served = poll_fn(|cx| http.poll_without_shutdown(cx)) => served,
            () = connection.end.cancelled() => return,
            () = self.ending.cancelled() => return,
        };
        if let Err(error) = served {
            tracing::debug!(%peer, %error, "connection ended");
        }
        connection.enter(Phase::Closing);
        let close = lingering_close(http.into_parts().io.into_inner());
        tokio::select! {
            () = close => {}
            () = connection.end.cancelled() => {}
            () = self.ending.cancelled() => {}
        }
    }

    async fn answer(
        &self,
        mut request: Request<Incoming>,
        peer: SocketAddr,
        busy: Busy,
    ) -> Result<Response<Guarded<Busy>>, Infallible> {
        request.extensions_mut().insert(Arc::clone(&busy.0));
        let request = request.map(Body::new);
        let mut response = super::answer(&self.app, &self.router, peer, request).await?;
        if self.closing.is_cancelled() {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        Ok(response.map(|body| Guarded::new(body, busy)))
    }
}

/// When something was last seen alive.
#[derive(Clone)]
struct Beat(Arc<Mutex<Instant>>);

impl Default for Beat {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(Instant::now())))
    }
}

impl Beat {
    /// Beats as long as this waits.
    async fn during<T>(&self, wait: impl Future<Output = T>) -> T {
        let mut wait = pin!(wait);
        loop {
            *self.last() = Instant::now();
            if let Ok(done) = timeout(BEAT, wait.as_mut()).await {
                return done;
            }
        }
    }

    fn is_recent(&self) -> bool {
        self.last().elapsed() < BEAT_TIMEOUT
    }

    fn last(&self) -> MutexGuard<'_, Instant> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Closes our side and reads on for a while: a socket that is closed with unread bytes is reset, and
/// the reset can overtake the answer.
async fn lingering_close<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S) {
    let mut discarded = [0; 8 * 1024];
    let close = async {
        stream.shutdown().await?;
        while stream.read(&mut discarded).await? > 0 {}
        Ok::<_, io::Error>(())
    };
    // Nobody is left to tell of an error.
    let _ = timeout(LINGERING_CLOSE, close).await;
}

fn is_of_the_client(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

/// A request in progress; its connection is idle again when this is dropped.
struct Busy(Arc<Connection>);

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.enter(Phase::Idle);
    }
}
