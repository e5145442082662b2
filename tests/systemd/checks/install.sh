# shellcheck shell=bash disable=SC2154,SC2016,SC2034 # variables of run, and scripts for shells inside
# After `apt install`.

check_install_starts_the_daemon_and_it_is_ready() {
  is state active "$(box systemctl is-active fleet-mcp)"
  is 'the type' notify "$(box systemctl show fleet-mcp --property=Type --value)"
  is enabled enabled "$(box systemctl is-enabled fleet-mcp)"
  is health healthy "$(box curl --silent --fail http://127.0.0.1:8000/health | jq -r .status)"
  box curl --silent --fail 'http://[::1]:8000/health'
  box systemctl status fleet-mcp --no-pager | tee /dev/stderr | grep -q 'Status: "'
}

check_sixteen_places_for_agents_wait() {
  is 'the number of sockets' 16 "$(box systemctl list-units --no-legend --plain --state=listening 'fleet-agent@*.socket' | wc -l)"
  is 'socket modes' 'srw------- fleet-mcp 16' \
    "$(box sh -c 'stat --format="%A %U" /run/fleet-agents/*.sock' | sort | uniq -c | awk '{ print $2, $3, $1 }')"
}

check_modes_and_owners_are_right() {
  local path mode expected
  while read -r expected path; do
    mode=$(box stat --format='%a:%U:%G' "$path")
    is "$path" "$expected" "$mode"
  done << 'END'
700:fleet-mcp:fleet-mcp /var/lib/fleet-mcp
600:fleet-mcp:fleet-mcp /var/lib/fleet-mcp/auth_token
600:fleet-mcp:fleet-mcp /var/lib/fleet-mcp/fleet.db
700:fleet-mcp:fleet-mcp /run/fleet-mcp
600:fleet-mcp:fleet-mcp /run/fleet-mcp/control.sock
750:root:fleet-mcp /etc/fleet-mcp
640:root:fleet-mcp /etc/fleet-mcp/config.toml
750:fleet-mcp:fleet-mcp /var/log/fleet-mcp
755:root:root /run/fleet-agents
END
}

check_fleetctl_works_for_root_and_tells_others_what_is_missing() {
  local said status=0
  ctl status
  said=$(box setpriv --reuid=65534 --regid=65534 --clear-groups fleetctl status 2>&1) || status=$?
  echo "$said"
  is 'the exit status' 77 "$status"
  [[ $said == *'Permission denied'* && $said == *sudo* ]]
}

check_doctor_finds_nothing_wrong_here_and_a_unit_that_does_not_run() {
  local said status=0
  said=$(ctl doctor --json)
  # The box's own file system may be an overlay, and earlier checks were refused.
  said=$(jq -r '.findings[] | select(.severity != "skipped" and .severity != "note") | select(.check != "persistence" and .check != "refusals") | .what' <<< "$said")
  is 'what it finds' '' "$said"
  box systemctl stop fleet-mcp
  said=$(ctl doctor --json) || status=$?
  box systemctl start fleet-mcp
  is 'the exit status' 1 "$status"
  is 'the fix' 'systemctl start fleet-mcp' "$(jq -r '.findings[] | select(.check == "unit" and .severity == "error") | .fix' <<< "$said")"
  is 'errors of others' '' "$(jq -r '.findings[] | select(.severity == "error" and .check != "unit" and .check != "daemon") | .what' <<< "$said")"
}

check_rotation_is_live() {
  local old new before
  old=$(ctl token show)
  before=$(main_pid)
  is 'the answer to the token' 200 "$(with_token "$old")"
  new=$(ctl rotate)
  is 'the answer to the old token' 401 "$(with_token "$old")"
  is 'the answer to the new token' 200 "$(with_token "$new")"
  is 'the pid' "$before" "$(main_pid)"
  is 'the file' "$new" "$(box jq -r .value /var/lib/fleet-mcp/auth_token)"
}

check_reload_is_waited_for_and_wrong_settings_fail_it() {
  local before
  before=$(main_pid)
  box systemctl reload fleet-mcp
  box sh -c 'echo "listne = 1" > /etc/fleet-mcp/conf.d/wrong.toml && chmod 644 /etc/fleet-mcp/conf.d/wrong.toml'
  if box systemctl reload fleet-mcp; then fail 'wrong settings were taken over'; fi
  is state active "$(box systemctl is-active fleet-mcp)"
  box rm /etc/fleet-mcp/conf.d/wrong.toml
  box systemctl reload fleet-mcp
  is 'the pid' "$before" "$(main_pid)"
}

check_systemd_finds_nothing_wrong_with_the_units() {
  local said
  said=$(box systemd-analyze verify fleet-mcp.service fleet-agents.target fleet-agents.slice fleet-agent@01.socket fleet-agent@01.service 2>&1)
  is 'what it says' '' "$said"
}

check_exposure_is_as_low_as_the_work_allows() {
  local daemon agent score='s/.*level for .*: \([0-9.]*\) .*/\1/p'
  daemon=$(box systemd-analyze security --no-pager fleet-mcp.service | sed -n "$score")
  agent=$(box systemd-analyze security --no-pager fleet-agent@01.service | sed -n "$score")
  note "daemon $daemon, agent $agent"
  [[ $daemon && $agent ]]
  box awk -v daemon="$daemon" -v agent="$agent" 'BEGIN { exit !(daemon <= 1.2 && agent <= 2.5) }'
}

check_manuals_and_completions_are_there() {
  local page
  for page in 8:fleet-mcp 1:fleetctl 1:fleetctl-rotate 5:fleet-mcp.toml; do
    box man --warnings "${page%%:*}" "${page#*:}" > "$scratch/page" 2> "$scratch/warnings"
    [[ -s $scratch/page && ! -s $scratch/warnings ]] || fail "$page: $(cat "$scratch/warnings")"
  done
  box bash -c 'source /usr/share/bash-completion/completions/fleetctl && complete -p fleetctl'
}
