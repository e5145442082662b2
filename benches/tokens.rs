//! What authentication costs: with one token and with many, in time and in memory, and under attack.
//!
//! `cargo bench --bench tokens`; takes less than a minute. Logging is left out: it has a thread of its
//! own, and drops what does not fit.

#![expect(clippy::print_stdout, reason = "it prints what it measures")]

use std::{
    error::Error,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

use fleet_mcp::{
    app::{
        audit::{RequestId, RequestInfo},
        clock::SystemClock,
        ports::{FileState, Grant, GrantStore, PrimaryToken, StoreError, TokenStore, Use},
        refusals::Refusals,
        settings::PrimarySource,
        tokens::{Stores, Tokens},
    },
    auth::{Digest, Generation, Secret, Token},
};
use jiff::{SignedDuration, Timestamp};

type Outcome<T = ()> = Result<T, Box<dyn Error + Send + Sync>>;

const MANY: usize = 100_000;
const ROUNDS: usize = 21;
const CALLS: usize = 100_000;
const ATTACKERS: u32 = 10_000;
const WRONG: u32 = 1_000_000;

/// Tokens that nobody has to write down.
struct Memory {
    primary: PrimaryToken,
    grants: Vec<Grant>,
}

impl TokenStore for Memory {
    fn path(&self) -> &Path {
        Path::new("")
    }

    fn load(&self) -> Result<Option<PrimaryToken>, StoreError> {
        Ok(Some(self.primary.clone()))
    }

    fn create(&self, _: &PrimaryToken) -> Result<(), StoreError> {
        Ok(())
    }

    fn replace(&self, _: &PrimaryToken) -> Result<(), StoreError> {
        Ok(())
    }

    fn state(&self, _: &Digest) -> FileState {
        FileState::Current
    }
}

impl GrantStore for Memory {
    fn path(&self) -> &Path {
        Path::new("")
    }

    fn load(&self) -> Result<Option<Vec<Grant>>, StoreError> {
        Ok(Some(self.grants.clone()))
    }

    fn save(&self, _: &[Grant]) -> Result<(), StoreError> {
        Ok(())
    }

    fn state(&self) -> FileState {
        FileState::Current
    }
}

/// So many tokens, each with its header.
fn tokens(count: usize) -> Outcome<(Arc<Tokens>, Vec<String>)> {
    let now = Timestamp::UNIX_EPOCH + SignedDuration::from_hours(24 * 365 * 56);
    let primary = PrimaryToken { secret: Secret::from_random(rand::random()), created_at: now };
    let mut headers = vec![format!("Bearer {}", primary.secret.expose())];
    let mut grants = Vec::with_capacity(count);
    for number in 1..count {
        let secret = Secret::named_from_random(rand::random());
        headers.push(format!("Bearer {}", secret.expose()));
        let name = format!("client-{number}").parse()?;
        let token = Arc::new(Token { name, ..Token::primary() });
        let generation = Generation {
            token: Arc::clone(&token),
            digest: secret.digest(),
            created_at: now,
            expires_at: Some(now + SignedDuration::from_hours(24 * 365 * 100)),
            overlaps_until: None,
        };
        grants.push(Grant { token, secrets: vec![(generation, Use::default())] });
    }
    let memory = Arc::new(Memory { primary, grants });
    let stores =
        Stores { primary: Arc::clone(&memory) as _, source: PrimarySource::File, grants: memory };
    let tokens = Arc::new(Tokens::new(stores, Arc::new(SystemClock)));
    let before = resident()?;
    tokens.load_or_create()?;
    if count > 1 {
        // The grants that were read are gone by now: what is left is what the daemon keeps.
        println!("memory of {count} tokens: {} bytes each", (resident()? - before) / count);
    }
    Ok((tokens, headers))
}

fn resident() -> Outcome<usize> {
    let statm = std::fs::read_to_string("/proc/self/statm")?;
    let pages: usize = statm.split(' ').nth(1).ok_or("no resident pages")?.parse()?;
    Ok(pages * 4096)
}

/// How long one right request takes, on average.
fn right(tokens: &Tokens, headers: &[String], calls: usize) -> Duration {
    let client = SocketAddr::from(([127, 0, 0, 1], 1));
    let start = Instant::now();
    let mut at = 0;
    for _ in 0..calls {
        // A stride that is prime to their number: no two neighbours in a row.
        at = (at + 7919) % headers.len();
        let judged = tokens.authenticate(std::iter::once(headers[at].as_bytes()), client);
        assert!(judged.is_ok(), "a right token was refused");
    }
    start.elapsed() / calls as u32
}

/// One wrong token, from one of very many addresses.
fn wrong(tokens: &Tokens, refusals: &Refusals, number: u32) {
    let address = Ipv4Addr::from_bits(0x0a00_0000 | (number % ATTACKERS));
    let client = SocketAddr::new(IpAddr::V4(address), 1);
    let header = format!("Bearer {number:043}");
    let request_id = RequestId { daemon: 0, number: number.into() };
    let info = RequestInfo { client, method: "GET", path: "/mcp", user_agent: None, request_id };
    if let Err(denied) = tokens.authenticate(std::iter::once(header.as_bytes()), client) {
        let denied = refusals.throttle(denied, client.ip());
        refusals.unauthorized(&denied, &info);
    }
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

fn main() -> Outcome {
    let (many, many_headers) = tokens(MANY)?;
    let (one, one_header) = tokens(1)?;
    let (mut with_one, mut with_many, mut with_all) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        with_one.push(right(&one, &one_header, CALLS));
        with_many.push(right(&many, &many_headers[..20], CALLS));
        with_all.push(right(&many, &many_headers, CALLS));
    }
    let (with_one, with_many) = (median(with_one), median(with_many));
    println!("one request, 1 token: {with_one:?}");
    let ratio = |time: Duration| time.as_secs_f64() / with_one.as_secs_f64();
    println!("{MANY} tokens, 20 of them busy: {with_many:?}, ratio {:.2}", ratio(with_many));
    // Nothing of them is in a cache: neither what we keep, nor the headers.
    let with_all = median(with_all);
    println!("{MANY} tokens, all of them busy: {with_all:?}, ratio {:.2}", ratio(with_all));

    let refusals = Refusals::new(Arc::new(SystemClock));
    let before = resident()?;
    let start = Instant::now();
    (0..WRONG).for_each(|number| wrong(&many, &refusals, number));
    let took = start.elapsed() / WRONG;
    let grown = resident()?.saturating_sub(before) / 1024;
    println!("{WRONG} wrong tokens from {ATTACKERS} addresses: {took:?} each, {grown} KiB more");
    let counted: u64 = refusals.counts().iter().map(|(_, count)| count).sum();
    assert_eq!(counted, u64::from(WRONG), "the counts add up");
    attacked(&many, &many_headers, &refusals);
    Ok(())
}

/// Right requests on one core while another one is busy with wrong ones; and while it is busy with
/// something else, so that nothing is counted that the machine has to share.
fn attacked(tokens: &Tokens, headers: &[String], refusals: &Refusals) {
    let (mut beside_others, mut under_attack) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let unrelated = |number: u32| _ = std::hint::black_box(Digest::of(&number.to_be_bytes()));
        beside_others.push(beside(unrelated, || right(tokens, headers, CALLS)));
        let attack = |number| wrong(tokens, refusals, number);
        under_attack.push(beside(attack, || right(tokens, headers, CALLS)));
    }
    let (beside_others, under_attack) = (median(beside_others), median(under_attack));
    let ratio = beside_others.as_secs_f64() / under_attack.as_secs_f64();
    println!(
        "right requests: {beside_others:?} beside other work, {under_attack:?} beside an attack; \
         throughput {ratio:.2}"
    );
}

fn beside(other: impl Fn(u32) + Send, measured: impl FnOnce() -> Duration) -> Duration {
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let over = &over;
        scope.spawn(move || (0..).take_while(|_| !over.load(Relaxed)).for_each(other));
        let time = measured();
        over.store(true, Relaxed);
        time
    })
}
