# shellcheck shell=bash disable=SC2154,SC2016,SC2034 # variables of run, and scripts for shells inside
# What the checks have in common.

# Said in the table, beside the check's name.
note() {
  echo "$*" >> "$scratch/notes"
}

fail() {
  echo "$*" >&2
  return 1
}

# eventually SECONDS COMMAND...: until it succeeds.
eventually() {
  local deadline=$((SECONDS + $1))
  shift
  until "$@"; do
    ((SECONDS < deadline)) || fail "not in time: $*"
    sleep 0.05
  done
}

# is WHAT EXPECTED FOUND
is() {
  [[ $3 == "$2" ]] || fail "$1 is \`$3\`, not \`$2\`"
}

ctl() {
  box fleetctl "$@"
}

# A request to the plain tools; prints status and body.
list_agents() {
  box curl --silent --max-time 10 --output /dev/null --write-out '%{http_code}' "$@" http://127.0.0.1:8000/mcp/list_agents
}

with_token() {
  list_agents --header "Authorization: Bearer $1"
}

# Journal entries as JSON, a line each.
entries() {
  box journalctl --sync
  box journalctl --quiet --unit=fleet-mcp --output=json --no-pager "$@"
}

main_pid() {
  box systemctl show fleet-mcp --property=MainPID --value
}

# Installs the package as an operator does.
install_package() {
  box apt-get -qq install --yes --no-install-recommends "$1" < /dev/null
}

prepare() {
  install_package /made/fleet-mcp.deb
}

# Everything that was logged, for whoever looks for a failure's cause.
box_journal() {
  box timeout 20 journalctl --sync 2> /dev/null || true
  box timeout 20 journalctl --no-pager --output=short-precise 2> /dev/null || true
}

# What each check of a group begins with.
fresh() {
  :
}

# Marks the processes of agents, to be found by their command line.
mark=of-an-agent
# What an agent starts that outlives it: in sessions of their own, deaf to signals, and doubly forked.
dirty="setsid sh -c 'trap \"\" HUP TERM INT; while :; do sleep 1; done # $mark' & (setsid sleep 1000 &) ; nohup sleep 1000 > /dev/null 2>&1 & : $mark"

# An agent program that does as it is told: its task is a script.
offer_shell() {
  box sh -c 'cat > /etc/fleet-mcp/conf.d/shell.toml' << 'END'
[agents.shell]
driver = "command"
command = "/bin/sh"
args = ["-c", "{task}"]

[roles.shell]
agent = "shell"
default = true

[roles.demo]
agent = "demo"
END
  box chmod 644 /etc/fleet-mcp/conf.d/shell.toml
  box sh -c 'umask 077; echo "Authorization: Bearer $(fleetctl token show)" > /run/with-token'
  box systemctl reload fleet-mcp
}

# starts AGENT SCRIPT
starts() {
  ctl agent create "$1" "$2" --project scratch --role shell > /dev/null
}

# does AGENT SCRIPT: what it has said when it is done.
does() {
  starts "$@"
  ctl agent wait --timeout 60 "$1" > /dev/null
  said_by "$1"
}

# The entries of an agent's log, oldest first, a line each. Pages that are small enough for nothing on them to be cut.
log_of() {
  local page=1 more=true
  while [[ $more == true ]]; do
    box curl --silent --fail --max-time 10 --header @/run/with-token \
      "http://127.0.0.1:8000/mcp/show_agent_log?agent_name=$1&page_size=10&page=$page" > "$scratch/page-$page" || return
    more=$(jq .has_next_page "$scratch/page-$page")
    page=$((page + 1))
  done
  while ((--page)); do jq -c '.logs | reverse | .[]' "$scratch/page-$page"; done
}

# All that an agent has said, on both streams.
said_by() {
  log_of "$1" | jq -rj 'select(.kind == "message" or .kind == "diagnostic").content'
}

says() {
  # Reads to the end: said_by would fail if nobody listened.
  said_by "$1" | grep "$2" > /dev/null
}

# task_is AGENT STATES: one of them, separated by |.
task_is() {
  ctl agent show --json "$1" | jq --exit-status --arg states "^($2)$" '.agent.task.state | test($states)' > /dev/null
}

# Deletes agents, also those that are being deleted, and waits until they are.
forget() {
  local agent
  for agent in "$@"; do
    ctl agent delete "$agent" > /dev/null || eventually 60 is_gone "$agent"
  done
}

is_gone() {
  ! ctl agent show "$1" > /dev/null 2>&1
}

forget_all() {
  local agents
  agents=$(ctl agent list --json | jq -r '.agents[].name')
  # shellcheck disable=SC2086 # words
  forget $agents
}

# Processes of users that systemd made up for agents.
agent_processes() {
  box ps -eo uid=,pid=,args= | awk '$1 >= 61184 && $1 <= 65519'
}

is_alive() {
  [[ $(agent_processes) ]] || fail 'no agent runs'
}

nothing_is_left() {
  eventually 20 no_agent_runs
}

no_agent_runs() {
  [[ ! $(agent_processes) && ! $(box systemctl list-units --no-legend --plain --state=activating,active,deactivating 'fleet-agent@*.service') \
    && ! $(box find /sys/fs/cgroup -type d -name 'fleet-agent@*.service') ]]
}
