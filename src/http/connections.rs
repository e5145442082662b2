//! Which connections are open and what each is doing, so that slow and idle ones can be ended.
//!
//! hyper's own header timeout can't tell a client that dawdles over a header from one that rests
//! between two requests; a kept connection must not be closed under a client that is about to use
//! it. So every connection notes its phase here, and a janitor ends those that overstay.

use std::{
    collections::HashMap,
    pin::pin,
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
    /// Notes a new connection, once it fits. Makes room by ending the one that has waited longest
    /// for its client; while all are busy, the new one waits. The limit is asked for at each look,
    /// because it may change meanwhile.
    ///
    /// Cancel safe.
    pub(super) async fn admit(self: &Arc<Self>, limit: impl Fn() -> usize) -> Registered {
        loop {
            let mut closed = pin!(self.closed.notified());
            // From here on no closing is missed.
            closed.as_mut().enable();
            if let Some(registered) = self.try_admit(limit()) {
                return registered;
            }
            // A busy one may come to rest meanwhile.
            let _ = timeout(CROWDED_PAUSE, closed).await;
        }
    }

    fn try_admit(self: &Arc<Self>, limit: usize) -> Option<Registered> {
        let mut open = self.lock();
        if open.len() < limit {
            let number = self.next.fetch_add(1, Relaxed);
            let connection = Arc::new(Connection::new());
            open.insert(number, Arc::clone(&connection));
            return Some(Registered { connections: Arc::clone(self), number, connection });
        }
        // One that was told to end will make room soon: no need to tell another.
        if live(&open).count() >= limit {
            end_longest_waiting(&open);
        }
        None
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

/// Those that were not told to end yet.
fn live(open: &HashMap<u64, Arc<Connection>>) -> impl Iterator<Item = &Arc<Connection>> {
    open.values().filter(|connection| !connection.end.is_cancelled())
}

fn end_longest_waiting(open: &HashMap<u64, Arc<Connection>>) {
    let waiting = live(open)
        .map(|connection| (connection.phase(), connection))
        .filter(|((phase, _), _)| *phase != Phase::Busy);
    if let Some((_, connection)) = waiting.max_by_key(|((_, age), _)| *age) {
        connection.end.cancel();
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.connections.lock().remove(&self.number);
        self.connections.closed.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn admitted(connections: &Arc<Connections>) -> Registered {
        connections.admit(|| usize::MAX).await
    }

    /// Ends when it is told to.
    fn obedient(registered: Registered) -> tokio::task::JoinHandle<()> {
        tokio::spawn(async move { registered.connection.end.cancelled().await })
    }

    #[tokio::test(start_paused = true)]
    async fn the_longest_waiting_connection_makes_room_and_busy_ones_stay() {
        let connections = Arc::new(Connections::default());
        let busy = admitted(&connections).await;
        busy.connection.enter(Phase::Busy);
        tokio::time::advance(Duration::from_secs(1)).await;
        let old = obedient(admitted(&connections).await);
        tokio::time::advance(Duration::from_secs(1)).await;
        let young = admitted(&connections).await;

        let new = connections.admit(|| 3).await;

        old.await.unwrap();
        assert!([busy, young, new].iter().all(|kept| !kept.connection.end.is_cancelled()));
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_is_ended_before_somebody_needs_the_place() {
        let connections = Arc::new(Connections::default());

        let only = connections.admit(|| 1).await;

        assert!(!only.connection.end.is_cancelled());
    }

    #[tokio::test(start_paused = true)]
    async fn a_busy_connection_makes_room_once_it_rests_or_the_limit_grows() {
        let connections = Arc::new(Connections::default());
        let busy = admitted(&connections).await;
        let connection = Arc::clone(&busy.connection);
        connection.enter(Phase::Busy);
        obedient(busy);
        let limit = AtomicU64::new(1);
        let next = || async {
            let admitted = connections.admit(|| limit.load(Relaxed) as usize);
            timeout(Duration::from_secs(1), admitted).await.ok()
        };

        assert!(next().await.is_none());
        assert!(!connection.end.is_cancelled());
        connection.enter(Phase::Idle);
        let second = next().await.unwrap();
        second.connection.enter(Phase::Busy);
        limit.store(2, Relaxed);

        assert!(next().await.is_some());
        assert!(connection.end.is_cancelled() && !second.connection.end.is_cancelled());
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn the_table_never_exceeds_its_limit_and_everybody_gets_in() {
        let connections = Arc::new(Connections::default());
        let listeners = (0..4).map(|_| {
            let connections = Arc::clone(&connections);
            tokio::spawn(async move {
                for _ in 0..500 {
                    let admitted = connections.admit(|| 3).await;
                    assert!(connections.lock().len() <= 3);
                    obedient(admitted);
                }
            })
        });

        for listener in listeners.collect::<Vec<_>>() {
            listener.await.unwrap();
        }
    }

    #[tokio::test(start_paused = true)]
    async fn slow_headers_end_before_idle_connections_do() {
        let connections = Arc::new(Connections::default());
        let (slow, idle, busy) = (
            admitted(&connections).await,
            admitted(&connections).await,
            admitted(&connections).await,
        );
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
