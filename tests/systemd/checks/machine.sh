# shellcheck shell=bash disable=SC2154,SC2016,SC2034 # variables of run, and scripts for shells inside
# What needs a kernel of its own: `run --vm`.

check_the_daemon_is_ready() {
  local times
  times=$(box systemctl show fleet-mcp --property=InactiveExitTimestampMonotonic,ActiveEnterTimestampMonotonic | cut -d= -f2)
  is state active "$(box systemctl is-active fleet-mcp)"
  note "kernel $(box uname -r), systemd $(box systemctl --version | awk 'NR == 1 { print $2 }'), start to READY $(
    awk 'NR == 1 { from = $1 } NR == 2 { printf "%d ms", (from > $1 ? from - $1 : $1 - from) / 1000 }' <<< "$times"
  )"
}
