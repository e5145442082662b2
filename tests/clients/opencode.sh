#!/usr/bin/env bash
# opencode: `opencode mcp list` connects for real; then it does a task.
# shellcheck source=tests/clients/agent.sh
source "$(dirname "${BASH_SOURCE[0]}")/agent.sh"

export XDG_CONFIG_HOME=$HOME/.config
mkdir -p "$XDG_CONFIG_HOME/opencode"
# Nothing else is asked for a model, for titles neither.
jq --arg url "$MODEL_URL/v1" '. + {
  provider: {mock: {
    npm: "@ai-sdk/openai-compatible", name: "Mock", options: {baseURL: $url, apiKey: env.MODEL_KEY},
    models: {"mock-1": {name: "Mock 1", tool_call: true}}
  }},
  model: "mock/mock-1", small_model: "mock/mock-1", enabled_providers: ["mock"], autoupdate: false, share: "disabled"
}' "$FLEET_MCP_FORM" > "$XDG_CONFIG_HOME/opencode/opencode.json"
version=$(opencode --version)

listed() {
  opencode mcp list < /dev/null 2>&1 | sed 's/\x1b\[[0-9;]*m//g'
}

works() {
  grep -Fq '✓ fleet connected' <<< "$(listed)"
  prompt | opencode run 2> "$HOME/stderr" | check_end
  jq -n --arg version "$version" --arg client opencode '{$version, $client}'
}

refused() {
  local message
  message=$(listed | sed -nE '/✗ fleet/,/http:/ { s/^[^a-zA-Z]*//; /^http:/d; p }' | paste -sd ';' | sed 's/;/: /')
  [[ $message == *failed* || $message == *'needs authentication'* ]]
  tell_refusal "$version" "$message"
}

"$1"
