//! Completions of names, for the arguments of prompts and the templates of resources.

use rmcp::model::{CompleteRequestParams, CompletionInfo};
use serde_json::json;

use super::Caller;
use crate::app::error::FleetError;

/// The names that begin with what is there, of those that the principal may see.
pub(super) async fn complete(
    caller: &Caller,
    request: &CompleteRequestParams,
) -> Result<CompletionInfo, FleetError> {
    let chosen = |name: &str| {
        request.context.as_ref()?.arguments.as_ref()?.get(name).filter(|text| !text.is_empty())
    };
    let names = match request.argument.name.as_str() {
        // `name` is the variable of the resource templates.
        "agent" | "name" => caller.agent_names()?,
        "project" => caller.project_names().await?,
        "role" => {
            let projects = match chosen("project") {
                Some(project) => vec![project.clone()],
                None => caller.project_names().await?,
            };
            let mut roles = Vec::new();
            for project in projects {
                let arguments = json!({"project": project});
                roles.extend(caller.names("list_agent_roles", arguments, "roles").await?);
            }
            roles.sort_unstable();
            roles.dedup();
            roles
        }
        _ => Vec::new(),
    };
    Ok(matching(names, &request.argument.value))
}

fn matching(mut names: Vec<String>, beginning: &str) -> CompletionInfo {
    let beginning = beginning.to_lowercase();
    names.retain(|name| name.to_lowercase().starts_with(&beginning));
    let mut found = CompletionInfo::default();
    found.total = u32::try_from(names.len()).ok();
    found.has_more = Some(names.len() > CompletionInfo::MAX_VALUES);
    names.truncate(CompletionInfo::MAX_VALUES);
    found.values = names;
    found
}
