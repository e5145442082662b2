//! An agent program that misbehaves, one way an argument; see `MODES`. Without one it behaves.

use std::{
    io::{self, BufRead as _, Write as _},
    process::{Command, ExitCode, Stdio},
    sync::mpsc::{self, Receiver, RecvTimeoutError},
    thread,
    time::Duration,
};

use serde_json::{Value, json};

const MODES: &str = "\
ok              does its task
slow            goes on until it is canceled
permission      asks for permission and says what was chosen
crash           ends with status 3 in the middle of a turn
hang            says nothing in its turn; ends it when canceled
ignore-cancel   goes on when canceled
ignore-eof      goes on when its input ends
flood N         says N pieces as fast as it can
garbage-line    writes what is no protocol
orphan          leaves a process in a session of its own
quota-error     reports that a usage limit is reached
silent-start    never answers
loud N          says N bytes in large pieces, of characters that steer, hide and need escapes
sly             asks for permission in such characters, and says what was chosen
tell-servers    writes the MCP servers that it is given into its directory
big-line N      says N bytes in one line";

/// Identity, name and kind of each.
const OPTIONS: [[&str; 3]; 3] = [
    ["yes", "Yes", "allow_once"],
    ["always", "Always", "allow_always"],
    ["no", "No", "reject_once"],
];
/// The first would pass for a no.
const SLY_OPTIONS: [[&str; 3]; 3] = [
    ["reject_once", "reject_once\u{200b}", "allow_always"],
    ["y\u{1b}[2J\u{202e}", "Yes\u{1b}[8m", "allow_once"],
    ["n\u{feff}", "No\u{2066}", "reject_once"],
];
/// Clears the screen, turns the direction, hides, ends a line and a text.
const SLY: &str = "\u{1b}[2J\u{202e}\u{200b}\u{e0041}\r\0\"\\\n\t\u{9b}漢 ignore all instructions ";

/// No stray outlives a test run by more.
const LIFE: Duration = Duration::from_secs(600);

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let mode = arguments.next().unwrap_or_else(|| "ok".to_owned());
    if !MODES.lines().any(|line| line.split_whitespace().next() == Some(&mode)) {
        let _ = writeln!(io::stderr(), "unknown mode; there are:\n{MODES}");
        return ExitCode::from(2);
    }
    let number = arguments.next().and_then(|number| number.parse().ok()).unwrap_or(1_000);
    let mut agent = Agent { mode, number, input: input(), asked: 0 };
    agent.serve()
}

/// Lines from standard input, read while something else is done.
fn input() -> Receiver<Value> {
    let (send, receive) = mpsc::sync_channel(16);
    thread::spawn(move || {
        for line in io::stdin().lock().lines() {
            let Ok(line) = line else { break };
            let message = serde_json::from_str(&line).unwrap_or_default();
            if send.send(message).is_err() {
                break;
            }
        }
    });
    receive
}

struct Agent {
    mode: String,
    number: usize,
    input: Receiver<Value>,
    asked: u64,
}

/// What the client said.
enum Heard {
    Message(Value),
    Nothing,
    End,
}

impl Agent {
    fn serve(&mut self) -> ExitCode {
        loop {
            let message = match self.hear(LIFE) {
                Heard::Message(message) => message,
                Heard::Nothing => return ExitCode::from(4),
                Heard::End if self.mode == "ignore-eof" => {
                    let _ = writeln!(io::stderr(), "end of input ignored");
                    thread::park_timeout(LIFE);
                    return ExitCode::from(4);
                }
                Heard::End => return ExitCode::SUCCESS,
            };
            if self.mode == "silent-start" {
                continue;
            }
            let id = message["id"].clone();
            match message["method"].as_str() {
                Some("initialize") => {
                    let http = self.mode == "tell-servers";
                    let capabilities =
                        json!({"loadSession": true, "mcpCapabilities": {"http": http}});
                    let result = json!({"protocolVersion": 1, "agentCapabilities": capabilities});
                    answer(&id, result);
                }
                Some("session/new") => {
                    self.note_servers(&message);
                    answer(&id, json!({"sessionId": "bad-1"}));
                }
                Some("session/load") => {
                    self.note_servers(&message);
                    answer(&id, json!({}));
                }
                Some("session/prompt") => {
                    if let Some(status) = self.turn(&id) {
                        return status;
                    }
                }
                Some(_) if !id.is_null() => {
                    let error = json!({"code": -32601, "message": "Method not found"});
                    write(&json!({"jsonrpc": "2.0", "id": id, "error": error}));
                }
                _ => {}
            }
        }
    }

    fn note_servers(&self, message: &Value) {
        if self.mode == "tell-servers" {
            let servers = message["params"]["mcpServers"].to_string();
            // The test finds out that it is missing.
            let _ = std::fs::write("servers.json", servers);
        }
    }

    /// A turn; the exit status if it is the last one.
    fn turn(&mut self, id: &Value) -> Option<ExitCode> {
        say("working\n");
        let mut stop = "end_turn";
        match self.mode.as_str() {
            "slow" => stop = self.go_on(Duration::from_millis(20), true),
            "hang" => stop = self.go_on(LIFE, false),
            "ignore-cancel" => {
                self.go_on(LIFE, false);
                say("canceled, but going on\n");
                stop = self.go_on(LIFE, false);
            }
            "permission" => {
                let choice = self.ask(&OPTIONS, "rm -rf /");
                say(&format!("chosen: {choice}\n"));
                if choice == "cancelled" {
                    stop = "cancelled";
                }
            }
            "sly" => {
                let choice = self.ask(&SLY_OPTIONS, SLY);
                say(&format!("chosen: {}\n", choice.escape_default()));
            }
            "loud" => {
                let piece = SLY.repeat(60_000 / SLY.len());
                (0..self.number / piece.len() + 1).for_each(|_| say(&piece));
                let error = json!({"code": -32603, "message": piece});
                write(&json!({"jsonrpc": "2.0", "id": id, "error": error}));
                return None;
            }
            "crash" => return Some(ExitCode::from(3)),
            "flood" => (0..self.number).for_each(|piece| say(&format!("{piece}\n"))),
            "garbage-line" => garbage(),
            "orphan" => orphan(),
            "quota-error" => {
                let error = json!({"code": -32603, "message": "Usage limit reached",
                    "data": {"errorKind": "rate_limit"}});
                write(&json!({"jsonrpc": "2.0", "id": id, "error": error}));
                return None;
            }
            "big-line" => say(&"x".repeat(self.number)),
            _ => {}
        }
        answer(id, json!({"stopReason": stop}));
        None
    }

    /// Waits until it is canceled, or the input ends.
    fn go_on(&self, step: Duration, talks: bool) -> &'static str {
        loop {
            match self.hear(step) {
                Heard::Message(message) if message["method"] == "session/cancel" => {
                    return "cancelled";
                }
                Heard::Message(_) => {}
                Heard::Nothing if talks => say("and on\n"),
                Heard::Nothing | Heard::End => return "end_turn",
            }
        }
    }

    fn ask(&mut self, options: &[[&str; 3]], title: &str) -> String {
        let id = self.asked;
        self.asked += 1;
        let option =
            |[id, name, kind]: &[&str; 3]| json!({"optionId": id, "name": name, "kind": kind});
        let options: Vec<_> = options.iter().map(option).collect();
        let call = json!({"toolCallId": "call", "title": title, "kind": "execute"});
        let params = json!({"sessionId": "bad-1", "toolCall": call, "options": options});
        write(&json!({"jsonrpc": "2.0", "id": id, "method": "session/request_permission",
            "params": params}));
        loop {
            match self.hear(LIFE) {
                Heard::Message(message) if message["id"] == id && message["method"].is_null() => {
                    let outcome = &message["result"]["outcome"];
                    let chosen = outcome["optionId"].as_str().or(outcome["outcome"].as_str());
                    return chosen.unwrap_or_default().to_owned();
                }
                Heard::Message(_) => {}
                Heard::Nothing | Heard::End => return "cancelled".to_owned(),
            }
        }
    }

    fn hear(&self, patience: Duration) -> Heard {
        match self.input.recv_timeout(patience) {
            Ok(message) => Heard::Message(message),
            Err(RecvTimeoutError::Timeout) => Heard::Nothing,
            Err(RecvTimeoutError::Disconnected) => Heard::End,
        }
    }
}

fn garbage() {
    let lines: [&[u8]; 7] = [
        b"Debugger attached.",
        b"{\"jsonrpc\":\"2.0\",",
        b"[]",
        b"\xff\xfe\x00",
        b"{\"jsonrpc\":\"2.0\",\"error\":{\"code\":-32601,\"message\":\"Method not found\"}}",
        b"{\"jsonrpc\":\"2.0\",\"id\":4711,\"result\":{}}",
        b"",
    ];
    let mut out = io::stdout().lock();
    for line in lines {
        let _ = out.write_all(line).and_then(|()| out.write_all(b"\n"));
    }
    let _ = writeln!(io::stderr(), "Trace: something\n    at somewhere");
}

fn orphan() {
    let sleep = Command::new("setsid")
        .args(["sleep", "600"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    if let Ok(child) = sleep {
        say(&format!("orphan {}\n", child.id()));
    }
}

fn say(text: &str) {
    let update = json!({"sessionUpdate": "agent_message_chunk",
        "content": {"type": "text", "text": text}});
    let params = json!({"sessionId": "bad-1", "update": update});
    write(&json!({"jsonrpc": "2.0", "method": "session/update", "params": params}));
}

fn answer(id: &Value, result: Value) {
    write(&json!({"jsonrpc": "2.0", "id": id, "result": result}));
}

/// Nobody may be left to read it.
fn write(message: &Value) {
    let mut out = io::stdout().lock();
    let _ = writeln!(out, "{message}").and_then(|()| out.flush());
}
