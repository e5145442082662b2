//! Runs a program once a task: what it writes is the conversation. Whether it did well is what its
//! exit status says, and that is its host's to tell.

use std::{collections::VecDeque, sync::Arc};

use tokio::sync::mpsc;

use super::{
    noise::Noise,
    told::{Told, writable},
};
use crate::{
    agents::io::{AgentIo, AgentLine, Stream},
    app::{
        clock::Clock,
        ports::sessions::{News, Report},
    },
    fleet::{AgentId, Entry, EntryKind},
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
    /// Lines for its standard input, which ends after them.
    pub input: Vec<String>,
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
        let input = task.lines().map(str::to_owned).collect();
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
        _ => Ok(Run { arguments, input: Vec::new() }),
    }
}

/// Serves one run: gives the program its input, and reports its lines until they end or nobody takes
/// reports any longer.
///
/// Not cancellation safe: what was read and not yet reported is lost.
pub async fn drive(
    io: AgentIo,
    agent: AgentId,
    input: Vec<String>,
    clock: Arc<dyn Clock>,
    reports: mpsc::Sender<Report>,
) {
    let AgentIo { mut lines, input: sender } = io;
    let mut unwritten = VecDeque::from(input);
    let mut sender = Some(sender);
    let mut told = Told::new(agent);
    let mut noise = Noise::default();
    let mut heard_all = false;
    while !heard_all || !told.reports.is_empty() {
        if unwritten.is_empty() {
            sender = None;
        }
        tokio::select! {
            permit = reports.reserve(), if !told.reports.is_empty() => {
                let Ok(permit) = permit else { return };
                if let Some(report) = told.reports.pop_front() {
                    permit.send(report);
                }
            }
            permit = writable(sender.as_ref()), if !unwritten.is_empty() => match permit {
                Some(permit) => {
                    if let Some(line) = unwritten.pop_front() {
                        permit.send(line);
                    }
                }
                // It needn't read all of its input.
                None => unwritten.clear(),
            },
            line = lines.recv(), if !heard_all && told.reports.is_empty() => match line {
                Some(AgentLine { stream: Stream::Out, text, receipt }) => {
                    told.add([News::Said(output(&text))], Some(receipt));
                }
                Some(AgentLine { stream: Stream::Err, text, receipt }) => {
                    let entry = noise.hear(&text, clock.now());
                    told.add(entry.map(News::Said), Some(receipt));
                }
                None => {
                    heard_all = true;
                    told.add(noise.end().map(News::Said), None);
                }
            },
        }
    }
}

/// Ends its line itself, so that the next one begins a new one.
fn output(line: &str) -> Entry {
    Entry { kind: EntryKind::Message, content: format!("{line}\n"), joins: true }
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

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
        assert_eq!(run.input, Vec::<String>::new());
    }

    #[test]
    fn without_its_word_the_task_goes_to_standard_input() {
        let run = run(&arguments(&["exec", "-"]), "one\ntwo\n").unwrap();

        assert_eq!(run.arguments, ["exec", "-"]);
        assert_eq!(run.input, ["one", "two"]);
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
        let (out, lines) = mpsc::channel(8);
        let (input, mut written) = mpsc::channel(1);
        let (reports, mut told) = mpsc::channel(1);
        let task = vec!["one".to_owned(), "two".to_owned()];
        let clock = Arc::new(SystemClock);
        let driver =
            tokio::spawn(drive(AgentIo { lines, input }, AgentId(7), task, clock, reports));
        let (receipt, mut committed) = oneshot::channel();

        assert_eq!(written.recv().await.as_deref(), Some("one"));
        assert_eq!(written.recv().await.as_deref(), Some("two"));
        assert_eq!(written.recv().await, None);
        let line = |stream, receipt| AgentLine { stream, text: "hi".to_owned(), receipt };
        out.send(line(Stream::Out, receipt)).await.unwrap();
        let said = told.recv().await.unwrap();
        assert!(matches!(&said.news, News::Said(entry)
            if entry.kind == EntryKind::Message && entry.content == "hi\n" && entry.joins));
        assert!(committed.try_recv().is_err());
        said.receipt.unwrap().send(()).unwrap();
        committed.await.unwrap();
        out.send(line(Stream::Err, oneshot::channel().0)).await.unwrap();
        let said = told.recv().await.unwrap();
        assert!(matches!(said.news, News::Said(entry) if entry.kind == EntryKind::Diagnostic));
        drop(out);
        driver.await.unwrap();

        assert!(told.recv().await.is_none());
    }
}
