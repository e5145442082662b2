# shellcheck shell=bash
# A box: a container with a systemd of its own, from a root that is never written to. For tests/systemd/run.
#
# Why it looks like this:
#  - The root is the lower layer of an overlay whose upper one is memory: no copy, nothing to clean up.
#  - nspawn is started in a cgroup of its own in each hierarchy, as PID 1 of a PID namespace that dies with us: even if this shell is killed,
#    the kernel takes the whole box with it, and the next run removes the empty cgroups.
#  - nspawn's own filter would take Landlock away from what runs inside.
#  - --register=no and --keep-unit: no systemd has to run on the outside.

# Empty cgroups of runs that were killed.
sweep_cgroups() {
  local cgroup owner
  for cgroup in /sys/fs/cgroup/fleet-box-* /sys/fs/cgroup/{systemd,unified}/fleet-box-*; do
    [[ -d $cgroup ]] || continue
    owner=${cgroup##*/fleet-box-} owner=${owner%%-*}
    [[ -d /proc/$owner ]] || find "$cgroup" -depth -type d -exec rmdir {} + 2> /dev/null || true
  done
}

# box_up ROOT LOG [NSPAWN OPTION...]: boots, and waits until systemd says that it runs.
box_up() {
  local root=$1 log=$2 hierarchy cgroup child state
  shift 2
  box_name=fleet-box-$$-$RANDOM box_outer='' box_nspawn='' box_leader='' box_cgroups=()
  sweep_cgroups
  for hierarchy in /sys/fs/cgroup /sys/fs/cgroup/systemd /sys/fs/cgroup/unified; do
    [[ -e $hierarchy/cgroup.procs ]] || continue
    mkdir "$hierarchy/$box_name"
    box_cgroups+=("$hierarchy/$box_name")
  done
  (
    for cgroup in "${box_cgroups[@]}"; do echo "$BASHPID" > "$cgroup/cgroup.procs"; done
    exec setpriv --pdeathsig KILL unshare --mount --pid --fork --kill-child=KILL --mount-proc sh -c '
      mkdir -p /run/systemd/nspawn && mount -t tmpfs -o mode=0755 box /run/systemd/nspawn && exec systemd-nspawn "$@"' sh \
      --quiet --directory="$root" --boot --volatile=overlay --register=no --keep-unit --private-network --link-journal=no \
      --machine="$box_name" --hostname=box --console=pipe --resolv-conf=off --timezone=off \
      --system-call-filter='landlock_create_ruleset landlock_add_rule landlock_restrict_self' "$@"
  ) < /dev/null > "$log" 2>&1 &
  box_outer=$!
  for _ in {1..3000}; do
    kill -0 "$box_outer" 2> /dev/null || { echo "the box did not start:" && tail -n 5 "$log" && return 1; }
    # unshare has one child, nspawn; of nspawn's, the leader is the one that is PID 1 inside.
    read -r box_nspawn _ < "/proc/$box_outer/task/$box_outer/children" || true
    # shellcheck disable=SC2013 # words, in one line
    for child in $(cat "/proc/${box_nspawn:-none}/task/${box_nspawn:-none}/children" 2> /dev/null); do
      if [[ $(awk '/^NSpid:/ { print $NF }' "/proc/$child/status" 2> /dev/null) == 1 && $(cat "/proc/$child/comm") == systemd ]]; then
        box_leader=$child
      fi
    done
    if [[ $box_leader ]] && box test -S /run/systemd/private 2> /dev/null; then break; fi
    sleep 0.01
  done
  state=$(box timeout 60 systemctl is-system-running --wait || true)
  [[ $state == running ]] || { echo "the box is $state:" && box systemctl --failed --no-legend --plain && return 1; }
}

# Runs a command inside.
box() {
  nsenter --target "$box_leader" --all -- env -i PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8 TERM=dumb "$@"
}

# box_put FILE PATH [MODE]: copies a file into it.
box_put() {
  # shellcheck disable=SC2016 # of the shell inside
  box sh -c 'cat > "$1" && chmod "$2" "$1"' sh "$2" "${3:-644}" < "$1"
}

# Ends it, orderly or else by force, and fails if anything is left.
box_down() {
  local pids_inside='' cgroup left=()
  [[ ${box_outer:-} ]] || return 0
  [[ ! $box_leader ]] || pids_inside=$(readlink "/proc/$box_leader/ns/pid" || true)
  [[ ! $box_nspawn ]] || kill -TERM "$box_nspawn" 2> /dev/null || true
  for _ in {1..500}; do
    kill -0 "$box_outer" 2> /dev/null || break
    sleep 0.02
  done
  kill -KILL "$box_outer" 2> /dev/null || true
  wait "$box_outer" 2> /dev/null || true
  for cgroup in "${box_cgroups[@]}"; do
    for _ in {1..100}; do
      find "$cgroup" -depth -type d -exec rmdir {} + 2> /dev/null || true
      [[ -d $cgroup ]] || break
      sleep 0.02
    done
    [[ ! -d $cgroup ]] || left+=("the cgroup $cgroup")
  done
  if [[ $pids_inside ]] && find /proc -maxdepth 3 -path '/proc/[0-9]*/ns/pid' -lname "$pids_inside" 2> /dev/null | grep -q .; then
    left+=("processes of $pids_inside")
  fi
  ! grep -qF "$box_name" /proc/self/mountinfo || left+=("mounts of $box_name")
  box_outer='' box_leader=''
  ((${#left[@]} == 0)) || { printf 'left behind: %s\n' "${left[@]}" && return 1; }
}
