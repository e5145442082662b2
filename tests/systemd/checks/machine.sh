# shellcheck shell=bash disable=SC2154,SC2016,SC2034 # variables of run, and scripts for shells inside
# What needs a kernel of its own: `run --vm`.

# What agents try, and how they leave nothing.
# shellcheck source=/dev/null
source "$here/checks/agents.sh"

prepare() {
  install_package /made/fleet-mcp.deb
  offer_shell
  # As docs/operating.md says it, and small, so that it is soon over.
  box mkdir -p /etc/systemd/system/fleet-agent@.service.d
  box sh -c 'printf "[Service]\nMemoryMax=150M\nMemorySwapMax=0\nTasksMax=60\n" > /etc/systemd/system/fleet-agent@.service.d/override.conf'
  box systemctl daemon-reload
}

check_the_daemon_is_ready() {
  local times
  times=$(box systemctl show fleet-mcp --property=InactiveExitTimestampMonotonic,ActiveEnterTimestampMonotonic | cut -d= -f2)
  is state active "$(box systemctl is-active fleet-mcp)"
  note "kernel $(box uname -r), systemd $(box systemctl --version | awk 'NR == 1 { print $2 }'), start to READY $(
    awk 'NR == 1 { from = $1 } NR == 2 { printf "%d ms", (from > $1 ? from - $1 : $1 - from) / 1000 }' <<< "$times"
  ), $(ctl status | grep -o 'landlock ABI [0-9]*')"
}

check_agent_that_eats_memory_is_killed_alone_and_shown_as_such() {
  local before
  before=$(main_pid)
  starts other 'echo ready; sleep 1000'
  eventually 60 says other ready
  begin_asking
  starts eater 'echo ready; exec python3 -c "
held = []
while True:
    held.append(bytearray(1 << 20))"'
  eventually 120 task_is eater failed
  ctl agent show eater
  ctl agent show eater | grep -i 'memory'
  task_is other running
  is 'the pid of the daemon' "$before" "$(main_pid)"
  box journalctl --quiet --no-pager --dmesg --grep 'Memory cgroup out of memory' | tail -n 1
  end_asking
  forget other eater
  nothing_is_left
}

check_fork_bomb_stays_within_its_limit() {
  local before full
  before=$(main_pid)
  starts other 'echo ready; sleep 1000'
  eventually 60 says other ready
  begin_asking
  starts bomb 'echo ready; bomb() { bomb | bomb & }; bomb; while :; do :; done'
  eventually 60 hits_its_limit
  note "at most $(cat "$full/pids.max") tasks, $(awk '{ print $2 }' "$full/pids.events") turned away"
  (($(cat "$full/pids.current") <= 60))
  task_is other running
  is 'the pid of the daemon' "$before" "$(main_pid)"
  end_asking
  forget other bomb
  nothing_is_left
}

# Some agent's cgroup has turned a process away.
hits_its_limit() {
  for full in /sys/fs/cgroup/fleet.slice/fleet-agents.slice/fleet-agent@*.service; do
    ! grep -qx 'max [1-9][0-9]*' "$full/pids.events" || return 0
  done
  return 1
}

check_an_agent_can_do_no_harm_on_this_kernel() {
  # Several processes at once, and python.
  no_harm_is_done
}

# Clients ask all the while, and every one of them is answered.
begin_asking() {
  ctl token show | box /made/tools/load 127.0.0.1:8000 20 20 > "$scratch/load" &
  asking=$!
}

end_asking() {
  wait "$asking"
  cat "$scratch/load"
  jq --exit-status '.kept.failed == 0 and .new.failed == 0' "$scratch/load"
  note "meanwhile $(jq -r '"\(.kept.sent + .new.sent) requests answered, the slowest in \(.wait_ms) ms"' "$scratch/load")"
}
