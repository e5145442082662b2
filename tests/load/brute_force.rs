//! Guesses tokens from many addresses, and measures what a right token gets meanwhile.
//!
//! `brute_force ADDRESS REQUESTS SOURCES RATE direct|forwarded < TOKEN` sends that many requests, each
//! with another wrong token, so many a second, ten on each connection: `direct` from so many addresses
//! of `127.0.0.0/8`, `forwarded` from one, as a proxy for so many addresses of `10.0.0.0/8`. In
//! between, in rounds, it sends as many to `/health` at the same rate, and nothing at all. In all
//! three, clients with the right token ask without a pause on connections that they keep. What the
//! attacker's own work takes from the machine is the same for `/health`, so the difference is what
//! guessing does to those who have a token.
//!
//! Prints one line of JSON: what the guesses were answered; and for each of the three the answers a
//! second that right tokens got, the median of the rounds.
#![expect(clippy::print_stdout, reason = "the report is its purpose")]

use std::{
    env,
    io::{self, BufRead as _, BufReader, Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpStream},
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, connect, socket_with};

/// Attackers at once; each waits for one answer at a time.
const ATTACKERS: u32 = 16;
/// Clients with the right token.
const CLIENTS: u32 = 4;
/// Guesses on one connection: so many that opening it is not what is measured, so few that each source
/// comes back often.
const PER_CONNECTION: u32 = 10;
/// Parts that the attack is made in are no larger; the other two measures are between them.
const MAX_PART: u32 = 100_000;
/// How long right tokens are measured alone in each round.
const ALONE: Duration = Duration::from_secs(1);
/// Longer than any answer may take.
const PATIENCE: Duration = Duration::from_secs(20);

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = env::args().skip(1);
    let usage = "usage: brute_force ADDRESS REQUESTS SOURCES RATE direct|forwarded < TOKEN";
    let mut next = || arguments.next().ok_or(usage);
    let address: SocketAddr = next()?.parse()?;
    let requests: u32 = next()?.parse()?;
    let attack = Attack {
        address,
        sources: next()?.parse()?,
        rate: next()?.parse()?,
        is_forwarded: next()? == "forwarded",
    };
    let mut token = String::new();
    io::stdin().read_to_string(&mut token)?;

    let right = Arc::new(Right::default());
    let header = if attack.is_forwarded { "X-Forwarded-For: 192.0.2.1\r\n" } else { "" };
    let clients: Vec<_> = (0..CLIENTS)
        .map(|_| {
            let (right, request) = (Arc::clone(&right), list_agents(token.trim(), header));
            thread::spawn(move || right.ask(address, &request))
        })
        .collect();
    let mut tally = Tally::default();
    let [mut alone, mut health, mut attacked] = [const { Vec::new() }; 3];
    for first in (0..requests).step_by(MAX_PART as usize) {
        let part = first..requests.min(first + MAX_PART);
        alone.push(right.served_while(|| pause(ALONE))?.0);
        health.push(right.served_while(|| attack.wave(What::Health, part.clone()))?.0);
        let (served, answers) = right.served_while(|| attack.wave(What::Guesses, part))?;
        attacked.push(served);
        tally.refused += answers.refused;
        tally.throttled += answers.throttled;
    }
    right.is_over.store(true, Relaxed);
    for client in clients {
        client.join().map_err(|_| "a client with the right token panicked")??;
    }
    let [alone, health, attacked] = [alone, health, attacked].map(median);
    println!(
        r#"{{"refused":{},"throttled":{},"alone":{alone:.0},"health":{health:.0},"attacked":{attacked:.0}}}"#,
        tally.refused, tally.throttled
    );
    Ok(())
}

/// Those that have the right token.
#[derive(Default)]
struct Right {
    answers: AtomicU64,
    is_over: AtomicBool,
}

impl Right {
    /// Asks without a pause until it is over.
    fn ask(&self, address: SocketAddr, request: &str) -> io::Result<()> {
        let mut connection = open(address, None)?;
        while !self.is_over.load(Relaxed) {
            match ask(&mut connection, request) {
                Ok(200) => self.answers.fetch_add(1, Relaxed),
                Ok(status) => return Err(io::Error::other(format!("a right token got {status}"))),
                Err(error) => return Err(error),
            };
        }
        Ok(())
    }

    /// How many of them are answered a second while this is done, and what came of it.
    fn served_while<T>(&self, deed: impl FnOnce() -> io::Result<T>) -> io::Result<(f64, T)> {
        let (began, before) = (Instant::now(), self.answers.load(Relaxed));
        let done = deed()?;
        let answers = self.answers.load(Relaxed) - before;
        Ok((answers as f64 / began.elapsed().as_secs_f64(), done))
    }
}

struct Attack {
    address: SocketAddr,
    sources: u32,
    rate: u32,
    is_forwarded: bool,
}

#[derive(Clone, Copy, PartialEq)]
enum What {
    Health,
    Guesses,
}

/// What guesses were answered.
#[derive(Default)]
struct Tally {
    refused: u64,
    throttled: u64,
}

impl Attack {
    /// Sends the requests of these numbers, and nothing else; each must be answered as it should.
    fn wave(&self, what: What, numbers: Range<u32>) -> io::Result<Tally> {
        let [refused, throttled] = [const { AtomicU64::new(0) }; 2];
        let next = AtomicU32::new(numbers.start);
        let began = Instant::now();
        let work = || -> io::Result<()> {
            loop {
                let first = next.fetch_add(PER_CONNECTION, Relaxed);
                let here = first..numbers.end.min(first.saturating_add(PER_CONNECTION));
                if here.is_empty() {
                    return Ok(());
                }
                let due = f64::from(first - numbers.start) / f64::from(self.rate);
                pause(Duration::from_secs_f64(due).saturating_sub(began.elapsed()))?;
                let source = first / PER_CONNECTION % self.sources;
                let from = (!self.is_forwarded).then(|| Ipv4Addr::from_bits(0x7f01_0000 + source));
                let mut connection = open(self.address, from)?;
                for number in here {
                    match (what, ask(&mut connection, &self.request(what, source, number))?) {
                        (What::Health, 200) => {}
                        (What::Guesses, 401) => drop(refused.fetch_add(1, Relaxed)),
                        (What::Guesses, 429) => drop(throttled.fetch_add(1, Relaxed)),
                        (_, status) => return Err(io::Error::other(format!("answered {status}"))),
                    }
                }
            }
        };
        thread::scope(|scope| {
            let attackers: Vec<_> = (0..ATTACKERS).map(|_| scope.spawn(work)).collect();
            attackers.into_iter().try_for_each(|attacker| {
                attacker.join().map_err(|_| io::Error::other("an attacker panicked"))?
            })
        })?;
        Ok(Tally { refused: refused.into_inner(), throttled: throttled.into_inner() })
    }

    fn request(&self, what: What, source: u32, number: u32) -> String {
        let client = Ipv4Addr::from_bits(0x0a00_0000 + source);
        let forwarded = match self.is_forwarded {
            true => format!("X-Forwarded-For: {client}\r\n"),
            false => String::new(),
        };
        match what {
            What::Health => format!("GET /health HTTP/1.1\r\nHost: localhost\r\n{forwarded}\r\n"),
            What::Guesses => list_agents(&format!("{number:043}"), &forwarded),
        }
    }
}

fn list_agents(token: &str, header: &str) -> String {
    format!(
        "GET /mcp/list_agents HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n{header}\r\n"
    )
}

/// Each address of `127.0.0.0/8` is this machine's: any can be where a connection comes from.
fn open(address: SocketAddr, from: Option<Ipv4Addr>) -> io::Result<BufReader<TcpStream>> {
    let socket = socket_with(AddressFamily::INET, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    if let Some(from) = from {
        bind(&socket, &SocketAddrV4::new(from, 0))?;
    }
    connect(&socket, &address)?;
    let connection = TcpStream::from(socket);
    connection.set_read_timeout(Some(PATIENCE))?;
    connection.set_nodelay(true)?;
    Ok(BufReader::new(connection))
}

/// Sends a request and reads its whole answer; the status.
fn ask(connection: &mut BufReader<TcpStream>, request: &str) -> io::Result<u16> {
    connection.get_mut().write_all(request.as_bytes())?;
    let mut line = String::new();
    connection.read_line(&mut line)?;
    let status = line.split(' ').nth(1).and_then(|status| status.parse().ok());
    let status = status.ok_or_else(|| io::Error::other(format!("answered {line:?}")))?;
    let mut length = 0;
    loop {
        line.clear();
        if connection.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        match line.trim_end().split_once(": ") {
            None => break,
            Some((name, value)) if name.eq_ignore_ascii_case("content-length") => {
                length = value.parse().map_err(io::Error::other)?;
            }
            Some(_) => {}
        }
    }
    io::copy(&mut connection.take(length), &mut io::sink())?;
    Ok(status)
}

#[expect(clippy::disallowed_methods, reason = "requests come at their time")]
#[expect(clippy::unnecessary_wraps, reason = "one of the deeds that can fail")]
fn pause(time: Duration) -> io::Result<()> {
    thread::sleep(time);
    Ok(())
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
