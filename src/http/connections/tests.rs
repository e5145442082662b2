use super::{
    super::connection::{STALLED, Sent, Use},
    *,
};

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
async fn a_client_that_reads_slowly_is_left_alone_and_one_that_stops_is_not() {
    let connections = Arc::new(Connections::default());
    let registered = admitted(&connections).await;
    let slow = &registered.connection;
    let wait = |seconds| tokio::time::advance(Duration::from_secs(seconds));
    let sweep = || connections.sweep(Duration::from_secs(10), Duration::from_secs(20));
    slow.sent(Sent::Nothing);
    slow.enter(Phase::Idle);

    wait(29).await;
    slow.sent(Sent::Some);
    wait(29).await;
    sweep();
    connections.end_waiting();
    slow.sent(Sent::All);
    wait(19).await;
    sweep();
    assert!(!slow.end.is_cancelled());
    slow.sent(Sent::Nothing);
    wait(1).await;
    assert_eq!(slow.dispensable(), None);
    wait(1).await;
    assert_eq!(slow.dispensable(), Some((Use::Maybe, STALLED)));
    wait(28).await;
    slow.sent(Sent::Nothing);
    sweep();

    assert!(slow.end.is_cancelled());
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
    let (slow, idle, busy) =
        (admitted(&connections).await, admitted(&connections).await, admitted(&connections).await);
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
