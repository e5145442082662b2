#!/usr/bin/env bash
# Claude Code: `claude mcp list` and `claude mcp get` connect for real, without an account.
set -Eeuo pipefail
trap 'printf "%s\n" "line $LINENO: $BASH_COMMAND" "${list-}" "${get-}" >&2' ERR

action=$1
export CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC=1 DISABLE_TELEMETRY=1 DISABLE_AUTOUPDATER=1 DISABLE_ERROR_REPORTING=1

# As README tells an operator. Claude Code itself puts the variable's value in, so the token is in no argument.
header=()
# shellcheck disable=SC2016
[[ -z ${FLEET_MCP_TOKEN:-} ]] || header=(--header 'Authorization: Bearer ${FLEET_MCP_TOKEN}')
claude mcp add --scope user --transport http fleet "$FLEET_MCP_URL" "${header[@]}" > /dev/null

version=$(claude --version)
version=${version%% *}
list=$(claude mcp list)
get=$(claude mcp get fleet)

works() {
  grep -Fq "fleet: $FLEET_MCP_URL (HTTP) - ✔ Connected" <<< "$list"
  grep -Fq 'Status: ✔ Connected' <<< "$get"
  # It tells the protocol in its debug log only.
  local protocol
  protocol=$(grep -ohE 'negotiatedProtocolVersion[\":]+[0-9-]+' -r "$HOME/.cache/claude-cli-nodejs" | grep -oE '[0-9-]+$' | tail -n 1)
  jq -n --arg version "$version" --arg protocol "$protocol" '{$version, $protocol}'
}

refused() {
  local message
  message=$(sed -n 's/^ *Issue: //p' <<< "$get")
  grep -Fq 'Status: ✘ Failed to connect' <<< "$get"
  grep -Fq "fleet: $FLEET_MCP_URL (HTTP) - ✘ Failed to connect — $message" <<< "$list"
  # Without a header it looks for OAuth, and finds none.
  local reason='Dynamic Client Registration rejected'
  [[ -z ${FLEET_MCP_TOKEN:-} ]] || reason='Server rejected the configured Authorization header (HTTP 401)'
  [[ $message == "$reason"* ]]
  jq -n --arg version "$version" --arg message "$message" '{$version, $message}'
}

"$action"
