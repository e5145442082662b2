# shellcheck shell=bash disable=SC2154,SC2016,SC2034 # variables of run, and scripts for shells inside
# No agent notices that the daemon is another one.

# How the daemon is replaced.
# shellcheck source=/dev/null
source "$here/checks/restart.sh"

check_turns_go_on_over_a_restart() {
  begin_turns
  replace_daemon restart
  finish_turns
}

check_turns_go_on_over_a_kill() {
  begin_turns
  replace_daemon kill
  finish_turns
}

check_turns_go_on_over_an_upgrade() {
  begin_turns
  replace_daemon upgrade
  finish_turns
}

check_turns_go_on_over_a_hang() {
  box mkdir -p /run/systemd/system/fleet-mcp.service.d
  box sh -c 'printf "[Service]\nWatchdogSec=2s\nTimeoutAbortSec=1s\n" > /run/systemd/system/fleet-mcp.service.d/soon.conf'
  box systemctl daemon-reload
  box systemctl restart fleet-mcp
  begin_turns
  replace_daemon hang
  box rm -r /run/systemd/system/fleet-mcp.service.d
  box systemctl daemon-reload
  finish_turns
}

# Three agents in the middle of a turn: one writes slowly, one as fast as it can, one asks a person.
begin_turns() {
  starts slow 'for i in $(seq 1 100); do echo $i; sleep 0.1; done'
  starts quick 'i=0; while [ $i -lt 40 ]; do i=$((i + 1)); seq $((i * 1000 - 999)) $((i * 1000)); sleep 0.2; done'
  ctl agent create asks 'ask me, then write a file' --project scratch --role demo > /dev/null
  eventually 20 task_is asks needs_attention
  eventually 20 says slow 3
  eventually 20 says quick 1000
  old_pid=$(main_pid)
  old_agents=$(agent_processes | grep -v ' sleep ' | awk '{ print $2 }' | sort)
  echo "the daemon is $old_pid, the agents' processes are" "$old_agents"
}

finish_turns() {
  local pid
  # The one that asks is where it was, and the others have gone on.
  task_is asks needs_attention
  for pid in $old_agents; do
    agent_processes | awk -v pid="$pid" '$2 == pid { found = 1 } END { exit !found }' || task_is quick 'done' \
      || fail "the process $pid has ended"
  done
  ctl agent answer asks allow_once
  ctl agent wait asks > /dev/null
  ctl agent wait slow --timeout 60 > /dev/null
  ctl agent wait quick --timeout 60 > /dev/null
  task_is slow 'done'
  task_is quick 'done'
  task_is asks 'done'
  # Everything is there once, in its order.
  is 'what the slow one said' "$(seq 1 100)" "$(said_by slow)"
  is 'what the quick one said' "$(seq 1 40000 | sha256sum)" "$(said_by quick | sha256sum)"
  is 'how often it asked' 1 "$(log_of asks | jq --slurp '[.[] | select(.kind == "question")] | length')"
  forget slow quick asks
}
