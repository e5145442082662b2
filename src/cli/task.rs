//! `fleetctl task`

use clap::Subcommand;
use serde_json::{Value, json};

use super::{
    agent::MAX_CHARS,
    failure::Failure,
    output::{Output, short},
    project::{list, text},
};
use crate::control::client::Client;

#[derive(Debug, Subcommand)]
pub(super) enum TaskVerb {
    /// Give an idle agent a task
    Start {
        /// The agent
        agent: String,
        /// What is to be done
        task: String,
    },
    /// Stop the task that an agent works on
    Cancel {
        /// The agent
        agent: String,
    },
    /// List an agent's tasks, newest first
    List {
        /// The agent
        agent: String,
        /// How many
        #[arg(short = 'n', long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=100))]
        limit: u32,
    },
}

/// Most characters of a task in a table.
const WIDTH: usize = 60;

pub(super) async fn run(client: &Client, output: &Output, verb: TaskVerb) -> Result<(), Failure> {
    let answer: Value = match verb {
        TaskVerb::Start { agent, task } => {
            let arguments = json!({"agent_name": agent, "task_description": task});
            client.call("start_agent_task", &arguments).await?
        }
        TaskVerb::Cancel { agent } => {
            client.call("cancel_agent_task", &json!({"agent_name": agent})).await?
        }
        TaskVerb::List { agent, limit } => {
            let arguments =
                json!({"agent_name": agent, "page_size": limit, "max_chars": MAX_CHARS});
            let answer = client.call("show_agent_task_history", &arguments).await?;
            return history(output, &answer);
        }
    };
    output.told(&answer)
}

fn history(output: &Output, answer: &Value) -> Result<(), Failure> {
    if output.is_json() {
        return output.json(answer);
    }
    let row = |task: &Value| {
        let id = task["id"].to_string();
        let description = short(task["description"].as_str().unwrap_or_default(), WIDTH);
        vec![id, text(task, "state"), text(task, "created_at"), description]
    };
    list(output, &["ID", "STATE", "CREATED", "TASK"], &answer["tasks"], row)
}
