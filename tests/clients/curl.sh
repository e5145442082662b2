#!/usr/bin/env bash
# curl, with the lines of its form: the tools as plain HTTP.
set -Eeuo pipefail
trap 'printf "%s\n" "line $LINENO: $BASH_COMMAND" >&2' ERR

version=$(curl --version | sed -nE '1s/^curl ([^ ]+).*/\1/p')
export FLEET_MCP_TOKEN=${FLEET_MCP_TOKEN:-}
form=$(cat "$FLEET_MCP_FORM")
form=${form//sony/"$FLEET_AGENT"} form=${form//say hello/"$FLEET_TASK"}

works() {
  # Each answer is one JSON document.
  bash -euo pipefail -c "$form" 2> "$HOME/progress" | jq -se --arg agent "$FLEET_AGENT" --arg task "$FLEET_TASK" '
    length == 4 and any(.[0].agents[]; .name == $agent) and .[1].task_description == $task
      and .[2].state == "done" and .[2].task.description == $task and .[3].status == "healthy"' > /dev/null
  jq -n --arg version "$version" '{$version, protocol: "HTTP"}'
}

refused() {
  bash -euo pipefail -c "$(head -n 1 <<< "$form")" 2> "$HOME/progress" |
    jq -e --arg version "$version" 'select(.error) | {$version, message: tojson}'
}

"$1"
