//! `fleetctl agent`

use std::time::Duration;

use clap::Subcommand;
use serde_json::{Map, Value, json};

use super::{
    failure::Failure,
    output::{Output, safe, short},
    project::{list, text},
    token::in_path,
};
use crate::control::{
    api::{self, LogLine, LogTail},
    client::Client,
};

#[derive(Debug, Subcommand)]
pub(super) enum AgentVerb {
    /// Create an agent and give it its first task
    Create {
        /// Its name: a-z, 0-9 and hyphens
        name: String,
        /// What is to be done
        task: String,
        /// The project to work on
        #[arg(long, short)]
        project: String,
        /// How to work [default: the project's default role]
        #[arg(long, short)]
        role: Option<String>,
    },
    /// List the agents
    List {
        /// Only those with this status
        #[arg(long)]
        status: Option<String>,
        /// Only those of this project
        #[arg(long)]
        project: Option<String>,
    },
    /// Show an agent with its newest task
    Show {
        /// The agent
        agent: String,
    },
    /// Wait until an agent's task has ended or needs an answer
    Wait {
        /// The agent
        agent: String,
        /// How long, in seconds
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=600))]
        timeout: u32,
    },
    /// Answer the question that an agent waits with
    Answer {
        /// The agent
        agent: String,
        /// The answer: the id or the kind of a choice, such as `allow_once` or `reject_once`
        choice: String,
        /// The question [default: the present one]
        #[arg(long)]
        question: Option<String>,
    },
    /// End an agent's program and start it anew
    Restart {
        /// The agent
        agent: String,
    },
    /// Publish an agent's branch, and print how to fetch it
    Publish {
        /// The agent
        agent: String,
    },
    /// Delete an agent with its workspace and its history; its work is published before
    Delete {
        /// The agent
        agent: String,
    },
    /// Print an agent's conversation
    Logs {
        /// The agent
        agent: String,
        /// Go on printing what is added
        #[arg(long, short)]
        follow: bool,
        /// How many of the newest entries
        #[arg(short = 'n', long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=100))]
        limit: u32,
    },
}

/// Most characters of a task in a table.
const WIDTH: usize = 50;
/// Most characters of a text that a tool shows.
pub(super) const MAX_CHARS: u32 = 100_000;
/// How often a followed log is looked at.
const FOLLOW_INTERVAL: Duration = Duration::from_millis(300);

pub(super) async fn run(client: &Client, output: &Output, verb: AgentVerb) -> Result<(), Failure> {
    let answer: Value = match verb {
        AgentVerb::Create { name, task, project, role } => {
            let arguments = given([
                ("name", Some(name)),
                ("task", Some(task)),
                ("project", Some(project)),
                ("role", role),
            ]);
            client.call("create_agent", &arguments).await?
        }
        AgentVerb::List { status, project } => {
            let arguments = given([("status_filter", status), ("project_filter", project)]);
            let answer = client.call("list_agents", &arguments).await?;
            return agents(output, &answer);
        }
        AgentVerb::Show { agent } => {
            let answer = client
                .call("show_agent", &json!({"agent_name": agent, "max_chars": MAX_CHARS}))
                .await?;
            return details(output, &answer);
        }
        AgentVerb::Wait { agent, timeout } => {
            let arguments = json!({"agent_name": agent, "timeout_seconds": timeout});
            let answer = client.call("wait_for_agent", &arguments).await?;
            return waited(output, &answer);
        }
        AgentVerb::Answer { agent, choice, question } => {
            let arguments = given([
                ("agent_name", Some(agent)),
                ("choice", Some(choice)),
                ("question_id", question),
            ]);
            client.call("answer_agent", &arguments).await?
        }
        AgentVerb::Restart { agent } => {
            client.call("restart_agent", &json!({"agent_name": agent})).await?
        }
        AgentVerb::Publish { agent } => {
            client.call("publish_agent", &json!({"agent_name": agent})).await?
        }
        AgentVerb::Delete { agent } => {
            client.call("delete_agent", &json!({"agent_name": agent})).await?
        }
        AgentVerb::Logs { agent, follow, limit } => {
            return logs(client, output, &agent, follow, limit).await;
        }
    };
    output.told(&answer)
}

/// The arguments that were given.
fn given<const N: usize>(arguments: [(&str, Option<String>); N]) -> Map<String, Value> {
    let some = arguments.into_iter().filter_map(|(name, value)| Some((name, value?)));
    some.map(|(name, value)| (name.to_owned(), Value::String(value))).collect()
}

fn agents(output: &Output, answer: &Value) -> Result<(), Failure> {
    if output.is_json() {
        return output.json(answer);
    }
    let row = |agent: &Value| {
        let status = match agent["needs_attention"] == true {
            true => "needs an answer".to_owned(),
            false => text(agent, "status"),
        };
        let task = short(agent["last_task"].as_str().unwrap_or_default(), WIDTH);
        vec![text(agent, "name"), status, text(agent, "project"), text(agent, "role"), task]
    };
    list(output, &["NAME", "STATUS", "PROJECT", "ROLE", "LAST TASK"], &answer["agents"], row)
}

fn details(output: &Output, answer: &Value) -> Result<(), Failure> {
    if output.is_json() {
        return output.json(answer);
    }
    let agent = &answer["agent"];
    let mut lines =
        vec![format!("Agent    {} ({})", text(agent, "name"), text(agent, "workspace_id"))];
    let mut add = |title: &str, value: String| {
        if !value.is_empty() {
            lines.push(format!("{title:<9}{value}"));
        }
    };
    add("Status", text(agent, "status"));
    add("Project", text(agent, "project"));
    add("Role", text(agent, "role"));
    add("Branch", text(&agent["metadata"]["data"]["branch"], "value"));
    add("Created", text(agent, "created_at"));
    let task = &agent["task"];
    add("Task", text(task, "description"));
    add("State", [text(task, "state"), text(task, "message")].join(" ").trim().to_owned());
    lines.extend(question(task, &text(agent, "name")));
    output.line(&lines.join("\n"))
}

fn waited(output: &Output, answer: &Value) -> Result<(), Failure> {
    if output.is_json() {
        return output.json(answer);
    }
    let name = text(answer, "agent_name");
    let message = text(&answer["task"], "message");
    let mut lines = vec![format!("{name}: {} {message}", text(answer, "state")).trim().to_owned()];
    lines.extend(Some(text(answer, "last_message")).filter(|text| !text.is_empty()));
    lines.extend(question(&answer["task"], &name));
    output.line(&lines.join("\n"))
}

/// What an agent asks, and how to answer it.
fn question(task: &Value, agent: &str) -> Vec<String> {
    let question = &task["question"];
    let Some(choices) = question["choices"].as_array() else { return Vec::new() };
    let choice = |choice: &Value| format!("  {} ({})", text(choice, "kind"), text(choice, "name"));
    let mut lines = vec![format!("It asks: {}", text(question, "text"))];
    lines.extend(choices.iter().map(choice));
    lines.push(format!("Answer it with: fleetctl agent answer {agent} CHOICE"));
    lines
}

async fn logs(
    client: &Client,
    output: &Output,
    agent: &str,
    follow: bool,
    limit: u32,
) -> Result<(), Failure> {
    let arguments = json!({"agent_name": agent, "page_size": limit, "max_chars": MAX_CHARS});
    let page: Value = client.call("show_agent_log", &arguments).await?;
    if output.is_json() && !follow {
        return output.json(&page);
    }
    let mut shown = Shown { output, newest: None };
    // The tail has whole what a page has no room for.
    let path = api::log_tail(&in_path(agent));
    let oldest = page["logs"].as_array().and_then(|logs| logs.last()?["id"].as_i64());
    let mut known = oldest.map_or(0, |id| id - 1);
    loop {
        let tail: LogTail = client.get(&format!("{path}?after={known}")).await?;
        let is_all = tail.entries.len() <= 1;
        for entry in tail.entries {
            shown.add(entry)?;
        }
        // The newest entry again: it may have grown.
        known = shown.newest.as_ref().map_or(known, |entry| entry.id - 1);
        match (is_all, follow) {
            (true, false) => return shown.end(),
            (true, true) => tokio::time::sleep(FOLLOW_INTERVAL).await,
            (false, _) => {}
        }
    }
}

/// What was printed of a log.
struct Shown<'a> {
    output: &'a Output,
    /// Its text has no line end yet: more of it may come.
    newest: Option<LogLine>,
}

impl Shown<'_> {
    /// Prints an entry, or what has been added to the newest one.
    fn add(&mut self, entry: LogLine) -> Result<(), Failure> {
        if self.output.is_json() {
            if self.newest.as_ref() != Some(&entry) {
                let line = serde_json::to_string(&entry);
                self.output.line(&line.map_err(|error| Failure::from_io(error.into()))?)?;
            }
        } else {
            let known = self.newest.as_ref().filter(|newest| newest.id == entry.id);
            let added = known.map_or(&*entry.content, |newest| {
                entry.content.strip_prefix(&*newest.content).unwrap_or_default()
            });
            let text = safe(added).replace('\n', "\n    ");
            let head = match (known, &self.newest) {
                (Some(_), _) => String::new(),
                (None, None) => format!("{} {}\n    ", entry.time, entry.kind),
                (None, Some(_)) => format!("\n{} {}\n    ", entry.time, entry.kind),
            };
            self.output.bytes(format!("{head}{text}").as_bytes())?;
        }
        self.newest = Some(entry);
        Ok(())
    }

    fn end(&self) -> Result<(), Failure> {
        if self.output.is_json() || self.newest.is_none() { Ok(()) } else { self.output.line("") }
    }
}
