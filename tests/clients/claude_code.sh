#!/usr/bin/env bash
# Claude Code: `claude mcp list` and `claude mcp get` connect for real; then it does a task.
# shellcheck source=tests/clients/agent.sh
source "$(dirname "${BASH_SOURCE[0]}")/agent.sh"

export CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC=1 DISABLE_TELEMETRY=1 DISABLE_AUTOUPDATER=1 DISABLE_ERROR_REPORTING=1
# Else our tools hide behind a tool that searches for them, which our model does not know.
export ENABLE_TOOL_SEARCH=false ANTHROPIC_BASE_URL=$MODEL_URL ANTHROPIC_API_KEY=$MODEL_KEY

configure
version=$(claude --version)
version=${version%% *}

works() {
  grep -Fq "fleet: $FLEET_MCP_URL (HTTP) - ✔ Connected" <<< "$(claude mcp list)"
  claude -p "$(prompt)" --allowedTools mcp__fleet | check_end
  jq -n --arg version "$version" --arg client claude-code '{$version, $client}'
}

refused() {
  local get list message
  get=$(claude mcp get fleet) list=$(claude mcp list)
  message=$(sed -n 's/^ *Issue: //p' <<< "$get")
  grep -Fq "fleet: $FLEET_MCP_URL (HTTP) - ✘ Failed to connect — $message" <<< "$list"
  [[ $message == 'Server rejected the configured Authorization header (HTTP 401)'* ]]
  # What it says when the variable is not set.
  message+=$(sed -n 's/.*\[Warning\]/; [Warning]/p' <<< "$list")
  tell_refusal "$version" "$message"
}

"$1"
