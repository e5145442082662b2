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

# The only place where the real clock may be set. A day forth and back, and a year forth.
check_no_token_lives_longer_than_the_clock_was_set_and_doctor_tells_of_it() {
  local hours days seconds
  hours=$(ctl token create hours --expires 2h) days=$(ctl token create days --expires 30d)
  all_counts "$hours" 200 "$days" 200

  set_clock '+1 day'
  all_counts "$hours" 401 "$days" 200
  eventually 10 told_of 86400 1
  doctor_says 'the clock was set once since the daemon started (in all forward by 24h): forward by 24h'
  set_clock '-1 day'
  all_counts "$hours" 200 "$days" 200
  eventually 10 told_of -86400 1
  doctor_says 'the clock was set 2 times since the daemon started (it is right again)'

  # It lives as long as it was given, and by the jump longer.
  seconds=$(ctl token create seconds --expires 3s)
  set_clock '-1 day'
  sleep 4
  all_counts "$seconds" 200
  eventually 10 told_of -86400 2
  set_clock '+1 day'
  all_counts "$seconds" 401 "$hours" 200
  eventually 10 told_of 86400 2

  # Events are removed at the start if they are too old: these would be.
  set_clock '+365 days'
  eventually 10 told_of 31536000 1
  box systemctl restart fleet-mcp
  sleep 2
  ctl events --audit --token hours | grep token_created
  all_counts "$days" 401
  set_clock '-365 days'
  all_counts "$days" 200
  eventually 10 told_of -31536000 1
  doctor_says 'the clock was set once since the daemon started (in all back by 8760h): back by 8760h'
}

set_clock() {
  box date --set="$1" > /dev/null
}

# TOKEN STATUS...: what each of them is answered now.
all_counts() {
  while (($#)); do
    is 'the answer' "$2" "$(with_token "$1")"
    shift 2
  done
}

# SECONDS TIMES: the journal has so many jumps by so much.
told_of() {
  is "jumps by $1 s" "$2" "$(entries FLEET_EVENT=clock_set "FLEET_SECONDS=$1" | wc -l)" 2> /dev/null
}

# It ends with 1 if it has found something.
doctor_says() {
  local said
  said=$(ctl doctor) || true
  grep -F "$1" <<< "$said" || fail "the doctor says: $said"
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
