//! The tools, one file a verb, in one table that MCP, the plain-HTTP form and the control socket
//! all serve: names, schemas, and JSON in and out.

mod answer_agent;
mod cancel_agent_task;
mod create_agent;
mod delete_agent;
mod list_agent_projects;
mod list_agent_roles;
mod list_agents;
mod publish_agent;
mod restart_agent;
mod show_agent;
mod show_agent_log;
mod show_agent_task_history;
pub(crate) mod start_agent_task;
pub(crate) mod untrusted;
mod wait_for_agent;
pub(crate) mod wire;

use std::{
    borrow::Cow,
    future::Future,
    pin::Pin,
    sync::{Arc, LazyLock},
};

use schemars::{
    JsonSchema, Schema,
    generate::{Contract, SchemaSettings},
    transform::RecursiveTransform,
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Map, Value};
use tokio::sync::mpsc;

use self::untrusted::Room;
use crate::{
    app::{
        App,
        audit::{self, Origin, ToolCall},
        error::FleetError,
        fleet::Fleet,
    },
    auth::{Principal, Scope},
};

/// All tools, sorted by name.
static TOOLS: LazyLock<Vec<Tool>> = LazyLock::new(|| {
    vec![
        Tool::of::<answer_agent::AnswerAgent>(),
        Tool::of::<cancel_agent_task::CancelAgentTask>(),
        Tool::of::<create_agent::CreateAgent>(),
        Tool::of::<delete_agent::DeleteAgent>(),
        Tool::of::<list_agent_projects::ListAgentProjects>(),
        Tool::of::<list_agent_roles::ListAgentRoles>(),
        Tool::of::<list_agents::ListAgents>(),
        Tool::of::<publish_agent::PublishAgent>(),
        Tool::of::<restart_agent::RestartAgent>(),
        Tool::of::<show_agent::ShowAgent>(),
        Tool::of::<show_agent_log::ShowAgentLog>(),
        Tool::of::<show_agent_task_history::ShowAgentTaskHistory>(),
        Tool::of::<start_agent_task::StartAgentTask>(),
        Tool::of::<wait_for_agent::WaitForAgent>(),
    ]
});

/// What one tool is: implemented in its own file.
trait Verb {
    const NAME: &'static str;
    const TITLE: &'static str;
    /// For models: what it does, when to use it, what comes next.
    const DESCRIPTION: &'static str;
    const SCOPE: Scope;
    const EFFECT: Effect;
    type Input: DeserializeOwned + JsonSchema + Send + 'static;
    type Output: Serialize + JsonSchema;

    fn run(
        call: Call,
        input: Self::Input,
    ) -> impl Future<Output = Result<Self::Output, FleetError>> + Send;
}

/// What calling a tool does to the world.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Effect {
    /// Nothing.
    Reads,
    /// It changes something; calling it twice does more than calling it once.
    Changes,
    /// It removes or breaks off something.
    Destroys,
}

/// Who calls a tool, on what.
pub(crate) struct Call {
    pub(crate) app: Arc<App>,
    pub(crate) principal: Principal,
    /// The request, if it came over TCP.
    pub(crate) origin: Option<Origin>,
    /// Where a long call tells how it is getting on, if the caller wants to know.
    pub(crate) progress: Option<mpsc::Sender<String>>,
}

impl Call {
    /// The fleet as the caller may see it.
    fn fleet(&self) -> Fleet<'_> {
        self.app.fleet_for(&self.principal)
    }
}

type Answer = Pin<Box<dyn Future<Output = Result<Value, FleetError>> + Send>>;

/// One row of the table.
pub(crate) struct Tool {
    pub(crate) name: &'static str,
    pub(crate) title: &'static str,
    pub(crate) description: &'static str,
    pub(crate) scope: Scope,
    pub(crate) effect: Effect,
    pub(crate) input: Arc<Map<String, Value>>,
    pub(crate) output: Arc<Map<String, Value>>,
    run: fn(Call, Map<String, Value>) -> Answer,
}

impl Tool {
    fn of<V: Verb + 'static>() -> Self {
        Self {
            name: V::NAME,
            title: V::TITLE,
            description: V::DESCRIPTION,
            scope: V::SCOPE,
            effect: V::EFFECT,
            input: schema::<V::Input>(Contract::Deserialize),
            output: schema::<V::Output>(Contract::Serialize),
            run: |call, arguments| Box::pin(run::<V>(call, arguments)),
        }
    }

    /// Calls the tool, and counts that; the answer fits its output schema.
    ///
    /// # Errors
    /// When the caller may not, or the arguments or what they name are wrong.
    pub(crate) async fn call(
        &self,
        call: Call,
        arguments: Map<String, Value>,
    ) -> Result<Value, FleetError> {
        let app = Arc::clone(&call.app);
        let answer = self.audited(call, arguments).await;
        app.metrics.tool_called(self.name, answer.is_ok());
        answer.map_err(fit)
    }

    async fn audited(
        &self,
        call: Call,
        arguments: Map<String, Value>,
    ) -> Result<Value, FleetError> {
        check_scope(&call.principal, self.scope, self.name)?;
        if self.effect == Effect::Reads {
            return (self.run)(call, arguments).await;
        }
        let agent = arguments.get("agent_name").or_else(|| arguments.get("name"));
        let agent = agent.and_then(Value::as_str).map(str::to_owned);
        let (by, origin) = (call.principal.clone(), call.origin);
        let start = tokio::time::Instant::now();
        let answer = (self.run)(call, arguments).await;
        let outcome = answer.as_ref().map_or_else(|error| error.code.as_str(), |_| "ok");
        audit::tool_called(&ToolCall {
            tool: self.name,
            by: &by,
            agent: agent.as_deref(),
            origin,
            outcome,
            took: start.elapsed(),
        });
        answer
    }
}

/// A fault may repeat what the caller sent, or what git or an agent's program said.
fn fit(fault: FleetError) -> FleetError {
    const FAULT: Room = Room::of(4_000, "the daemon's log");
    FleetError { message: FAULT.show(&fault.message), ..fault }
}

async fn run<V: Verb>(call: Call, arguments: Map<String, Value>) -> Result<Value, FleetError> {
    let input = serde_json::from_value(Value::Object(arguments)).map_err(|e| wrong_input(&e))?;
    answer(V::run(call, input).await?)
}

/// A tool's output is plain data with text keys: it always serializes.
fn answer(output: impl Serialize) -> Result<Value, FleetError> {
    serde_json::to_value(output).map_err(|_| FleetError::invalid("the answer can't be shown"))
}

/// # Errors
/// When the principal lacks the scope that this needs.
pub(crate) fn check_scope(
    principal: &Principal,
    scope: Scope,
    what: &str,
) -> Result<(), FleetError> {
    if principal.allows(scope) {
        return Ok(());
    }
    Err(FleetError::insufficient_scope(&principal.name(), scope, what))
}

/// The tools that this principal may call, sorted by name.
pub(crate) fn allowed(principal: &Principal) -> impl Iterator<Item = &'static Tool> {
    TOOLS.iter().filter(|tool| principal.allows(tool.scope))
}

/// The tool of this name, if this principal may know of it.
///
/// # Errors
/// When there is none; names those that there are.
pub(crate) fn find(name: &str, principal: &Principal) -> Result<&'static Tool, FleetError> {
    let found = TOOLS.iter().find(|tool| tool.name == name);
    found.ok_or_else(|| {
        FleetError::not_found("tool", name, allowed(principal).map(|tool| tool.name))
    })
}

/// serde names the field and what it expected; what it repeats of the input is cut short.
fn wrong_input(error: &serde_json::Error) -> FleetError {
    const MAX_LEN: usize = 300;
    let text = error.to_string();
    let short: Cow<'_, str> = match text.char_indices().nth(MAX_LEN) {
        Some((end, _)) => format!("{}…", &text[..end]).into(),
        None => text.into(),
    };
    FleetError::invalid(format!("arguments: {short}"))
}

/// A JSON schema of its own, without references, as every client understands it. What an answer may
/// leave out is not required there, so it matters which way the data goes.
fn schema<T: JsonSchema>(contract: Contract) -> Arc<Map<String, Value>> {
    let mut settings = SchemaSettings::draft2020_12();
    settings.contract = contract;
    settings.inline_subschemas = true;
    settings.meta_schema = None;
    // The widths of Rust's integers are no formats of JSON Schema: clients warn of them.
    settings.transforms.push(Box::new(RecursiveTransform(|schema: &mut Schema| {
        if schema.get("type").is_some_and(|kind| kind == "integer") {
            schema.remove("format");
        }
        // An argument that may be left out; `null` is no text, whatever its default says.
        if schema.get("default").is_some_and(Value::is_null) {
            schema.remove("default");
        }
    })));
    let mut schema = settings.into_generator().into_root_schema_for::<T>();
    schema.remove("title");
    Arc::new(schema.as_object().cloned().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted_and_its_schemas_are_objects() {
        assert!(TOOLS.is_sorted_by_key(|tool| tool.name));
        for tool in TOOLS.iter() {
            assert_eq!(tool.input["type"], "object", "{}", tool.name);
            assert_eq!(tool.input["additionalProperties"], false, "{}", tool.name);
            assert_eq!(tool.output["type"], "object", "{}", tool.name);
            let schemas = serde_json::to_string(&[&tool.input, &tool.output]).unwrap();
            assert!(!schemas.contains("$ref") && !schemas.contains("null"), "{schemas}");
            assert!(!schemas.contains("uint"), "{schemas}");
        }
    }

    #[test]
    fn each_description_is_short_and_names_the_tools_around_it() {
        for tool in TOOLS.iter() {
            let text = tool.description;
            assert!(text.chars().count() <= 300 && text.ends_with('.'), "{text}");
            let named = TOOLS.iter().filter(|other| text.contains(other.name)).count();
            assert!(named > 0, "{}: what comes next?", tool.name);
            let words = text.split(|c: char| c != '_' && !c.is_ascii_lowercase());
            for word in words.filter(|word| word.contains('_')) {
                assert!(
                    TOOLS.iter().any(|tool| tool.name == word) || word == "page_size",
                    "{word}"
                );
            }
        }
    }

    #[test]
    fn each_argument_says_what_it_is_what_it_is_without_it_and_its_bounds() {
        for tool in TOOLS.iter() {
            let required = tool.input.get("required").and_then(Value::as_array);
            let arguments = tool.input.get("properties").and_then(Value::as_object);
            for (name, schema) in arguments.into_iter().flatten() {
                let of = format!("{} {name}: {schema}", tool.name);
                let text = schema["description"].as_str().unwrap_or_else(|| panic!("{of}"));
                let required = required.is_some_and(|all| all.contains(&name.as_str().into()));
                let default = schema.get("default").is_some() || text.contains("by default");
                assert_ne!(required, default, "{of}");
                let bounds = ["minLength", "maxLength", "minimum", "maximum"];
                assert!(bounds.iter().any(|bound| schema.get(bound).is_some()), "{of}");
            }
        }
    }

    #[test]
    fn what_an_answer_may_leave_out_is_not_required() {
        let tool = TOOLS.iter().find(|tool| tool.name == "show_agent").unwrap();

        let agent = &tool.output["properties"]["agent"];

        let required = agent["required"].as_array().unwrap();
        assert!(required.contains(&"created_at".into()) && !required.contains(&"last_task".into()));
        assert_eq!(agent["properties"]["last_task"]["type"], "string");
    }
}
