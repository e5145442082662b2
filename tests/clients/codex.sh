#!/usr/bin/env bash
# Codex: `codex exec` does a task. What its screen says of a server that refuses it is had from `codex app-server`.
# shellcheck source=tests/clients/agent.sh
source "$(dirname "${BASH_SOURCE[0]}")/agent.sh"

mkdir -p "$HOME/.codex"
[[ -e $HOME/.codex/config.toml ]] || cat > "$HOME/.codex/config.toml" << TOML
model = "mock-1"
model_provider = "mock"

[model_providers.mock]
name = "Mock"
base_url = "$MODEL_URL/v1"
wire_api = "responses"
env_key = "MODEL_KEY"
TOML

configure
version=$(codex --version)
version=${version##* }

works() {
  codex exec --skip-git-repo-check --dangerously-bypass-approvals-and-sandbox "$(prompt)" 2> "$HOME/stderr" < /dev/null |
    check_end || { cat "$HOME/stderr" >&2 && return 1; }
  jq -n --arg version "$version" --arg client codex-mcp-client '{$version, $client}'
}

# shellcheck disable=SC2154,SC2016 # coproc sets its variables; the quotes are those of the message
refused() {
  local message
  coproc server { exec codex app-server 2> "$HOME/stderr"; }
  jq -nc --arg cwd "$HOME" '
    {id: 1, method: "initialize", params: {clientInfo: {name: "test", title: "test", version: "1"}}},
    {method: "initialized"},
    {id: 2, method: "thread/start", params: {$cwd}}' >&"${server[1]}"
  # It goes on by itself until its standard input ends.
  message=$(timeout 20 jq --unbuffered -nr 'first(inputs | select(.method == "mcpServer/startupStatus/updated") | .params.error // empty)' <&"${server[0]}")
  kill "$server_PID" 2> /dev/null || true
  [[ -z ${FLEET_MCP_TOKEN:-} || $message == *'is not logged in. Run `codex mcp login fleet`.' ]]
  tell_refusal "$version" "$message"
}

"$1"
