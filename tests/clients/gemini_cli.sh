#!/usr/bin/env bash
# Gemini CLI: `gemini mcp list` connects for real; then it does a task.
# shellcheck source=tests/clients/agent.sh
source "$(dirname "${BASH_SOURCE[0]}")/agent.sh"

export GEMINI_TELEMETRY_ENABLED=false NO_COLOR=1 GEMINI_API_KEY=$MODEL_KEY GOOGLE_GEMINI_BASE_URL=$MODEL_URL

mkdir -p "$HOME/.gemini"
[[ -e $HOME/.gemini/settings.json ]] || {
  echo '{"security": {"auth": {"selectedType": "gemini-api-key"}}, "privacy": {"usageStatisticsEnabled": false}}' > "$HOME/.gemini/settings.json"
  jq -n --arg folder "$PWD" '{($folder): "TRUST_FOLDER"}' > "$HOME/.gemini/trustedFolders.json"
}
configure
version=$(gemini --version)

works() {
  grep -Fq "✓ fleet: $FLEET_MCP_URL (http) - Connected" <<< "$(gemini mcp list 2>&1)"
  # With `-m`, because else it asks a model which model to ask.
  gemini -m gemini-2.5-flash --yolo -p "$(prompt)" 2> "$HOME/stderr" < /dev/null | check_end
  jq -n --arg version "$version" --arg client gemini-cli-mcp-client '{$version, $client}'
}

refused() {
  local listed message
  listed=$(gemini mcp list 2>&1 < /dev/null)
  grep -Fq "✗ fleet: $FLEET_MCP_URL (http) - Disconnected" <<< "$listed"
  message=$(gemini -m gemini-2.5-flash --debug --yolo -p hello 2>&1 < /dev/null | sed -nE "s/ undefined$//; s/.*(MCP server 'fleet' requires)/\1/p" | head -n 1)
  [[ $message == *'requires authentication using: /mcp auth fleet' ]]
  tell_refusal "$version" "$message"
}

"$1"
