//! How fast the tools answer over HTTP with 10,000 agents that have 100 tasks each: the real daemon, one
//! client on one kept connection, so that what is measured is the time of one call.
//!
//! `cargo bench --bench tools`; takes about a minute, needs about 500 MB in `target/tmp`.

#![expect(clippy::print_stdout, reason = "it prints what it measures")]

mod sample;

use std::{
    error::Error,
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    path::Path,
    process::{Child, Command, Stdio},
    time::Instant,
};

use fleet_mcp::{
    app::ports::fleet_store::{Change, FleetStore as _},
    fleet::{AgentId, Entry, EntryKind},
    stores::FleetDb,
};
use jiff::Timestamp;
use tokio::task::JoinSet;

use self::sample::{agent, task};

type Outcome<T = ()> = Result<T, Box<dyn Error + Send + Sync>>;

const AGENTS: i64 = 10_000;
const TASKS_PER_AGENT: i64 = 100;
const ENTRIES: usize = 200;
const CALLS: usize = 2000;

fn main() -> Outcome {
    let home = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
    let start = Instant::now();
    tokio::runtime::Runtime::new()?.block_on(fill(&home.path().join(".fleet-mcp")))?;
    println!("{AGENTS} agents with {TASKS_PER_AGENT} tasks each written in {:?}", start.elapsed());
    let start = Instant::now();
    let daemon = Daemon::start(home.path())?;
    println!("the daemon was ready after {:?}, with {} MiB", start.elapsed(), daemon.memory()?);
    let mut client = daemon.client()?;
    let pages = AGENTS as usize / 100;
    client.measure("list_agents, page of 100", 100, |call| {
        let page = call % pages + 1;
        plain("list_agents", &format!("page={page}&page_size=100"))
    })?;
    client.measure("list_agents, page of 100, over MCP", 100, |call| {
        let page = call % pages + 1;
        mcp("list_agents", &format!(r#"{{"page":{page},"page_size":100}}"#))
    })?;
    client.measure("list_agents, page of 100 of one status", 100, |_| {
        plain("list_agents", "status_filter=idle&page=1&page_size=100")
    })?;
    client.measure("show_agent_task_history, first page of 20", 20, |call| {
        plain("show_agent_task_history", &format!("agent_name={}", name(call)))
    })?;
    client.measure("show_agent_task_history, last page of 20", 20, |call| {
        plain("show_agent_task_history", &format!("agent_name={}&page=5", name(call)))
    })?;
    client.measure("show_agent", 1, |call| {
        plain("show_agent", &format!("agent_name={}", name(call)))
    })?;
    client.measure("show_agent_log, page of 100", 100, |_| {
        plain("show_agent_log", "agent_name=a1&page_size=100")
    })?;
    println!("the daemon has {} MiB afterwards", daemon.memory()?);
    Ok(())
}

/// An agent that was not asked for lately.
fn name(call: usize) -> String {
    format!("a{}", 1 + call * 7919 % AGENTS as usize)
}

async fn fill(state: &Path) -> Outcome {
    let db = FleetDb::open(state)?;
    let mut pending = JoinSet::new();
    for id in 1..=AGENTS {
        let tasks = (0..TASKS_PER_AGENT).map(|nth| task((id - 1) * TASKS_PER_AGENT + nth + 1, id));
        pending.spawn(db.commit([agent(id)].into_iter().chain(tasks).collect()));
    }
    pending.spawn(db.commit(vec![entry(); ENTRIES]));
    while let Some(done) = pending.join_next().await {
        done??;
    }
    Ok(())
}

fn entry() -> Change {
    let entry = Entry { kind: EntryKind::Message, content: "x".repeat(120), joins: false };
    Change::Append { agent: AgentId(1), task: None, time: Timestamp::UNIX_EPOCH, entry }
}

/// The daemon in a home of its own; it ends with this value.
struct Daemon {
    child: Child,
    address: String,
    token: String,
}

impl Daemon {
    fn start(home: &Path) -> Outcome<Self> {
        let mut child = Command::new(env!("CARGO_BIN_EXE_fleet-mcp"))
            .env_clear()
            .envs(std::env::var_os("PATH").map(|path| ("PATH", path)))
            .env("HOME", home)
            .env("FLEET_MCP_LISTEN", "127.0.0.1:0")
            .env("FLEET_MCP_AUTH_ENABLED", "true")
            .env("FLEET_MCP_FLEET_MAX_AGENTS", AGENTS.to_string())
            .stderr(Stdio::piped())
            .spawn()?;
        let mut log = BufReader::new(child.stderr.take().ok_or("no log")?);
        let mut line = String::new();
        let address = loop {
            line.clear();
            if log.read_line(&mut line)? == 0 {
                return Err("the daemon did not start".into());
            }
            if let Some((_, address)) = line.trim_end().split_once("started on http://") {
                break address.to_owned();
            }
        };
        // Its log is read, so that it never waits for us.
        std::thread::spawn(move || log.lines().for_each(drop));
        let file = fs::read_to_string(home.join(".fleet-mcp/auth_token"))?;
        let file: serde_json::Value = serde_json::from_str(&file)?;
        let token = file["value"].as_str().ok_or("no token")?.to_owned();
        Ok(Self { child, address, token })
    }

    fn memory(&self) -> Outcome<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("no VmRSS")?;
        Ok(line.trim().trim_end_matches(" kB").parse::<u64>()? / 1024)
    }

    fn client(&self) -> Outcome<Client> {
        let stream = TcpStream::connect(&self.address)?;
        stream.set_nodelay(true)?;
        Ok(Client { reader: BufReader::new(stream), token: self.token.clone() })
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A request without its token: the line, more headers, and the body.
type Call = (String, &'static str, String);

fn plain(tool: &str, query: &str) -> Call {
    (format!("GET /mcp/{tool}?{query} HTTP/1.1"), "", String::new())
}

fn mcp(tool: &str, arguments: &str) -> Call {
    let headers = "Content-Type: application/json\r\nAccept: application/json, text/event-stream\r\n\
                   MCP-Protocol-Version: 2025-06-18\r\n";
    let call = format!(
        r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"{tool}","arguments":{arguments}}}}}"#
    );
    ("POST /mcp HTTP/1.1".to_owned(), headers, call)
}

struct Client {
    reader: BufReader<TcpStream>,
    token: String,
}

impl Client {
    /// Calls again and again. Each answer has to have this many entries.
    fn measure(&mut self, what: &str, entries: usize, call: impl Fn(usize) -> Call) -> Outcome {
        let mut times = Vec::with_capacity(CALLS);
        let mut size = 0;
        for nth in 0..CALLS {
            let start = Instant::now();
            let body = self.ask(&call(nth))?;
            times.push(start.elapsed());
            size = body.len();
            let text = String::from_utf8(body)?;
            // Over MCP it is there twice: as text, with its quotes escaped, and as it is.
            let found =
                text.matches("\"created_at\":").count().max(text.matches("\"time\":").count());
            if found < entries {
                return Err(format!("{what}: {found} entries in {text}").into());
            }
        }
        times.sort_unstable();
        let at = |part: f64| times[((times.len() - 1) as f64 * part) as usize];
        println!(
            "  {what}: median {:?}, p99 {:?}, longest {:?}; {size} bytes",
            at(0.5),
            at(0.99),
            at(1.0)
        );
        Ok(())
    }

    fn ask(&mut self, (line, headers, body): &Call) -> Outcome<Vec<u8>> {
        let request = format!(
            "{line}\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {}\r\n{headers}Content-Length: {}\r\n\r\n{body}",
            self.token,
            body.len()
        );
        self.reader.get_mut().write_all(request.as_bytes())?;
        let (mut length, mut chunked) = (None, false);
        let mut line = String::new();
        loop {
            line.clear();
            self.reader.read_line(&mut line)?;
            let lower = line.trim_end().to_ascii_lowercase();
            if lower.starts_with("http/1.1") && !lower.contains(" 200 ") {
                return Err(lower.into());
            }
            length =
                lower.strip_prefix("content-length:").map_or(length, |n| n.trim().parse().ok());
            chunked |= lower == "transfer-encoding: chunked";
            if lower.is_empty() {
                break;
            }
        }
        let mut body = Vec::new();
        while chunked {
            line.clear();
            self.reader.read_line(&mut line)?;
            let size = usize::from_str_radix(line.trim_end(), 16)?;
            self.take(size, &mut body)?;
            line.clear();
            self.reader.read_line(&mut line)?;
            chunked = size > 0;
        }
        if let Some(length) = length {
            self.take(length, &mut body)?;
        }
        Ok(body)
    }

    fn take(&mut self, size: usize, body: &mut Vec<u8>) -> Outcome {
        let from = body.len();
        body.resize(from + size, 0);
        self.reader.read_exact(&mut body[from..])?;
        Ok(())
    }
}
