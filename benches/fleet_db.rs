//! How fast events become durable, and how fast a large fleet is read.
//!
//! `cargo bench --bench fleet_db`; takes less than a minute, needs about 500 MB in `target/tmp`.

#![expect(clippy::print_stdout, reason = "it prints what it measures")]

mod sample;

use std::{
    error::Error,
    fs::File,
    io::Write as _,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use fleet_mcp::{
    app::ports::fleet_store::{Change, FleetStore as _, Page},
    fleet::{AgentId, Entry, EntryKind},
    stores::FleetDb,
};
use jiff::Timestamp;
use tokio::task::JoinSet;

use self::sample::{agent, task};

type Outcome<T = ()> = Result<T, Box<dyn Error + Send + Sync>>;

const COMMITTERS: i64 = 50;
const AGENTS: i64 = 10_000;
const TASKS_PER_AGENT: i64 = 100;
const LONG_LOG: usize = 100_000;
const READS: u32 = 500;

#[tokio::main]
async fn main() -> Outcome {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
    fsyncs(dir.path())?;
    println!("durable, {COMMITTERS} committers, each waits for each of its commits:");
    for (what, per_call, bytes, joins) in [
        ("1 event of 120 bytes a commit", 1, 120, false),
        ("10 events of 120 bytes a commit", 10, 120, false),
        ("1 joined piece of 20 bytes a commit", 1, 20, true),
        ("10 joined pieces of 20 bytes a commit", 10, 20, true),
    ] {
        let state = tempfile::tempdir_in(dir.path())?;
        events(state.path(), what, per_call, "x".repeat(bytes), joins).await?;
    }
    large_fleet(dir.path()).await
}

fn fsyncs(dir: &Path) -> Outcome {
    let mut file = File::create(dir.join("fsync"))?;
    let mut times = Vec::new();
    for _ in 0..200 {
        file.write_all(&[1; 4096])?;
        let start = Instant::now();
        file.sync_data()?;
        times.push(start.elapsed());
    }
    println!("this disk's fdatasync of 4 KiB: {}", spread(times));
    Ok(())
}

async fn events(dir: &Path, what: &str, per_call: usize, content: String, joins: bool) -> Outcome {
    let db = Arc::new(FleetDb::open(dir)?);
    db.commit((1..=COMMITTERS).map(agent).collect()).await?;
    let (calls, transactions) = (db.committed().calls(), db.committed().transactions().total());
    let start = Instant::now();
    let until = start + Duration::from_secs(4);
    let mut committers = JoinSet::new();
    for id in 1..=COMMITTERS {
        let (db, content) = (Arc::clone(&db), content.clone());
        committers.spawn(async move {
            let mut waits = Vec::new();
            while Instant::now() < until {
                let changes = vec![event(id, &content, joins); per_call];
                let start = Instant::now();
                db.commit(changes).await?;
                waits.push(start.elapsed());
            }
            Outcome::Ok(waits)
        });
    }
    let mut waits = Vec::new();
    while let Some(done) = committers.join_next().await {
        waits.extend(done??);
    }
    let took = start.elapsed().as_secs_f64();
    let calls = (db.committed().calls() - calls) as f64;
    let transactions = (db.committed().transactions().total() - transactions) as f64;
    println!(
        "  {what}: {:.0} events/s; {:.1} commits a transaction, {:.0} transactions/s; \
         a commit takes {}",
        calls * per_call as f64 / took,
        calls / transactions,
        transactions / took,
        spread(waits),
    );
    Ok(())
}

async fn large_fleet(dir: &Path) -> Outcome {
    let start = Instant::now();
    let db = FleetDb::open(dir)?;
    let mut pending = JoinSet::new();
    let mut next_task = 1;
    for id in 1..=AGENTS {
        let mut changes = vec![agent(id)];
        for _ in 0..TASKS_PER_AGENT {
            changes.push(task(next_task, id));
            next_task += 1;
        }
        pending.spawn(db.commit(changes));
    }
    for _ in 0..LONG_LOG / 100 {
        pending.spawn(db.commit(vec![event(1, &"x".repeat(120), false); 100]));
    }
    while let Some(done) = pending.join_next().await {
        done??;
    }
    println!(
        "{AGENTS} agents with {TASKS_PER_AGENT} tasks each, and a log of {LONG_LOG} entries: \
         written in {:?}",
        start.elapsed()
    );
    let start = Instant::now();
    drop(db);
    println!("  closed in {:?}", start.elapsed());
    let size = dir.join("fleet.db").metadata()?.len() / 1024 / 1024;
    let start = Instant::now();
    let db = FleetDb::open(dir)?;
    println!("  opened ({size} MiB) in {:?}", start.elapsed());
    let start = Instant::now();
    let agents = db.load()?.agents.len();
    println!("  loaded {agents} agents with their newest tasks in {:?}", start.elapsed());
    pages(&db).await
}

async fn pages(db: &FleetDb) -> Outcome {
    for (what, number) in [("first", 1), ("last", 5)] {
        let mut times = Vec::new();
        for read in 0..READS {
            let agent = AgentId(1 + i64::from(read) * 7919 % AGENTS);
            let start = Instant::now();
            let page = db.history(agent, Page { number, size: 20 }).await?;
            times.push(start.elapsed());
            assert_eq!(page.items.len(), 20);
        }
        println!("  {what} page of 20 of {TASKS_PER_AGENT} tasks: {}", spread(times));
    }
    let last = LONG_LOG as u32 / 100;
    for (what, number) in [("first", 1), ("middle", last / 2), ("last", last)] {
        let mut times = Vec::new();
        for _ in 0..READS {
            let start = Instant::now();
            let page = db.log(AgentId(1), Page { number, size: 100 }).await?;
            times.push(start.elapsed());
            assert_eq!(page.items.len(), 100);
        }
        println!("  {what} page of 100 of {LONG_LOG} log entries: {}", spread(times));
    }
    Ok(())
}

fn spread(mut times: Vec<Duration>) -> String {
    times.sort_unstable();
    let at = |part: f64| times[((times.len() - 1) as f64 * part) as usize];
    format!("median {:?}, p99 {:?}, longest {:?}", at(0.5), at(0.99), at(1.0))
}

fn event(agent: i64, content: &str, joins: bool) -> Change {
    Change::Append {
        agent: AgentId(agent),
        task: None,
        time: Timestamp::UNIX_EPOCH,
        entry: Entry { kind: EntryKind::Message, content: content.to_owned(), joins },
    }
}
