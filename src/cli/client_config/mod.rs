//! `fleetctl client-config`: what to enter in each MCP client. None of it holds the token: it names
//! the variable that the client reads it from, or the place where it goes.

mod forms;

use clap::ValueEnum;

use super::{failure::Failure, output::Output};
use crate::control::{
    api::{self, Status},
    client::{Client, ClientError},
};

/// The clients that we have a form for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Program {
    /// Claude Code
    ClaudeCode,
    /// Claude Desktop, through mcp-remote
    ClaudeDesktop,
    /// OpenAI Codex CLI
    Codex,
    /// Gemini CLI
    GeminiCli,
    /// opencode
    Opencode,
    /// Visual Studio Code
    #[value(name = "vscode")]
    VsCode,
    /// Cursor
    Cursor,
    /// OpenAI Agents SDK for Python
    OpenaiAgents,
    /// OpenAI Responses API
    ResponsesApi,
    /// The client of the Python package fastmcp
    Fastmcp,
    /// The Python SDK, mcp 2
    PythonSdk,
    /// The Python SDK, mcp 1
    #[value(name = "python-sdk-1")]
    PythonSdk1,
    /// The TypeScript SDK 2, @modelcontextprotocol/client
    TypescriptSdk,
    /// The TypeScript SDK 1, @modelcontextprotocol/sdk
    #[value(name = "typescript-sdk-1")]
    TypescriptSdk1,
    /// MCP Inspector
    Inspector,
    /// curl
    Curl,
}

/// Where the server listens if nobody can say.
const DEFAULT_URL: &str = "http://127.0.0.1:8000";

pub(super) async fn show(
    client: &Client,
    output: &Output,
    program: Program,
    url: Option<String>,
) -> Result<(), Failure> {
    let url = match url {
        Some(url) => url,
        None => asked(client, output).await?,
    };
    let base = url.trim_end_matches('/').trim_end_matches("/mcp").to_owned();
    output.note(&format!("# {}", forms::place(program)));
    if forms::takes_variable(program) {
        output.note(
            "# Put the token into the client's environment first, in a shell that may see it:",
        );
        output.note("#   export FLEET_MCP_TOKEN=$(fleetctl token show)");
        output.note("# or, for somebody who should have less: $(fleetctl token create NAME)");
    }
    output.line(&forms::form(program, &base))
}

async fn asked(client: &Client, output: &Output) -> Result<String, Failure> {
    match client.get::<Status>(api::STATUS).await {
        Ok(status) => {
            let listener = status.listeners.into_iter().next();
            let url = status.public_url.or(listener).unwrap_or_else(|| DEFAULT_URL.to_owned());
            // What listens everywhere is reached here by loopback.
            Ok(url.replace("//0.0.0.0:", "//127.0.0.1:").replace("//[::]:", "//[::1]:"))
        }
        Err(ClientError::Unreachable { .. }) => {
            output.note(&format!(
                "# The daemon can't be asked for its address; this is for {DEFAULT_URL} (--url)."
            ));
            Ok(DEFAULT_URL.to_owned())
        }
        Err(error) => Err(error.into()),
    }
}
