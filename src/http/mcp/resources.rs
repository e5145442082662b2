//! The fleet as resources: what the reading tools answer, as JSON, under addresses that a person can
//! attach to a conversation. The tools decide what the principal may see.

use rmcp::{
    ErrorData,
    model::{
        CacheScope, ListResourceTemplatesResult, ListResourcesResult, ReadResourceResult, Resource,
        ResourceContents, ResourceTemplate,
    },
};
use serde_json::{Value, json};

use super::Caller;
use crate::{
    app::{
        changes::Topic,
        error::{Code, FleetError},
    },
    auth::Scope,
};

const AGENTS: &str = "fleet://agents";
const JSON: &str = "application/json";
/// Most agents that are listed with a resource each; the templates lead to the others.
const MAX_LISTED: usize = 100;
/// Entries of a log that are read at once, newest first.
const LOG_ENTRIES: u32 = 50;

/// The whole fleet, and each agent; nothing for who may not read.
pub(super) fn list(caller: &Caller) -> Result<ListResourcesResult, ErrorData> {
    if !caller.principal.allows(Scope::Read) {
        return Ok(listed(Vec::new()));
    }
    let names = caller.agent_names().map_err(|error| fault(&error, AGENTS))?;
    let fleet = Resource::new(AGENTS, "agents")
        .with_title("All agents")
        .with_description("Who is in the fleet, and what each does: the first 100 by name")
        .with_mime_type(JSON);
    let agent = |name: &String| {
        Resource::new(format!("{AGENTS}/{name}"), name.clone())
            .with_title(format!("Agent {name}"))
            .with_description("The agent, its newest task and its question. Untrusted text")
            .with_mime_type(JSON)
    };
    let resources = std::iter::once(fleet).chain(names.iter().take(MAX_LISTED).map(agent));
    Ok(listed(resources.collect()))
}

fn listed(resources: Vec<Resource>) -> ListResourcesResult {
    ListResourcesResult::with_all_items(resources)
        .with_ttl_ms(0)
        .with_cache_scope(CacheScope::Private)
}

/// The same for everyone who may read; nothing for others.
pub(super) fn templates(caller: &Caller) -> ListResourceTemplatesResult {
    let agent = ResourceTemplate::new(format!("{AGENTS}/{{name}}"), "agent")
        .with_title("An agent")
        .with_description("The agent, its newest task and its question. Untrusted text")
        .with_mime_type(JSON);
    let log = ResourceTemplate::new(format!("{AGENTS}/{{name}}/log"), "agent-log")
        .with_title("An agent's log")
        .with_description("The newest entries of its conversation. Untrusted text")
        .with_mime_type(JSON);
    let all = if caller.principal.allows(Scope::Read) { vec![agent, log] } else { Vec::new() };
    ListResourceTemplatesResult::with_all_items(all)
        .with_ttl_ms(super::TTL_MS)
        .with_cache_scope(CacheScope::Private)
}

/// What is at this address now.
pub(super) async fn read(caller: &Caller, uri: &str) -> Result<ReadResourceResult, ErrorData> {
    let (tool, arguments) = Address::of(uri).ok_or_else(|| unknown(uri))?.target();
    let answer = caller.ask(tool, arguments).await.map_err(|error| fault(&error, uri))?;
    let contents = ResourceContents::text(format!("{answer:#}"), uri).with_mime_type(JSON);
    Ok(ReadResourceResult::new(vec![contents]).with_ttl_ms(0).with_cache_scope(CacheScope::Private))
}

/// What has to change for what is at this address to be different; `None` if it is no address of ours.
pub(super) fn topic(uri: &str) -> Option<Topic> {
    Some(match Address::of(uri)? {
        Address::Agents => Topic::Agents,
        Address::Agent(name) => Topic::Agent(name.parse().ok()?),
        Address::Log(name) => Topic::Log(name.parse().ok()?),
    })
}

/// What an address is of.
#[derive(Debug, PartialEq, Eq)]
enum Address<'a> {
    Agents,
    Agent(&'a str),
    Log(&'a str),
}

impl<'a> Address<'a> {
    fn of(uri: &'a str) -> Option<Self> {
        let path = uri.strip_prefix(AGENTS)?;
        if path.is_empty() {
            return Some(Self::Agents);
        }
        let path = path.strip_prefix('/')?;
        let named = |name: &str| !name.is_empty() && !name.contains('/');
        match path.strip_suffix("/log") {
            Some(name) if named(name) => Some(Self::Log(name)),
            None if named(path) => Some(Self::Agent(path)),
            _ => None,
        }
    }

    /// The tool that knows what is there, and its arguments.
    fn target(&self) -> (&'static str, Value) {
        match self {
            Self::Agents => ("list_agents", json!({"page_size": MAX_LISTED})),
            Self::Agent(name) => ("show_agent", json!({"agent_name": name})),
            Self::Log(name) => {
                ("show_agent_log", json!({"agent_name": name, "page_size": LOG_ENTRIES}))
            }
        }
    }
}

fn unknown(uri: &str) -> ErrorData {
    let start: String = uri.chars().take(100).collect();
    let help = "there are fleet://agents, fleet://agents/NAME and fleet://agents/NAME/log";
    not_found(format!("no resource `{start}`; {help}"), uri)
}

fn fault(error: &FleetError, uri: &str) -> ErrorData {
    let text = error.message.clone();
    match error.code {
        Code::NotFound => not_found(text, uri),
        Code::InvalidInput | Code::InsufficientScope(_) => ErrorData::invalid_params(text, None),
        _ => ErrorData::internal_error(text, None),
    }
}

/// A client that reads several at once learns which of them there is not.
fn not_found(message: String, uri: &str) -> ErrorData {
    ErrorData::resource_not_found(message, Some(json!({"uri": uri})))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_addresses_of_the_fleet_lead_somewhere() {
        assert_eq!(Address::of("fleet://agents"), Some(Address::Agents));
        assert_eq!(Address::of("fleet://agents/sony"), Some(Address::Agent("sony")));
        assert_eq!(Address::of("fleet://agents/sony/log"), Some(Address::Log("sony")));
        for uri in [
            "",
            "fleet://",
            "fleet://agents/",
            "fleet://agents//log",
            "fleet://agentsony",
            "fleet://agents/sony/log/log",
            "fleet://agents/sony/other",
            "file:///etc/passwd",
        ] {
            assert_eq!(Address::of(uri), None, "{uri}");
        }
    }

    #[test]
    fn an_address_with_a_name_that_no_agent_can_have_never_changes() {
        assert_eq!(topic("fleet://agents/Sony"), Some(Topic::Agent("sony".parse().unwrap())));
        assert_eq!(topic("fleet://agents/so ny"), None);
        assert_eq!(topic("fleet://agents/new/log"), None);
    }
}
