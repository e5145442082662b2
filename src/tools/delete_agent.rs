//! `delete_agent`

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Call, Effect, Verb, untrusted::shown, wire::Publication};
use crate::{
    app::{error::FleetError, supervisor::Branch},
    auth::Scope,
};

pub(crate) struct DeleteAgent;

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Input {
    /// The agent's name, such as `sony`
    #[schemars(length(min = 1, max = 32))]
    agent_name: String,
}

#[derive(Serialize, JsonSchema)]
pub(crate) struct Output {
    agent_name: String,
    /// Whether it is gone; if not, that takes longer and goes on
    deleted: bool,
    /// Where its work is; absent if it had none, or it could not be published
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Publication")]
    published: Option<Publication>,
    /// The workspace on the server, if it had to be kept
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    kept_workspace: Option<String>,
    message: String,
}

impl Verb for DeleteAgent {
    const NAME: &'static str = "delete_agent";
    const TITLE: &'static str = "Delete agent";
    const DESCRIPTION: &'static str = "Delete an agent that is no longer needed, whatever it is doing: its program, workspace \
        and history go. Its branch is published first, and the answer has the git fetch that \
        gets it; what can't be published is kept. To keep the agent, use publish_agent.";
    const SCOPE: Scope = Scope::Manage;
    const EFFECT: Effect = Effect::Destroys;
    type Input = Input;
    type Output = Output;

    async fn run(call: Call, input: Input) -> Result<Output, FleetError> {
        let (member, work) = call.fleet().delete_agent(&input.agent_name).await?;
        let agent_name = member.agent.name.to_string();
        let Some(work) = work else {
            let message = format!(
                "Agent '{agent_name}' is being deleted, which takes longer; show_agent answers NOT_FOUND \
                 once it is gone, and its last event (fleetctl events) says where its work is"
            );
            return Ok(Output {
                agent_name,
                deleted: false,
                published: None,
                kept_workspace: None,
                message,
            });
        };
        let words = work.words().map(|words| format!("; {words}")).unwrap_or_default();
        // The words may quote git, and git what the agent has named its files.
        let message = shown(&format!("Agent '{agent_name}' deleted successfully{words}"));
        Ok(Output {
            agent_name,
            deleted: true,
            published: match &work.branch {
                Branch::Published(publication) => Some(publication.into()),
                _ => None,
            },
            kept_workspace: work.kept.map(|(workspace, _)| workspace.display().to_string()),
            message,
        })
    }
}
