//! A recorder whose store does what a test says.

use std::sync::{
    Mutex,
    atomic::{AtomicBool, Ordering::SeqCst},
};

use jiff::Timestamp;

use super::*;
use crate::app::{
    ports::{
        StoreError,
        event_store::{Events, Query, Retention, Trail},
        fleet_store::Stored,
    },
    supervisor::tests_settings,
};

#[derive(Default)]
struct Store {
    recorded: Mutex<Vec<Event>>,
    refuses: AtomicBool,
}

impl EventStore for Store {
    fn record(&self, events: Vec<Event>) -> Stored<()> {
        let refused = self.refuses.load(SeqCst);
        if !refused {
            self.recorded.lock().unwrap().extend(events);
        }
        let full = || StoreError {
            what: "the disk is full".to_owned(),
            help: "make room".to_owned(),
            source: None,
        };
        Box::pin(async move { if refused { Err(full()) } else { Ok(()) } })
    }

    fn expire(&self, _: Retention, _: Timestamp, _: Duration) -> Stored<u64> {
        Box::pin(async { Ok(0) })
    }

    fn events(&self, _: Query) -> Stored<Events> {
        Box::pin(async { Ok(Events { events: Vec::new(), last: 0, more: false }) })
    }
}

struct StillClock;

impl Clock for StillClock {
    fn now(&self) -> Timestamp {
        Timestamp::UNIX_EPOCH
    }
}

fn event(number: usize) -> Event {
    Event {
        time: Timestamp::UNIX_EPOCH,
        event: "tested".to_owned(),
        trail: Trail::Fleet,
        agent: None,
        token: None,
        message: number.to_string(),
        fields: Vec::new(),
    }
}

struct Bench {
    recorder: Recorder,
    store: Arc<Store>,
    stop: CancellationToken,
    work: tokio::task::JoinHandle<()>,
}

impl Bench {
    fn new(refuses: bool) -> Self {
        let (recorder, waiting) = Recorder::new();
        let store = Arc::new(Store::default());
        store.refuses.store(refuses, SeqCst);
        let settings = watch::Sender::new(Arc::new(tests_settings())).subscribe();
        let stop = CancellationToken::new();
        let work =
            waiting.work(Arc::clone(&store) as _, settings, Arc::new(StillClock), stop.clone());
        Self { recorder, store, stop, work: tokio::spawn(work) }
    }

    fn messages(&self) -> Vec<String> {
        self.store.recorded.lock().unwrap().iter().map(|event| event.message.clone()).collect()
    }
}

#[tokio::test(start_paused = true)]
async fn what_waits_at_the_end_is_recorded_in_its_order() {
    let bench = Bench::new(false);
    let count = MAX_BATCH * 3 + 1;
    (0..count).for_each(|number| bench.recorder.offer(event(number)));

    bench.stop.cancel();
    bench.work.await.unwrap();

    let expected: Vec<_> = (0..count).map(|number| number.to_string()).collect();
    let recorded: Vec<_> =
        bench.store.recorded.lock().unwrap().iter().map(|event| event.message.clone()).collect();
    assert_eq!(recorded, expected);
    assert_eq!(*bench.recorder.recorded().borrow(), count as u64);
}

#[tokio::test(start_paused = true)]
async fn while_the_disk_refuses_nobody_waits_and_what_does_not_fit_is_counted() {
    let bench = Bench::new(true);
    bench.recorder.offer(event(0));
    tokio::time::sleep(STORE_PAUSE).await;

    (1..=MAX_WAITING + 10).for_each(|number| bench.recorder.offer(event(number)));
    let dropped = bench.recorder.dropped();
    bench.store.refuses.store(false, SeqCst);
    let mut recorded = bench.recorder.recorded();
    recorded.wait_for(|count| *count == MAX_WAITING as u64 + 1).await.unwrap();

    assert_eq!(dropped, 10);
    assert_eq!(bench.messages()[MAX_WAITING], MAX_WAITING.to_string());
}

#[tokio::test(start_paused = true)]
async fn a_disk_that_refuses_does_not_hold_up_the_end_and_the_loss_is_counted() {
    let bench = Bench::new(true);
    (0..10).for_each(|number| bench.recorder.offer(event(number)));
    tokio::time::sleep(STORE_PAUSE).await;

    bench.stop.cancel();
    bench.work.await.unwrap();

    assert_eq!(bench.recorder.dropped(), 10);
}

#[tokio::test(start_paused = true)]
async fn whoever_waits_for_an_event_finds_it_recorded_and_waits_no_longer_than_agreed() {
    let bench = Bench::new(false);
    bench.recorder.offer(event(0));

    bench.recorder.settle(Duration::from_secs(1)).await;

    assert_eq!(bench.messages(), ["0"]);
    bench.store.refuses.store(true, SeqCst);
    bench.recorder.offer(event(1));
    let began = Instant::now();
    bench.recorder.settle(Duration::from_secs(1)).await;
    assert_eq!((began.elapsed(), bench.messages().len()), (Duration::from_secs(1), 1));
}
