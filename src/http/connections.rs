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

use http::Extensions;
use tokio::{
    sync::Notify,
    time::{Instant, timeout},
};
use tokio_util::sync::CancellationToken;

use crate::auth::Source;

/// How long a new client waits before another look for a connection that has come to rest.
const CROWDED_PAUSE: Duration = Duration::from_millis(20);

/// How long a client in the middle of a request may leave us waiting before its place may go to a
/// new client.
const STALLED: Duration = Duration::from_secs(2);

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
    /// The client has to send a request's body.
    Body = 3,
    /// The same, of a request that is refused whatever its body says.
    Refused = 4,
    /// The client was told all, and may take its time to close its side.
    Closing = 5,
}

impl Phase {
    const BITS: u64 = 3;

    fn of(state: u64) -> Self {
        match state & ((1 << Self::BITS) - 1) {
            0 => Self::Header,
            1 => Self::Busy,
            2 => Self::Idle,
            3 => Self::Body,
            4 => Self::Refused,
            _ => Self::Closing,
        }
    }
}

/// One open connection, as its task and the janitor share it.
#[derive(Debug)]
pub(super) struct Connection {
    source: Source,
    start: Instant,
    /// Milliseconds since `start`, then the [`Phase`].
    state: AtomicU64,
    /// Fires when it has to end.
    pub(super) end: CancellationToken,
}

impl Connection {
    fn new(source: Source) -> Self {
        let state = AtomicU64::new(Phase::Header as u64);
        Self { source, start: Instant::now(), state, end: CancellationToken::new() }
    }

    pub(super) fn enter(&self, phase: Phase) {
        let millis = self.start.elapsed().as_millis() as u64;
        self.state.store(millis << Phase::BITS | phase as u64, Relaxed);
    }

    /// Bytes came in: between two requests, they begin a header; in a body, they are progress.
    pub(super) fn received(&self) {
        match Phase::of(self.state.load(Relaxed)) {
            Phase::Idle => self.enter(Phase::Header),
            Phase::Body => self.enter(Phase::Body),
            Phase::Header | Phase::Busy | Phase::Refused | Phase::Closing => {}
        }
    }

    /// Whether a request is being read or answered.
    pub(super) fn is_busy(&self) -> bool {
        matches!(self.phase().0, Phase::Busy | Phase::Body | Phase::Refused)
    }

    fn phase(&self) -> (Phase, Duration) {
        let state = self.state.load(Relaxed);
        let since = Duration::from_millis(state >> Phase::BITS);
        (Phase::of(state), self.start.elapsed().saturating_sub(since))
    }

    /// How easily a new client may have its place; `None` while it may not.
    fn dispensable(&self) -> Option<Rank> {
        match self.phase() {
            (Phase::Refused | Phase::Closing, age) => Some((Use::None, age)),
            (Phase::Header | Phase::Idle, age) => Some((Use::Maybe, age)),
            (Phase::Body, age) => (age >= STALLED).then_some((Use::Maybe, age)),
            (Phase::Busy, _) => None,
        }
    }
}

/// The greater, the sooner a connection is ended: by its use, then by how long it has waited.
type Rank = (Use, Duration);

/// Whether anybody still has something from a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Use {
    /// Its client may be about to ask something.
    Maybe,
    /// All that is left to say is no or farewell.
    None,
}

/// Says that a request's body is being read, until it is dropped.
pub(super) struct Reading(Option<Arc<Connection>>);

impl Reading {
    /// `phase` is [`Phase::Body`] or [`Phase::Refused`].
    pub(super) fn begin(of: &Extensions, phase: Phase) -> Self {
        let connection = of.get::<Arc<Connection>>().cloned();
        connection.iter().for_each(|connection| connection.enter(phase));
        Self(connection)
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        self.0.iter().for_each(|connection| connection.enter(Phase::Busy));
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
    /// Notes a new connection, once it fits. Makes room by ending one that waits for its client;
    /// while all are busy, the new one waits. The limit is asked for at each look, because it may
    /// change meanwhile.
    ///
    /// Cancel safe.
    pub(super) async fn admit(
        self: &Arc<Self>,
        source: Source,
        limit: impl Fn() -> usize,
    ) -> Registered {
        loop {
            let mut closed = pin!(self.closed.notified());
            // From here on no closing is missed.
            closed.as_mut().enable();
            if let Some(registered) = self.try_admit(source, limit()) {
                return registered;
            }
            // A busy one may come to rest meanwhile.
            let _ = timeout(CROWDED_PAUSE, closed).await;
        }
    }

    fn try_admit(self: &Arc<Self>, source: Source, limit: usize) -> Option<Registered> {
        let mut open = self.lock();
        if open.len() < limit {
            let number = self.next.fetch_add(1, Relaxed);
            let connection = Arc::new(Connection::new(source));
            open.insert(number, Arc::clone(&connection));
            return Some(Registered { connections: Arc::clone(self), number, connection });
        }
        // One that was told to end will make room soon: no need to tell another.
        if live(&open).count() >= limit {
            end_one(&open, source);
        }
        None
    }

    /// Ends connections that overstay their phase.
    pub(super) fn sweep(&self, header_timeout: Duration, idle_timeout: Duration) {
        for connection in self.lock().values() {
            let over = match connection.phase() {
                (Phase::Header, age) => age >= header_timeout,
                (Phase::Idle, age) => age >= idle_timeout,
                // These have limits of their own.
                (Phase::Busy | Phase::Body | Phase::Refused | Phase::Closing, _) => false,
            };
            if over {
                connection.end.cancel();
            }
        }
    }

    /// Ends those that wait for their client.
    pub(super) fn end_waiting(&self) {
        let open = self.lock();
        let waits = |phase| matches!(phase, Phase::Header | Phase::Idle);
        let waiting = open.values().filter(|connection| waits(connection.phase().0));
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

/// Ends the most dispensable one of the source that has most connections, the newcomer counted:
/// whoever crowds the server makes room for the others.
fn end_one(open: &HashMap<u64, Arc<Connection>>, newcomer: Source) {
    let mut crowds = HashMap::from([(newcomer, 1_usize)]);
    live(open).for_each(|connection| *crowds.entry(connection.source).or_default() += 1);
    let victim = live(open)
        .filter_map(|connection| Some((connection.dispensable()?, connection)))
        .max_by_key(|(rank, connection)| (crowds.get(&connection.source), *rank));
    if let Some((_, connection)) = victim {
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

    fn source(n: u8) -> Source {
        Source::of([192, 0, 2, n].into())
    }

    async fn admitted(connections: &Arc<Connections>) -> Registered {
        connections.admit(source(1), || usize::MAX).await
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

        let new = connections.admit(source(1), || 3).await;

        old.await.unwrap();
        assert!([busy, young, new].iter().all(|kept| !kept.connection.end.is_cancelled()));
    }

    #[tokio::test(start_paused = true)]
    async fn the_source_with_most_connections_makes_room_for_the_others() {
        let connections = Arc::new(Connections::default());
        let quiet = connections.admit(source(2), || 4).await;
        quiet.connection.enter(Phase::Idle);
        tokio::time::advance(Duration::from_secs(60)).await;
        let mut crowd = Vec::new();
        for _ in 0..3 {
            let one = connections.admit(source(1), || 4).await;
            one.connection.enter(Phase::Refused);
            crowd.push(Arc::clone(&one.connection));
            obedient(one);
            tokio::time::advance(Duration::from_secs(1)).await;
        }

        let newcomer = connections.admit(source(3), || 4).await;
        let of_the_crowd = connections.admit(source(1), || 4).await;

        let ended: Vec<_> = crowd.iter().map(|one| one.end.is_cancelled()).collect();
        assert_eq!(ended, [true, true, false]);
        let kept = [quiet, newcomer, of_the_crowd];
        assert!(kept.iter().all(|kept| !kept.connection.end.is_cancelled()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_place_is_taken_from_a_body_only_once_it_stalls() {
        let connections = Arc::new(Connections::default());
        let sender = admitted(&connections).await.connection.clone();
        let wait = |millis| tokio::time::advance(Duration::from_millis(millis));
        sender.enter(Phase::Body);

        wait(1_900).await;
        sender.received();
        wait(1_900).await;
        assert_eq!(sender.dispensable(), None);
        wait(100).await;

        assert_eq!(sender.dispensable(), Some((Use::Maybe, STALLED)));
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_is_ended_before_somebody_needs_the_place() {
        let connections = Arc::new(Connections::default());

        let only = connections.admit(source(1), || 1).await;

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
            let admitted = connections.admit(source(1), || limit.load(Relaxed) as usize);
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
                    let admitted = connections.admit(source(1), || 3).await;
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
