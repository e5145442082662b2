//! `fleetctl client-config`: what to enter in each MCP client. None of it holds the token: it names
//! the variable that the client reads it from.

use clap::ValueEnum;
use serde_json::json;

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
    output.note(&format!("# {}", place(program)));
    if program != Program::VsCode {
        output.note(
            "# Put the token into the client's environment first, in a shell that may see it:",
        );
        output.note("#   export FLEET_MCP_TOKEN=$(fleetctl token show)");
        output.note("# or, for somebody who should have less: $(fleetctl token create NAME)");
    }
    output.line(&form(program, &base))
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

fn place(program: Program) -> &'static str {
    match program {
        Program::ClaudeCode => "Claude Code: run this once, in the project or with --scope user",
        Program::Codex => "Codex: run this once",
        Program::GeminiCli => "Gemini CLI: run this once",
        Program::Opencode => "opencode: in opencode.json",
        Program::VsCode => "VS Code: in .vscode/mcp.json; it asks for the token once",
        Program::Cursor => "Cursor: in ~/.cursor/mcp.json",
        Program::OpenaiAgents => "OpenAI Agents SDK: in your Python program",
        Program::ResponsesApi => "Responses API: one of the request's tools; needs public HTTPS",
        Program::Curl => "curl: plain HTTP, without MCP",
    }
}

/// The form for one client. `base` is the server's URL without `/mcp`.
fn form(program: Program, base: &str) -> String {
    let mcp = format!("{base}/mcp");
    let bearer = |variable: &str| json!({"Authorization": format!("Bearer {variable}")});
    let pretty = |value| format!("{value:#}");
    match program {
        Program::ClaudeCode => format!(
            "claude mcp add --transport http fleet {mcp} \
             --header 'Authorization: Bearer ${{FLEET_MCP_TOKEN}}'"
        ),
        Program::Codex => {
            format!("codex mcp add fleet --url {mcp} --bearer-token-env-var FLEET_MCP_TOKEN")
        }
        Program::GeminiCli => format!(
            "gemini mcp add --scope user --transport http \
             --header 'Authorization: Bearer $FLEET_MCP_TOKEN' fleet {mcp}"
        ),
        Program::Opencode => pretty(json!({"mcp": {"fleet": {
            "type": "remote",
            "url": mcp,
            "oauth": false,
            "headers": bearer("{env:FLEET_MCP_TOKEN}"),
        }}})),
        Program::VsCode => pretty(json!({
            "servers": {"fleet": {
                "type": "http",
                "url": mcp,
                "headers": bearer("${input:fleet-token}"),
            }},
            "inputs": [{
                "type": "promptString",
                "id": "fleet-token",
                "description": "Fleet MCP access token",
                "password": true,
            }],
        })),
        Program::Cursor => pretty(json!({"mcpServers": {"fleet": {
            "url": mcp,
            "headers": bearer("${env:FLEET_MCP_TOKEN}"),
        }}})),
        Program::OpenaiAgents => format!(
            "import os\n\
             from agents.mcp import MCPServerStreamableHttp\n\n\
             fleet = MCPServerStreamableHttp(\n    \
                 name=\"fleet\",\n    \
                 params={{\n        \
                     \"url\": \"{mcp}\",\n        \
                     \"headers\": {{\"Authorization\": f\"Bearer {{os.environ['FLEET_MCP_TOKEN']}}\"}},\n    \
                 }},\n\
             )"
        ),
        Program::ResponsesApi => pretty(json!({
            "type": "mcp",
            "server_label": "fleet",
            "server_url": mcp,
            "authorization": "the token; your program reads it from FLEET_MCP_TOKEN",
        })),
        Program::Curl => format!(
            "curl {base}/mcp/list_agents -H \"Authorization: Bearer $FLEET_MCP_TOKEN\"\n\
             curl {base}/health"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_names_the_url_and_spells_bearer_as_the_server_wants_it() {
        for &program in Program::value_variants() {
            let form = form(program, "https://fleet.example.com");

            assert!(form.contains("https://fleet.example.com/mcp"), "{form}");
            let builds_its_own = matches!(program, Program::Codex | Program::ResponsesApi);
            assert!(builds_its_own || form.contains("Bearer "), "{form}");
        }
    }
}
