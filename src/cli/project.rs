//! `fleetctl project` and `fleetctl role`.

use clap::Subcommand;
use serde_json::{Value, json};

use super::{
    failure::Failure,
    output::{Output, safe, table},
};
use crate::control::client::Client;

#[derive(Debug, Subcommand)]
pub(super) enum ProjectVerb {
    /// List the projects that agents can work on
    List,
}

#[derive(Debug, Subcommand)]
pub(super) enum RoleVerb {
    /// List the roles that a project offers
    List {
        /// The project
        project: String,
    },
}

pub(super) async fn projects(client: &Client, output: &Output) -> Result<(), Failure> {
    let answer: Value = client.call("list_agent_projects", &json!({})).await?;
    if output.is_json() {
        return output.json(&answer);
    }
    let row = |project: &Value| vec![text(project, "name"), text(project, "description")];
    list(output, &["NAME", "DESCRIPTION"], &answer["projects"], row)
}

pub(super) async fn roles(
    client: &Client,
    output: &Output,
    project: String,
) -> Result<(), Failure> {
    let answer: Value = client.call("list_agent_roles", &json!({"project": project})).await?;
    if output.is_json() {
        return output.json(&answer);
    }
    let row = |role: &Value| {
        let default = if role["default"] == true { "default" } else { "" };
        vec![text(role, "name"), default.to_owned(), text(role, "description")]
    };
    list(output, &["NAME", "", "DESCRIPTION"], &answer["roles"], row)
}

/// A table of an answer's array.
pub(super) fn list(
    output: &Output,
    header: &[&str],
    items: &Value,
    row: impl Fn(&Value) -> Vec<String>,
) -> Result<(), Failure> {
    let header = header.iter().map(|&title| title.to_owned()).collect();
    let items = items.as_array().map(Vec::as_slice).unwrap_or_default();
    let rows: Vec<_> = std::iter::once(header).chain(items.iter().map(row)).collect();
    output.line(&table(&rows).join("\n"))
}

/// A member of an answer, safe to show; empty if there is none.
pub(super) fn text(value: &Value, member: &str) -> String {
    safe(value[member].as_str().unwrap_or_default())
}
