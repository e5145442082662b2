#!/usr/bin/env bash
# The MCP Inspector's command line. Second argument: its protocol era, `legacy`, `auto` or `modern`.
set -Eeuo pipefail
trap 'printf "%s\n" "line $LINENO: $BASH_COMMAND" >&2' ERR

action=$1 era=$2
export MCP_INSPECTOR_SECRET_STORE=memory

# The token goes into a file that only this user reads, not into the arguments.
umask 077
jq -n '{mcpServers: {fleet: {
  type: "streamable-http", url: env.FLEET_MCP_URL,
  headers: (if env.FLEET_MCP_TOKEN then {Authorization: "Bearer \(env.FLEET_MCP_TOKEN)"} else {} end)
}}}' > "$HOME/servers.json"

inspect() {
  mcp-inspector --cli --config "$HOME/servers.json" --server fleet --protocol-era "$era" \
    --stored-auth-only --format json --quiet --method "$@"
}

works() {
  local protocol
  protocol=$(inspect initialize | jq -re .result.protocolVersion)

  # --strict: no schema that some client can't take (exit status 6).
  inspect tools/list --strict | jq -e '
    ["list_agents", "list_agent_projects", "list_agent_roles", "show_agent"] - [.result.tools[].name] == []' > /dev/null
  inspect tools/call --tool-name list_agents | jq -e '
    .result.structuredContent | (.agents | type == "array") and (.total_count | type == "number")' > /dev/null
  inspect tools/call --tool-name list_agent_projects | jq -e '
    (.result.isError | not) and (.result.structuredContent | type == "object")' > /dev/null

  local unknown status=0
  unknown=$(inspect tools/call --tool-name show_agent --tool-arg agent_name=nobody 2> /dev/null) || status=$?
  ((status == 5)) # the Inspector's status for isError
  jq -e '.result.isError and (.result.content[0].text | test("nobody"))' <<< "$unknown" > /dev/null

  jq -n --arg version "$(mcp-inspector --cli --version)" --arg protocol "$protocol" '{$version, $protocol}'
}

refused() {
  local said status=0
  said=$(inspect tools/list 2>&1) || status=$?
  ((status == 3)) # the Inspector's status for authentication
  jq --arg version "$(mcp-inspector --cli --version)" \
    '.error | select(.code == "auth_required") | {$version, message: "\(.code): \(.message)"}' <<< "$said"
}

"$action"
