//! Which connections are open and what each is doing, so that slow and idle ones can be ended.
//!
//! hyper's own header timeout can't tell a client that dawdles over a header from one that rests
//! between two requests; a kept connection must not be closed under a client that is about to use
//! it. So every connection notes its phase here, and a janitor ends those that overstay.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::{
    sync::Notify,
    time::{Instant, timeout},
};
use tokio_util::sync::CancellationToken;

/// How long a new client waits before another look for a connection that has come to rest.
const CROWDED_PAUSE: Duration = Duration::from_millis(20);

/// What a connection is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u64)]
pub(super) enum Phase {
    /// The client has to send something: the TLS handshake or a request's header.
    Header = 0,
    /// A request is being answered.
    Busy = 1,
    /// Between two requests.
    Idle = 2,
}

impl Phase {
    const BITS: u64 = 2;

    fn of(state: u64) -> Self {
        match state & 0b11 {
            0 => Self::Header,
            1 => Self::Busy,
            _ => Self::Idle,
        }
    }
}

/// One open connection, as its task and the janitor share it.
#[derive(Debug)]
pub(super) struct Connection {
    start: Instant,
    /// Milliseconds since `start`, then two bits of [`Phase`].
    state: AtomicU64,
    /// Fires when it has to end.
    pub(super) end: CancellationToken,
}

impl Connection {
    fn new() -> Self {
        let state = AtomicU64::new(Phase::Header as u64);
        Self { start: Instant::now(), state, end: CancellationToken::new() }
    }

    pub(super) fn enter(&self, phase: Phase) {
        let millis = self.start.elapsed().as_millis() as u64;
        self.state.store(millis << Phase::BITS | phase as u64, Relaxed);
    }

    /// Bytes came in: between two requests, they begin a header.
    pub(super) fn received(&self) {
        if Phase::of(self.state.load(Relaxed)) == Phase::Idle {
            self.enter(Phase::Header);
        }
    }

    /// Whether a request is being answered.
    pub(super) fn is_busy(&self) -> bool {
        Phase::of(self.state.load(Relaxed)) == Phase::Busy
    }

    fn phase(&self) -> (Phase, Duration) {
        let state = self.state.load(Relaxed);
        let since = Duration::from_millis(state >> Phase::BITS);
        (Phase::of(state), self.start.elapsed().saturating_sub(since))
    }
}

/// All open connections.
#[derive(Debug, Default)]
pub(super) struct Connections {
    open: Mutex<HashMap<u64, Arc<Connection>>>,
    next: AtomicU64,
    closed: Notify,
}

/// Takes the connection off the list when dropped.
pub(super) struct Registered {
    connections: Arc<Connections>,
    number: u64,
    pub(super) connection: Arc<Connection>,
}

impl Connections {
    /// Notes a new connection.
    pub(super) fn register(self: &Arc<Self>) -> Registered {
        let number = self.next.fetch_add(1, Relaxed);
        let connection = Arc::new(Connection::new());
        self.lock().insert(number, Arc::clone(&connection));
        Registered { connections: Arc::clone(self), number, connection }
    }

    /// Waits until another connection fits. Makes room by ending the one that has waited longest
    /// for its client; while all are busy, new ones wait, all but the first in the kernel's queue.
    ///
    /// Cancel safe.
    pub(super) async fn room(&self, limit: usize) {
        loop {
            let closed = self.closed.notified();
            {
                let open = self.lock();
                if open.len() < limit {
                    return;
                }
                end_longest_waiting(&open);
            }
            // A busy one may come to rest meanwhile.
            let _ = timeout(CROWDED_PAUSE, closed).await;
        }
    }

    /// Ends connections that overstay their phase.
    pub(super) fn sweep(&self, header_timeout: Duration, idle_timeout: Duration) {
        for connection in self.lock().values() {
            let over = match connection.phase() {
                (Phase::Header, age) => age >= header_timeout,
                (Phase::Idle, age) => age >= idle_timeout,
                (Phase::Busy, _) => false,
            };
            if over {
                connection.end.cancel();
            }
        }
    }

    /// Ends those that wait for their client.
    pub(super) fn end_waiting(&self) {
        let open = self.lock();
        let waiting = open.values().filter(|connection| connection.phase().0 != Phase::Busy);
        waiting.for_each(|connection| connection.end.cancel());
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u64, Arc<Connection>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn end_longest_waiting(open: &HashMap<u64, Arc<Connection>>) {
    let waiting = open
        .values()
        .map(|connection| (connection.phase(), connection))
        .filter(|((phase, _), connection)| *phase != Phase::Busy && !connection.end.is_cancelled());
    if let Some((_, connection)) = waiting.max_by_key(|((_, age), _)| *age) {
        connection.end.cancel();
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.connections.lock().remove(&self.number);
        self.connections.closed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_longest_waiting_connection_makes_room_and_busy_ones_stay() {
        let connections = Arc::new(Connections::default());
        let busy = connections.register();
        busy.connection.enter(Phase::Busy);
        tokio::time::advance(Duration::from_secs(1)).await;
        let old = connections.register();
        tokio::time::advance(Duration::from_secs(1)).await;
        let young = connections.register();

        let ended = old.connection.end.clone();
        let owner = tokio::spawn(async move {
            ended.cancelled().await;
            drop(old);
        });
        connections.room(3).await;

        owner.await.unwrap();
        assert!(!busy.connection.end.is_cancelled());
        assert!(!young.connection.end.is_cancelled());
    }

    #[tokio::test(start_paused = true)]
    async fn slow_headers_end_before_idle_connections_do() {
        let connections = Arc::new(Connections::default());
        let (slow, idle, busy) =
            (connections.register(), connections.register(), connections.register());
        idle.connection.enter(Phase::Idle);
        busy.connection.enter(Phase::Busy);
        let sweep = || connections.sweep(Duration::from_secs(10), Duration::from_secs(75));
        let ended = |r: &Registered| r.connection.end.is_cancelled();

        tokio::time::advance(Duration::from_secs(10)).await;
        sweep();
        assert!(ended(&slow) && !ended(&idle) && !ended(&busy));
        idle.connection.received();
        tokio::time::advance(Duration::from_secs(9)).await;
        sweep();
        assert!(!ended(&idle));
        tokio::time::advance(Duration::from_secs(2)).await;
        sweep();

        assert!(ended(&idle) && !ended(&busy));
    }
}
