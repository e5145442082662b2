//! Clients that never retry: half of the requests come on new connections, half on kept ones.
//!
//! `load ADDRESS RATE SECONDS < TOKEN` asks for `/mcp/list_agents` so often a second for so long, and prints one line of JSON: what was
//! sent and what failed, by kind of connection; kept connections that were closed after an answer that said so, and that
//! were not (`rude`); the time between the first failure and the last; the longest time in which no
//! client got an answer, and the longest wait for one.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "the report is its purpose")]

use std::{
    env,
    io::{self, BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    sync::{Arc, Barrier},
    thread,
    time::{Duration, Instant},
};

/// Clients of each kind: so many that one answer that takes a second holds back few requests.
const CLIENTS: u32 = 100;
/// Longer than a restart may take.
const PATIENCE: Duration = Duration::from_secs(20);

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = env::args().skip(1);
    let mut next = || arguments.next().ok_or("usage: load ADDRESS RATE SECONDS < TOKEN");
    let address: SocketAddr = next()?.parse()?;
    let rate: u32 = next()?.parse()?;
    let time = Duration::from_secs(next()?.parse()?);
    let mut token = String::new();
    io::stdin().read_to_string(&mut token)?;
    let request: Arc<str> = format!(
        "GET /mcp/list_agents HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {}\r\n",
        token.trim()
    )
    .into();
    let pause = Duration::from_secs(1) * (2 * CLIENTS) / rate;
    let begin = Arc::new(Barrier::new(2 * CLIENTS as usize));
    let clients: Vec<_> = (0..2 * CLIENTS)
        .map(|number| {
            let (begin, request) = (Arc::clone(&begin), Arc::clone(&request));
            thread::spawn(move || {
                begin.wait();
                let start = Instant::now() + pause * number / (2 * CLIENTS);
                let client = Client { address, request, kept: None, report: Report::default() };
                client.work(number % 2 == 0, start, pause, time)
            })
        })
        .collect();
    let mut all = [Report::default(), Report::default()];
    let (mut answers, mut failures) = (Vec::new(), Vec::new());
    for (number, client) in clients.into_iter().enumerate() {
        let report = client.join().map_err(|_| "a client ended early")?;
        answers.extend_from_slice(&report.answers);
        failures.extend_from_slice(&report.failures);
        all[number % 2].add(report);
    }
    answers.sort_unstable();
    failures.sort_unstable();
    let failing = failures.last().zip(failures.first()).map(|(last, first)| *last - *first);
    let gap = answers.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or_default();
    let [kept, new] = &all;
    println!(
        r#"{{"kept":{{"sent":{},"failed":{}}},"new":{{"sent":{},"failed":{}}},"polite":{},"rude":{},"failing_ms":{},"gap_ms":{},"wait_ms":{}}}"#,
        kept.sent,
        kept.failed,
        new.sent,
        new.failed,
        kept.polite,
        kept.rude,
        failing.unwrap_or_default().as_millis(),
        gap.as_millis(),
        kept.wait.max(new.wait).as_millis()
    );
    Ok(())
}

#[derive(Default)]
struct Report {
    sent: u64,
    failed: u64,
    polite: u64,
    rude: u64,
    wait: Duration,
    answers: Vec<Instant>,
    failures: Vec<Instant>,
}

impl Report {
    fn add(&mut self, other: Self) {
        self.sent += other.sent;
        self.failed += other.failed;
        self.polite += other.polite;
        self.rude += other.rude;
        self.wait = self.wait.max(other.wait);
    }
}

struct Client {
    address: SocketAddr,
    request: Arc<str>,
    kept: Option<BufReader<TcpStream>>,
    report: Report,
}

impl Client {
    fn work(mut self, keeps: bool, start: Instant, pause: Duration, time: Duration) -> Report {
        let mut due = start;
        while due < start + time {
            #[expect(clippy::disallowed_methods, reason = "a request comes at its time")]
            thread::sleep(due.saturating_duration_since(Instant::now()));
            let sent = Instant::now();
            self.report.sent += 1;
            match self.ask(keeps) {
                Ok(()) => {
                    self.report.answers.push(Instant::now());
                    self.report.wait = self.report.wait.max(sent.elapsed());
                }
                Err(error) => {
                    eprintln!("{} connection: {error}", if keeps { "kept" } else { "new" });
                    self.report.failed += 1;
                    self.report.failures.push(Instant::now());
                    self.kept = None;
                }
            }
            due += pause;
        }
        self.report
    }

    fn ask(&mut self, keeps: bool) -> io::Result<()> {
        let kept = self.kept.take().filter(|kept| {
            let is_open = is_open(kept.get_ref());
            self.report.rude += u64::from(!is_open);
            is_open
        });
        let mut connection = match kept {
            Some(kept) => kept,
            None => connect(self.address)?,
        };
        let ending = if keeps { "\r\n" } else { "Connection: close\r\n\r\n" };
        let request = [&*self.request, ending].concat();
        let answer = connection.get_mut().write_all(request.as_bytes());
        let closes = answer.and_then(|()| answered(&mut connection))?;
        if keeps && closes {
            self.report.polite += 1;
        } else if keeps {
            self.kept = Some(connection);
        }
        Ok(())
    }
}

/// Whether the other side has not hung up on a connection on which nothing is under way. Every
/// client that keeps connections looks, before it uses one again.
fn is_open(connection: &TcpStream) -> bool {
    let asked = connection.set_nonblocking(true).and_then(|()| connection.peek(&mut [0]));
    let is_open = asked.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock);
    is_open && connection.set_nonblocking(false).is_ok()
}

fn connect(address: SocketAddr) -> io::Result<BufReader<TcpStream>> {
    let connection = TcpStream::connect(address)?;
    connection.set_read_timeout(Some(PATIENCE))?;
    connection.set_nodelay(true)?;
    Ok(BufReader::new(connection))
}

/// Reads an answer, which must be good; whether it says that the connection closes.
fn answered(connection: &mut BufReader<TcpStream>) -> io::Result<bool> {
    let mut line = String::new();
    connection.read_line(&mut line)?;
    if !line.starts_with("HTTP/1.1 200 ") {
        return Err(io::Error::other(format!("answered {line:?}")));
    }
    let (mut length, mut closes) = (0, false);
    loop {
        line.clear();
        if connection.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let header = line.trim_end().to_ascii_lowercase();
        match header.split_once(':') {
            None => break,
            Some(("content-length", value)) => length = value.trim().parse().unwrap_or(0),
            Some(("connection", value)) => closes = value.trim() == "close",
            Some(_) => {}
        }
    }
    io::copy(&mut connection.take(length), &mut io::sink())?;
    Ok(closes)
}
