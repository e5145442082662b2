//! The form of each client. `tests/clients/run` feeds them to the clients, so what is printed is
//! what was tested; `docs/clients.md` has them all.

use serde_json::json;

use super::Program;

/// Stands for the token where a client can't read it from a variable.
const PLACEHOLDER: &str = "PUT-THE-TOKEN-HERE";

/// Where the form goes.
pub(super) fn place(program: Program) -> &'static str {
    match program {
        Program::ClaudeCode => "Claude Code: run this once, in the project or with --scope user",
        Program::ClaudeDesktop => {
            "Claude Desktop: in claude_desktop_config.json, which only you may be able to read"
        }
        Program::Codex => "Codex: run this once",
        Program::GeminiCli => "Gemini CLI: run this once",
        Program::Opencode => "opencode: in opencode.json",
        Program::VsCode => "VS Code: in .vscode/mcp.json; it asks for the token once",
        Program::Cursor => "Cursor: in ~/.cursor/mcp.json",
        Program::OpenaiAgents => "OpenAI Agents SDK: in your Python program",
        Program::ResponsesApi => "Responses API: one of the request's tools; needs public HTTPS",
        Program::Fastmcp => "FastMCP: in your Python program",
        Program::PythonSdk => "Python SDK (mcp 2): in your program",
        Program::PythonSdk1 => "Python SDK (mcp 1): in your program",
        Program::TypescriptSdk => {
            "TypeScript SDK 2 (@modelcontextprotocol/client): in your program"
        }
        Program::TypescriptSdk1 => "TypeScript SDK 1 (@modelcontextprotocol/sdk): in your program",
        Program::Inspector => {
            "MCP Inspector: mcp-inspector --cli --config FILE --server fleet --method tools/list, \
             with this in FILE, which only you may be able to read"
        }
        Program::Curl => "curl: plain HTTP, without MCP",
    }
}

/// How the client comes by the token: from a variable, unless it asks for it or has it in its file.
pub(super) fn takes_variable(program: Program) -> bool {
    !matches!(program, Program::VsCode | Program::ClaudeDesktop | Program::Inspector)
}

/// The form for one client. `base` is the server's URL without `/mcp`.
pub(super) fn form(program: Program, base: &str) -> String {
    let mcp = &format!("{base}/mcp");
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
        Program::Curl => curl(base),
        Program::OpenaiAgents
        | Program::Fastmcp
        | Program::PythonSdk
        | Program::PythonSdk1
        | Program::TypescriptSdk
        | Program::TypescriptSdk1 => code(program, mcp),
        Program::ClaudeDesktop
        | Program::Opencode
        | Program::VsCode
        | Program::Cursor
        | Program::ResponsesApi
        | Program::Inspector => format!("{:#}", file(program, mcp)),
    }
}

fn curl(base: &str) -> String {
    let token = "-H \"Authorization: Bearer $FLEET_MCP_TOKEN\"";
    format!(
        "curl {base}/mcp/list_agents {token}\n\
         curl {base}/mcp/start_agent_task {token} \\\n  \
             -d '{{\"agent_name\": \"sony\", \"task_description\": \"say hello\"}}'\n\
         curl \"{base}/mcp/wait_for_agent?agent_name=sony\" {token}\n\
         curl {base}/health"
    )
}

/// What goes into a configuration file.
fn file(program: Program, mcp: &str) -> serde_json::Value {
    let bearer = |variable: &str| json!({"Authorization": format!("Bearer {variable}")});
    match program {
        Program::ClaudeDesktop => json!({"mcpServers": {"fleet": {
            "command": "npx",
            "args": [
                "-y", "mcp-remote@0.15.1", mcp,
                "--transport", "http-only", "--header", "Authorization:${FLEET_AUTHORIZATION}",
            ],
            "env": {"FLEET_AUTHORIZATION": format!("Bearer {PLACEHOLDER}")},
        }}}),
        Program::Opencode => json!({"mcp": {"fleet": {
            "type": "remote",
            "url": mcp,
            "oauth": false,
            "headers": bearer("{env:FLEET_MCP_TOKEN}"),
        }}}),
        Program::VsCode => json!({
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
        }),
        Program::ResponsesApi => json!({
            "type": "mcp",
            "server_label": "fleet",
            "server_url": mcp,
            "authorization": "the token; your program reads it from FLEET_MCP_TOKEN",
        }),
        Program::Inspector => json!({"mcpServers": {"fleet": {
            "type": "streamable-http",
            "url": mcp,
            "headers": bearer(PLACEHOLDER),
        }}}),
        _ => json!({"mcpServers": {"fleet": {
            "url": mcp,
            "headers": bearer("${env:FLEET_MCP_TOKEN}"),
        }}}),
    }
}

/// What goes into a program.
fn code(program: Program, mcp: &str) -> String {
    let python = "{\"Authorization\": f\"Bearer {os.environ['FLEET_MCP_TOKEN']}\"}";
    match program {
        Program::OpenaiAgents => format!(
            "import os\n\
             from agents.mcp import MCPServerStreamableHttp\n\n\
             fleet = MCPServerStreamableHttp(\n    \
                 name=\"fleet\",\n    \
                 params={{\n        \
                     \"url\": \"{mcp}\",\n        \
                     \"headers\": {python},\n        \
                     \"timeout\": 120,\n    \
                 }},\n    \
                 client_session_timeout_seconds=120,\n\
             )"
        ),
        Program::Fastmcp => format!(
            "import os\n\
             from fastmcp import Client\n\n\
             fleet = Client(\"{mcp}\", auth=os.environ[\"FLEET_MCP_TOKEN\"])"
        ),
        Program::PythonSdk => format!(
            "import os\n\
             import httpx2\n\
             from mcp import Client\n\
             from mcp.client.streamable_http import streamable_http_client\n\n\
             http = httpx2.AsyncClient(headers={python}, timeout=120)\n\
             fleet = Client(streamable_http_client(\"{mcp}\", http_client=http))"
        ),
        Program::PythonSdk1 => format!(
            "import os\n\
             from mcp.client.streamable_http import streamablehttp_client\n\n\
             fleet = streamablehttp_client(\n    \
                 \"{mcp}\",\n    \
                 headers={python},\n\
             )"
        ),
        _ => {
            let package = match program {
                Program::TypescriptSdk => "@modelcontextprotocol/client",
                _ => "@modelcontextprotocol/sdk/client/streamableHttp.js",
            };
            format!(
                "import {{ StreamableHTTPClientTransport }} from '{package}';\n\n\
                 const transport = new StreamableHTTPClientTransport(new URL('{mcp}'), {{\n  \
                     requestInit: {{ headers: {{ Authorization: `Bearer ${{process.env.FLEET_MCP_TOKEN}}` }} }},\n\
                 }});"
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::ValueEnum as _;

    use super::*;

    #[test]
    fn every_form_names_the_url_and_spells_bearer_as_the_server_wants_it() {
        for &program in Program::value_variants() {
            let form = form(program, "https://fleet.example.com");

            assert!(form.contains("https://fleet.example.com/mcp"), "{form}");
            let builds_its_own =
                matches!(program, Program::Codex | Program::ResponsesApi | Program::Fastmcp);
            assert!(builds_its_own || form.contains("Bearer "), "{form}");
        }
    }

    #[test]
    fn who_has_no_variable_is_shown_where_the_token_goes() {
        for &program in Program::value_variants() {
            let form = form(program, "https://fleet.example.com");

            let shown = form.contains("FLEET_MCP_TOKEN");
            assert_eq!(shown, takes_variable(program), "{form}");
        }
    }
}
