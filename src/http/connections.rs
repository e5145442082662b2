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

use tokio::{sync::Notify, time::timeout};

use super::connection::{Connection, Phase, SEND_TIMEOUT};
use crate::{
    app::metrics::{Limit, Metrics},
    auth::Source,
};

#[cfg(test)]
mod tests;

/// How long a new client waits before another look for a connection that has come to rest.
const CROWDED_PAUSE: Duration = Duration::from_millis(20);

/// All open connections.
#[derive(Debug, Default)]
pub(super) struct Connections {
    open: Mutex<HashMap<u64, Arc<Connection>>>,
    next: AtomicU64,
    closed: Notify,
    metrics: Arc<Metrics>,
}

/// Takes the connection off the list when dropped.
pub(super) struct Registered {
    connections: Arc<Connections>,
    number: u64,
    pub(super) connection: Arc<Connection>,
}

impl Connections {
    /// None yet; what happens to them is counted.
    pub(super) fn new(metrics: Arc<Metrics>) -> Self {
        Self { metrics, ..Self::default() }
    }

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
            self.metrics.http.opened();
            return Some(Registered { connections: Arc::clone(self), number, connection });
        }
        // One that was told to end will make room soon: no need to tell another.
        if live(&open).count() >= limit && end_one(&open, Some(source)) {
            self.metrics.http.met(Limit::Connections);
        }
        None
    }

    /// Ends one connection because the system has no room for another, and waits for it, but not
    /// for long: there may be none to be spared.
    pub(super) async fn make_room(&self, patience: Duration) {
        let mut closed = pin!(self.closed.notified());
        closed.as_mut().enable();
        self.metrics.http.met(Limit::Descriptors);
        end_one(&self.lock(), None);
        let _ = timeout(patience, closed).await;
    }

    /// Ends connections that overstay their phase.
    pub(super) fn sweep(&self, header_timeout: Duration, idle_timeout: Duration) {
        for connection in self.lock().values() {
            let (age, most, limit) = match (connection.stalled(), connection.phase()) {
                (Some(age), _) => (age, SEND_TIMEOUT, Limit::SendTime),
                (None, (Phase::Header, age)) => (age, header_timeout, Limit::HeaderTime),
                (None, (Phase::Idle, age)) => (age, idle_timeout, Limit::IdleTime),
                // These have limits of their own.
                (None, (Phase::Busy | Phase::Body | Phase::Refused | Phase::Closing, _)) => {
                    continue;
                }
            };
            if age >= most && !connection.end.is_cancelled() {
                connection.end.cancel();
                self.metrics.http.met(limit);
            }
        }
    }

    /// The number that tells connections from those that come later.
    pub(super) fn newest(&self) -> u64 {
        self.next.load(Relaxed)
    }

    /// Whether any from before `newest` waits for a request.
    pub(super) fn waiting(&self, newest: u64) -> bool {
        self.lock().iter().any(|(number, connection)| *number < newest && waits(connection))
    }

    /// Ends those from before `newest` that have waited for a request for so long.
    pub(super) fn end_resting(&self, newest: u64, age: Duration) {
        let open = self.lock();
        let old = open.iter().filter(|(number, _)| **number < newest).map(|(_, open)| open);
        let resting = old.filter(|connection| waits(connection) && connection.phase().1 >= age);
        resting.for_each(|connection| connection.end.cancel());
    }

    /// Ends those that wait for a request.
    pub(super) fn end_waiting(&self) {
        let open = self.lock();
        let waiting = open.values().filter(|connection| waits(connection));
        waiting.for_each(|connection| connection.end.cancel());
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u64, Arc<Connection>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether its client has got all and may bring a request.
fn waits(connection: &Connection) -> bool {
    matches!(connection.phase().0, Phase::Header | Phase::Idle) && connection.stalled().is_none()
}

/// Those that were not told to end yet.
fn live(open: &HashMap<u64, Arc<Connection>>) -> impl Iterator<Item = &Arc<Connection>> {
    open.values().filter(|connection| !connection.end.is_cancelled())
}

/// Ends the most dispensable one of the source that has most connections, the newcomer counted:
/// whoever crowds the server makes room for the others. Whether there was one.
fn end_one(open: &HashMap<u64, Arc<Connection>>, newcomer: Option<Source>) -> bool {
    let mut crowds: HashMap<_, usize> = newcomer.into_iter().map(|source| (source, 1)).collect();
    live(open).for_each(|connection| *crowds.entry(connection.source).or_default() += 1);
    let victim = live(open)
        .filter_map(|connection| Some((connection.dispensable()?, connection)))
        .max_by_key(|(rank, connection)| (crowds.get(&connection.source), *rank));
    victim.is_some_and(|(_, connection)| {
        connection.end.cancel();
        true
    })
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.connections.lock().remove(&self.number);
        self.connections.metrics.http.closed();
        self.connections.closed.notify_waiters();
    }
}
