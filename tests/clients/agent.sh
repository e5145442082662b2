# What the programs of coding agents share; sourced. An agent has no model here but tests/agents/model.mjs, which calls the
# tools that its user asks for, one a line, and answers with the last result.
# shellcheck shell=bash

set -Eeuo pipefail
trap 'printf "%s\n" "line $LINENO: $BASH_COMMAND" >&2' ERR

# The form as it was printed, run as a person would, once.
# shellcheck disable=SC2317 # called by those who source this
configure() {
  [[ ! -e $HOME/.configured ]] || return 0
  bash -euo pipefail "$FLEET_MCP_FORM" > /dev/null
  touch "$HOME/.configured"
}

# shellcheck disable=SC2317
prompt() {
  echo 'CALL list_agents {}'
  jq -nr --arg agent "$FLEET_AGENT" --arg task "$FLEET_TASK" '
    "CALL start_agent_task \({agent_name: $agent, task_description: $task})",
    "CALL wait_for_agent \({agent_name: $agent})"'
}

# What the model said last, on standard input: whether it is the end of the task.
# shellcheck disable=SC2317
check_end() {
  local said
  said=$(cat)
  [[ $said == *RESULT* && ${said//\\/} == *'"state":"done"'* && $said == *"$FLEET_TASK"* ]] || {
    echo "the agent did not come to the end of the task: $said" >&2
    return 1
  }
}

# VERSION MESSAGE
# shellcheck disable=SC2317
tell_refusal() {
  jq -n --arg version "$1" --arg message "$2" '{$version, $message} | select($message != "")' | grep .
}
