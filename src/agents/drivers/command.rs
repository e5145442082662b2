//! Runs a program once a task: what it writes is the conversation. Whether it did well is what its
//! exit status says, and that is its host's to tell.

use std::{sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use super::{noise::Noise, told::Told};
use crate::{
    agents::{
        host::frames::End,
        io::{AgentIo, Heard, Resumed, Say, Stream, What},
    },
    app::{
        clock::Clock,
        ports::sessions::{News, Order, Outcome},
    },
    fleet::{Entry, EntryKind},
};

/// What stands for the task in a program's arguments.
pub const TASK: &str = "{task}";

/// Longest argument that Linux passes on, with its end: `MAX_ARG_STRLEN`.
const ARGUMENT_BYTES: usize = 128 * 1024 - 1;

/// One run of the program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// Its arguments, with the task in its place.
    pub arguments: Vec<String>,
    /// For its standard input, which ends after it.
    pub input: Option<String>,
}

/// The run for a task: the task replaces every [`TASK`] in the arguments; without one it goes to
/// standard input.
///
/// A task can begin with `-`: a program that could take it for an option wants `--` before it, or
/// `--option={task}`.
///
/// # Errors
/// The task is too long for an argument; in words.
pub fn run(arguments: &[String], task: &str) -> Result<Run, String> {
    if !arguments.iter().any(|argument| argument.contains(TASK)) {
        let input = (!task.is_empty()).then(|| task.trim_end_matches('\n').to_owned());
        return Ok(Run { arguments: arguments.to_vec(), input });
    }
    // An argument can't hold a NUL.
    let task = task.replace('\0', "\u{FFFD}");
    let arguments: Vec<String> =
        arguments.iter().map(|argument| argument.replace(TASK, &task)).collect();
    match arguments.iter().map(String::len).max() {
        Some(longest) if longest > ARGUMENT_BYTES => Err(format!(
            "the task is too long for an argument ({longest} bytes; at most {ARGUMENT_BYTES}); \
             without `{TASK}` in the arguments it goes to standard input, where any length fits"
        )),
        _ => Ok(Run { arguments, input: None }),
    }
}

/// Serves a session of a program: runs it once a task, until there are no more orders and it has
/// ended, or nobody takes steps any longer. Goes on where a former daemon was, if that is known.
///
/// Not cancellation safe: what was heard and not yet reported is lost.
///
/// # Errors
/// What a former daemon has stored can't be understood; in words.
pub async fn drive(
    io: AgentIo,
    arguments: Vec<String>,
    from: Option<Resumed>,
    mut orders: mpsc::Receiver<Order>,
    clock: Arc<dyn Clock>,
) -> Result<(), String> {
    let AgentIo { mut heard, steps } = io;
    let (mut runs, mut told) = match from {
        None => {
            let mut told = Told::default();
            told.add([News::Opened { session: None }]);
            (Runs::new(arguments, Saved::default()), told)
        }
        Some(Resumed { heard, obeyed, state }) => {
            let saved = serde_json::from_str(&state)
                .map_err(|_| "its run was stored by another version".to_owned())?;
            (Runs::new(arguments, saved), Told::after(heard, obeyed))
        }
    };
    let mut heard_all = false;
    while told.is_due() || !(heard_all || runs.are_over()) {
        tokio::select! {
            permit = steps.reserve(), if told.is_due() => {
                let Ok(permit) = permit else { return Ok(()) };
                permit.send(told.take(std::mem::take(&mut runs.says), runs.state()));
            }
            order = orders.recv(), if !runs.closing => match order {
                Some(order) => told.obey(runs.obey(order)),
                None => {
                    runs.closing = true;
                    told.add(None);
                }
            },
            what = heard.recv(), if !heard_all && !told.is_full() => match what {
                Some(Heard { number, what }) => {
                    told.hear(number, runs.hear(what, clock.as_ref()));
                }
                None => heard_all = true,
            },
        }
    }
    Ok(())
}

/// A session's runs, one at a time.
struct Runs {
    arguments: Vec<String>,
    /// For the host.
    says: Vec<Say>,
    /// There will be no further orders, and nobody asks how the present run ends.
    closing: bool,
    now: Saved,
}

/// What the next daemon has to know.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Saved {
    turn: Option<Turn>,
    noise: Noise,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Turn {
    canceled: bool,
}

impl Runs {
    fn new(arguments: Vec<String>, now: Saved) -> Self {
        Self { arguments, says: Vec::new(), closing: false, now }
    }

    /// Whether none runs, and none will.
    fn are_over(&self) -> bool {
        self.closing && self.now.turn.is_none()
    }

    fn state(&self) -> Option<String> {
        if self.closing { None } else { serde_json::to_string(&self.now).ok() }
    }

    fn obey(&mut self, order: Order) -> Option<News> {
        match (order, &mut self.now.turn) {
            (Order::Prompt { text }, None) => match run(&self.arguments, &text) {
                Ok(Run { arguments, input }) => {
                    self.now.turn = Some(Turn { canceled: false });
                    self.says.push(Say::Start(arguments));
                    self.says.extend(input.map(Say::Line));
                    self.says.push(Say::CloseInput);
                    None
                }
                Err(why) => Some(News::TurnEnded(Outcome::Failed(why))),
            },
            (Order::Cancel, Some(turn)) => {
                turn.canceled = true;
                self.says.push(Say::Stop(Duration::ZERO));
                None
            }
            // No other order means anything to a command.
            _ => None,
        }
    }

    fn hear(&mut self, what: What, clock: &dyn Clock) -> Vec<News> {
        match what {
            What::Started => Vec::new(),
            What::Failed(why) => self.end_turn(Outcome::Failed(why)),
            What::Line(Stream::Out, text) => vec![News::Said(output(&text))],
            What::Line(Stream::Err, text) => {
                self.now.noise.hear(&text, clock.now()).map(News::Said).into_iter().collect()
            }
            What::Ended(end) => self.end_turn(outcome(&end)),
        }
    }

    fn end_turn(&mut self, outcome: Outcome) -> Vec<News> {
        let mut news: Vec<News> = self.now.noise.end().map(News::Said).into_iter().collect();
        let turn = self.now.turn.take().filter(|_| !self.closing);
        news.extend(
            turn.map(|turn| match outcome {
                Outcome::Failed(_) | Outcome::Done if turn.canceled => Outcome::Canceled,
                outcome => outcome,
            })
            .map(News::TurnEnded),
        );
        news
    }
}

/// How a turn went, from how its program ended.
fn outcome(end: &End) -> Outcome {
    match end {
        End { code: Some(0), .. } => Outcome::Done,
        end => Outcome::Failed(end.in_words()),
    }
}

/// Ends its line itself, so that the next one begins a new one.
fn output(line: &str) -> Entry {
    Entry { kind: EntryKind::Message, content: format!("{line}\n"), joins: true }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::clock::SystemClock;

    fn arguments(arguments: &[&str]) -> Vec<String> {
        arguments.iter().map(|&argument| argument.to_owned()).collect()
    }

    #[test]
    fn the_task_replaces_its_word_wherever_it_stands() {
        let run =
            run(&arguments(&["-p", "{task}", "--note=a {task} b {task}"]), "{task} x").unwrap();

        assert_eq!(run.arguments, ["-p", "{task} x", "--note=a {task} x b {task} x"]);
        assert_eq!(run.input, None);
    }

    #[test]
    fn without_its_word_the_task_goes_to_standard_input() {
        let run = run(&arguments(&["exec", "-"]), "one\ntwo\n").unwrap();

        assert_eq!(run.arguments, ["exec", "-"]);
        assert_eq!(run.input.as_deref(), Some("one\ntwo"));
    }

    #[test]
    fn a_task_that_no_argument_can_hold_is_refused() {
        let task = "x".repeat(128 * 1024);

        assert!(run(&arguments(&["{task}"]), &task).unwrap_err().contains("standard input"));
        assert!(run(&arguments(&["-"]), &task).is_ok());
        assert_eq!(run(&arguments(&["{task}"]), "a\0b").unwrap().arguments, ["a\u{FFFD}b"]);
    }

    #[tokio::test]
    async fn lines_become_entries_and_input_ends_after_the_task() {
        let (out, heard) = mpsc::channel(8);
        let (steps, mut told) = mpsc::channel(1);
        let (order, orders) = mpsc::channel(1);
        let io = AgentIo { heard, steps };
        let driver =
            tokio::spawn(drive(io, arguments(&["-"]), None, orders, Arc::new(SystemClock)));
        let opened = told.recv().await.unwrap();
        assert!(matches!(opened.news[..], [News::Opened { session: None }]));

        order.send(Order::Prompt { text: "one\ntwo\n".to_owned() }).await.unwrap();
        let begun = told.recv().await.unwrap();
        assert_eq!(begun.obeyed, 1);
        let [Say::Start(_), Say::Line(input), Say::CloseInput] = &begun.says[..] else {
            panic!("{begun:?}")
        };
        assert_eq!(input, "one\ntwo");
        let line = |number, stream| Heard { number, what: What::Line(stream, "hi".to_owned()) };
        out.send(line(3, Stream::Out)).await.unwrap();
        let said = told.recv().await.unwrap();
        assert!(matches!(&said.news[..], [News::Said(entry)]
            if entry.kind == EntryKind::Message && entry.content == "hi\n" && entry.joins));
        assert_eq!(said.heard, 3);
        out.send(line(4, Stream::Err)).await.unwrap();
        let said = told.recv().await.unwrap();
        assert!(
            matches!(&said.news[..], [News::Said(entry)] if entry.kind == EntryKind::Diagnostic)
        );
        drop(out);
        driver.await.unwrap().unwrap();

        assert!(told.recv().await.is_none());
    }

    #[tokio::test]
    async fn a_run_goes_on_where_a_former_daemon_was() {
        let (out, heard) = mpsc::channel(8);
        let (steps, mut told) = mpsc::channel(1);
        let (_order, orders) = mpsc::channel(1);
        let saved = Saved { turn: Some(Turn { canceled: true }), noise: Noise::default() };
        let state = serde_json::to_string(&saved).unwrap();
        let from = Some(Resumed { heard: 8, obeyed: 2, state });
        let io = AgentIo { heard, steps };
        tokio::spawn(drive(io, Vec::new(), from, orders, Arc::new(SystemClock)));

        let end = End { code: None, signal: Some(15), out_of_memory: false, ordered: true };
        out.send(Heard { number: 9, what: What::Ended(end) }).await.unwrap();
        let step = told.recv().await.unwrap();

        assert!(matches!(step.news[..], [News::TurnEnded(Outcome::Canceled)]));
        assert_eq!((step.heard, step.obeyed), (9, 2));
    }
}
