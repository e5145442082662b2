# shellcheck shell=bash disable=SC2154,SC2016,SC2034 # variables of run, and scripts for shells inside
# Agents in their slots: users and cgroups of their own, nothing left when they end, and what they can't do.

prepare() {
  install_package /made/fleet-mcp.deb
  offer_shell
}

fresh() {
  forget_all
}

check_each_agent_has_a_user_of_its_own() {
  local one two
  one=$(does one 'id -u')
  two=$(does two 'id -u')
  echo "$one $two"
  ((one != two && one >= 61184 && one <= 65519 && two >= 61184 && two <= 65519))
  is 'the sockets that listen still' 16 "$(box systemctl list-units --no-legend --plain 'fleet-agent@*.socket' | wc -l)"
  forget one two
}

check_deleting_an_agent_leaves_nothing() {
  starts one "$dirty; echo ready; sleep 1000"
  eventually 20 says one ready
  is_alive
  forget one
  nothing_is_left
}

check_an_agent_that_ends_leaves_nothing_when_it_is_deleted() {
  does one "$dirty; echo ended" | grep -q ended
  forget one
  nothing_is_left
}

check_an_agent_that_crashes_leaves_nothing() {
  starts one "$dirty; echo ready; sleep 1000"
  eventually 20 says one ready
  # The program that it is, with all the rest of it still there.
  box pkill --signal KILL --full "^/bin/sh -c .*$mark" || box pkill --signal KILL --full "$mark"
  eventually 20 task_is one 'failed'
  ctl agent show one
  forget one
  nothing_is_left
}

check_a_host_that_is_killed_takes_everything_with_it() {
  starts one "$dirty; echo ready; sleep 1000"
  eventually 20 says one ready
  box systemctl kill --kill-whom=main --signal=KILL "$(box systemctl list-units --no-legend --plain 'fleet-agent@*.service' | awk '{ print $1 }')"
  eventually 20 task_is one 'failed|interrupted'
  nothing_is_left
  ctl agent show one
  forget one
}

check_stopping_the_daemon_leaves_nothing() {
  starts one "$dirty; echo ready; sleep 1000"
  starts two "$dirty; echo ready; sleep 1000"
  eventually 20 says one ready
  eventually 20 says two ready
  box systemctl stop fleet-mcp
  nothing_is_left
  box systemctl start fleet-mcp
  forget one two
}

check_a_slot_is_used_again_and_again() {
  local n
  for n in {1..12}; do
    does again 'echo fine' | grep -q fine || fail "not the ${n}th time"
    forget again
  done
  is 'failed units' '' "$(box systemctl --failed --no-legend)"
}

check_an_agent_can_use_what_it_needs() {
  local said
  said=$(does one 'set -ex; git --version; curl --silent --fail --output health http://127.0.0.1:8000/health; python3 -c "
import mmap
mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
import multiprocessing; multiprocessing.Lock()"
    unshare --user true
    head -c 1 /proc/meminfo /proc/cpuinfo > /dev/null; echo x > here; mkdir -p "$HOME/.cache/x"; echo fine')
  echo "$said"
  grep -qx fine <<< "$said"
}

check_an_agent_can_do_no_harm() {
  no_harm_is_done
}

check_an_agent_can_do_no_harm_without_landlock_either() {
  box mkdir -p /etc/systemd/system/fleet-agent@.service.d
  box sh -c 'printf "[Service]\nSystemCallFilter=~landlock_create_ruleset:ENOSYS\n" > /etc/systemd/system/fleet-agent@.service.d/landlock.conf'
  box systemctl daemon-reload
  does one "$(landlock)" | grep -qx 'landlock -1'
  forget one
  no_harm_is_done
  box rm -r /etc/systemd/system/fleet-agent@.service.d
  box systemctl daemon-reload
  does one "$(landlock)" | grep -q '^landlock [1-9]'
  forget one
}

# The version that the kernel offers to an agent.
landlock() {
  echo 'python3 -c "import ctypes; print(\"landlock\", ctypes.CDLL(None).syscall(444, 0, 0, 1))"'
}

no_harm_is_done() {
  local daemon other slot said before
  starts other 'echo secret > mine; echo secret > /tmp/mine; echo secret > /dev/shm/mine; echo ready; sleep 1000'
  eventually 20 says other ready
  before=$(main_pid)
  daemon=$before
  slot=$(box systemctl list-units --no-legend --plain 'fleet-agent@*.service' | sed 's/fleet-agent@\(.*\)\.service.*/\1/')
  other=$(box systemctl show "fleet-agent@$slot" --property=MainPID --value)
  box cp /usr/bin/id /usr/local/bin/rootly
  box chmod 4755 /usr/local/bin/rootly
  said=$(does attacker "$(attacks "$daemon" "$other" "$slot")")
  echo "$said"
  grep -qx 'tried [0-9]* things' <<< "$said" || fail 'it did not try everything'
  ! grep '^could: ' <<< "$said" || fail 'it could'
  note "$(grep -o 'tried [0-9]* things' <<< "$said")"
  is 'the pid of the daemon' "$before" "$(main_pid)"
  is 'the pid of the other' "$other" "$(box systemctl show "fleet-agent@$slot" --property=MainPID --value)"
  task_is other running
  forget attacker other
}

# attacks DAEMON OTHER SLOT: a script that prints what it could do of all that it shouldn't.
attacks() {
  cat << END
daemon=$1 other=$2 slot=$3
END
  cat << 'END'
count=0
cannot() { what=$1; shift; count=$((count + 1)); if "$@" > /dev/null 2>&1; then echo "could: $what"; fi; }
connects() { python3 -c 'import socket, sys; socket.socket(socket.AF_UNIX, int(sys.argv[2])).connect(sys.argv[1])' "$1" "${2:-1}"; }
is_seen() { ls "/proc/$1" || grep -q . "/proc/$1/cmdline"; }
as_root_of_its_own() { unshare --user --map-root-user --mount --pid --fork --mount-proc "$@"; }
cannot 'read the state directory' ls /var/lib/fleet-mcp
cannot 'read the token' cat /var/lib/fleet-mcp/auth_token
cannot 'read the database' cat /var/lib/fleet-mcp/fleet.db
cannot 'read the settings' cat /etc/fleet-mcp/config.toml
cannot 'read credentials' sh -c 'cat /run/credentials/*/*'
cannot 'connect to the control socket' connects /run/fleet-mcp/control.sock
cannot 'list the control socket' ls /run/fleet-mcp
for n in 01 02 03 04 05 06 07 08 09 10 11 12 13 14 15 16; do cannot "connect to slot $n" connects /run/fleet-agents/$n.sock; done
cannot 'see the daemon' is_seen "$daemon"
cannot 'signal the daemon' kill -0 "$daemon"
cannot 'kill the daemon' kill -9 "$daemon"
cannot 'read the memory of the daemon' head -c 1 "/proc/$daemon/mem"
cannot 'see another agent' is_seen "$other"
cannot 'signal another agent' kill -0 "$other"
cannot 'kill another agent' kill -9 "$other"
cannot 'signal init' kill -0 1
for place in /var/lib/fleet-agents /var/lib/private/fleet-agents; do
  cannot "list another agent's directory in $place" ls "$place/$slot/"
  cannot "enter another agent's directory in $place" cd "$place/$slot"
  cannot "write into another agent's directory in $place" touch "$place/$slot/x"
done
cannot "read another agent's workspace" sh -c "cat /var/lib/private/fleet-agents/$slot/*/mine /var/lib/private/fleet-agents/$slot/*/*/mine"
cannot "find another agent's files" sh -c 'find / -xdev -name mine -not -path "/proc/*" 2> /dev/null | grep .'
cannot "read another agent's temporary files" cat /tmp/mine
cannot "read another agent's shared memory" cat /dev/shm/mine
cannot 'become root through a setuid program' sh -c 'rootly -u | grep -x 0'
cannot 'gain new privileges' grep -q '^NoNewPrivs:.0' /proc/self/status
cannot 'have capabilities' grep -q '^CapEff:.*[1-9a-f]' /proc/self/status
cannot 'have capabilities within its bounds' grep -q '^CapBnd:.*[1-9a-f]' /proc/self/status
cannot 'read the token as root of its own' as_root_of_its_own cat /var/lib/fleet-mcp/auth_token
cannot 'unmask the state directory as root of its own' as_root_of_its_own sh -c 'umount /var/lib/fleet-mcp; ls /var/lib/fleet-mcp'
cannot 'unmask the control socket as root of its own' as_root_of_its_own sh -c 'umount -l /run/fleet-mcp; ls /run/fleet-mcp'
cannot 'read another agent as root of its own' as_root_of_its_own ls "/var/lib/private/fleet-agents/$slot"
cannot 'write where programs are' touch /usr/bin/x
cannot 'write settings of the system' touch /etc/x
cannot 'write units' touch /run/systemd/system/x.service
cannot 'change the kernel' sh -c 'echo 1 > /proc/sys/kernel/sysrq'
cannot 'read the log of the kernel' dmesg
cannot 'make a device' mknod x c 1 1
cannot 'open the disk' sh -c 'head -c 1 /dev/vda || head -c 1 /dev/sda'
cannot 'write into cgroups' sh -c 'echo 1 > /sys/fs/cgroup/cgroup.procs || echo 1 > /sys/fs/cgroup/systemd/cgroup.procs'
cannot 'talk to the bus' connects /run/dbus/system_bus_socket
cannot 'talk to systemd' connects /run/systemd/private
cannot 'stop the daemon' systemctl stop fleet-mcp
cannot 'write to the journal' connects /run/systemd/journal/socket 2
cannot 'read the journal' sh -c 'journalctl -n 1 -u fleet-mcp -q | grep .'
cannot 'trace the daemon' python3 -c 'import ctypes, sys; sys.exit(ctypes.CDLL(None).ptrace(16, int(sys.argv[1]), 0, 0))' "$daemon"
cannot 'find a descriptor that is not its own' sh -c 'ls -l /proc/self/fd | grep socket: | grep -v " [012] ->"'
cannot 'find the socket of systemd in its environment' sh -c 'env | grep -e ^NOTIFY_SOCKET -e ^LISTEN_ -e ^CREDENTIALS_ -e ^FLEET_MCP_AUTH'
cannot 'set the clock' date --set=@0
cannot 'reboot' reboot --force
echo "tried $count things"
END
}
