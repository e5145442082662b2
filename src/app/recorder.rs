//! Makes durable what happens: whoever tells of it never waits, one task writes.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::{
    sync::{mpsc, watch},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use super::{
    audit,
    clock::Clock,
    ports::event_store::{Event, EventStore, MAX_EXPIRED},
    settings::Settings,
};

/// Events that may wait; more are dropped and counted. A few MiB as events usually are.
const MAX_WAITING: usize = 4096;
/// Most events that are written together.
const MAX_BATCH: usize = 256;
/// How long to wait before the store is tried again.
const STORE_PAUSE: Duration = Duration::from_secs(1);
/// How often it is looked whether some events are too old.
const EXPIRY_INTERVAL: Duration = Duration::from_secs(60);

/// Where events are put. Shared; never waits.
#[derive(Debug, Clone)]
pub struct Recorder {
    queue: mpsc::Sender<Event>,
    counts: Arc<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    /// Those that wait or waited; it counts ahead, so that nobody waits for too few.
    taken: AtomicU64,
    recorded: watch::Sender<u64>,
    dropped: AtomicU64,
}

/// The other end, before it is set to work.
#[derive(Debug)]
pub struct Waiting {
    queue: mpsc::Receiver<Event>,
    counts: Arc<Counts>,
}

impl Recorder {
    /// A recorder, and what is to be set to work once there is a store.
    pub fn new() -> (Self, Waiting) {
        let (events, queue) = mpsc::channel(MAX_WAITING);
        let counts = Arc::<Counts>::default();
        (Self { queue: events, counts: Arc::clone(&counts) }, Waiting { queue, counts })
    }

    /// Has an event recorded, or counts it as dropped.
    pub fn offer(&self, event: Event) {
        self.counts.taken.fetch_add(1, Relaxed);
        if self.queue.try_send(event).is_err() {
            self.counts.taken.fetch_sub(1, Relaxed);
            self.counts.dropped.fetch_add(1, Relaxed);
        }
    }

    /// Waits until everything that was offered so far is durable, but no longer than `within`: for
    /// what is rare and must be found later.
    pub async fn settle(&self, within: Duration) {
        let taken = self.counts.taken.load(Relaxed);
        let mut recorded = self.counts.recorded.subscribe();
        // The disk may refuse. Whoever waits has done what it tells of, and says so all the same.
        let _ = tokio::time::timeout(within, recorded.wait_for(|count| *count >= taken)).await;
    }

    /// How many events were made durable since the start. Changes can be waited for.
    pub fn recorded(&self) -> watch::Receiver<u64> {
        self.counts.recorded.subscribe()
    }

    /// How many were dropped because they came faster than the disk took them.
    pub fn dropped(&self) -> u64 {
        self.counts.dropped.load(Relaxed)
    }
}

impl Waiting {
    /// Records until `stop`, and then what is still waiting; but for a disk that refuses it does not
    /// hold up the end.
    pub async fn work(
        self,
        store: Arc<dyn EventStore>,
        settings: watch::Receiver<Arc<Settings>>,
        clock: Arc<dyn Clock>,
        stop: CancellationToken,
    ) {
        let Self { queue, counts } = self;
        Writer { queue, counts, store, settings, clock, stop, told: 0, looked: Instant::now() }
            .work()
            .await;
    }
}

struct Writer {
    queue: mpsc::Receiver<Event>,
    counts: Arc<Counts>,
    store: Arc<dyn EventStore>,
    settings: watch::Receiver<Arc<Settings>>,
    clock: Arc<dyn Clock>,
    stop: CancellationToken,
    /// How many of the dropped were told.
    told: u64,
    /// When it was last looked whether some events are too old.
    looked: Instant,
}

impl Writer {
    async fn work(mut self) {
        let mut expiry = tokio::time::interval(EXPIRY_INTERVAL);
        let mut batch = Vec::new();
        // Those that make room for as many as the store removes at once.
        let mut since_expiry = 0;
        loop {
            tokio::select! {
                _ = self.queue.recv_many(&mut batch, MAX_BATCH) => {
                    since_expiry += batch.len();
                    self.write(&mut batch).await;
                    self.tell_of_drops();
                    if since_expiry >= MAX_EXPIRED as usize / 2 {
                        since_expiry = 0;
                        self.expire().await;
                    }
                }
                _ = expiry.tick() => {
                    // What has gathered meanwhile comes in between.
                    if self.expire().await {
                        expiry.reset_immediately();
                    }
                }
                () = self.stop.cancelled() => break,
            }
        }
        self.queue.close();
        while self.queue.recv_many(&mut batch, MAX_BATCH).await > 0 {
            self.write(&mut batch).await;
        }
    }

    /// Tries until the store takes them, or the daemon stops.
    async fn write(&self, batch: &mut Vec<Event>) {
        let mut complained = false;
        while let Err(error) = self.store.record(batch.clone()).await {
            if !std::mem::replace(&mut complained, true) {
                let cause = &error as &dyn std::error::Error;
                tracing::error!(error = cause, "events wait: {}; {}", error.what, error.help);
            }
            let pause = tokio::time::sleep(STORE_PAUSE);
            if self.stop.run_until_cancelled(pause).await.is_none() {
                self.counts.dropped.fetch_add(batch.len() as u64, Relaxed);
                batch.clear();
                return;
            }
        }
        self.counts.recorded.send_modify(|count| *count += batch.len() as u64);
        batch.clear();
    }

    /// Whether some were removed, so that there may be more.
    async fn expire(&mut self) -> bool {
        let retention = self.settings.borrow().events;
        let passed = self.looked.elapsed();
        self.looked = Instant::now();
        match self.store.expire(retention, self.clock.now(), passed).await {
            Ok(removed) => removed > 0,
            Err(error) => {
                let cause = &error as &dyn std::error::Error;
                tracing::error!(error = cause, "old events stay: {}; {}", error.what, error.help);
                false
            }
        }
    }

    /// The event about it may be dropped too; then it is told with the next ones.
    fn tell_of_drops(&mut self) {
        let dropped = self.counts.dropped.load(Relaxed);
        if dropped > self.told {
            audit::events_lost(dropped - self.told);
            self.told = dropped;
        }
    }
}

#[cfg(test)]
mod tests;
