#!/usr/bin/env bash
# The MCP Inspector's command line. Second argument: its protocol era, `legacy`, `auto` or `modern`.
set -Eeuo pipefail
trap 'printf "%s\n" "line $LINENO: $BASH_COMMAND" >&2' ERR

action=$1 era=$2
export MCP_INSPECTOR_SECRET_STORE=memory
[[ -n ${FLEET_MCP_TOKEN:-} ]] || export FLEET_MCP_TOKEN=PUT-THE-TOKEN-HERE

# The token goes into a file that only this user reads, not into the arguments.
umask 077
form=$(cat "$FLEET_MCP_FORM")
printf '%s\n' "${form//PUT-THE-TOKEN-HERE/"$FLEET_MCP_TOKEN"}" > "$HOME/servers.json"

inspect() {
  mcp-inspector --cli --config "$HOME/servers.json" --server fleet --protocol-era "$era" \
    --stored-auth-only --format json --quiet --method "$@"
}

works() {
  local protocol
  protocol=$(inspect initialize | jq -re .result.protocolVersion)

  # --strict: no schema that some client can't take (exit status 6).
  inspect tools/list --strict 2> "$HOME/stderr" | jq -e '
    ["list_agents", "start_agent_task", "wait_for_agent"] - [.result.tools[].name] == []' > /dev/null
  if grep -i warn "$HOME/stderr" >&2; then return 1; fi
  inspect tools/call --tool-name list_agents | jq -e --arg agent "$FLEET_AGENT" '
    .result.structuredContent | any(.agents[]; .name == $agent)' > /dev/null
  inspect tools/call --tool-name start_agent_task --tool-arg agent_name="$FLEET_AGENT" --tool-arg task_description="$FLEET_TASK" > /dev/null
  inspect tools/call --tool-name wait_for_agent --tool-arg agent_name="$FLEET_AGENT" | jq -e --arg task "$FLEET_TASK" '
    .result.structuredContent | .state == "done" and .task.description == $task' > /dev/null

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
