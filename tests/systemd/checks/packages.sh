# shellcheck shell=bash disable=SC2154,SC2016,SC2034 # variables of run, and scripts for shells inside
# The package's whole life, as Debian's policy has it.

check_lintian_has_nothing_to_say() {
  local said
  said=$(lintian --allow-root --info "$made/fleet-mcp.deb")
  is 'what it says' '' "$said"
}

check_package_names_no_path_of_the_machine_that_built_it() {
  # A debug build does.
  [[ ! $quick ]] || return 0
  if strings -n 8 "$root"/target/packaging/bin/* | grep -F -e "$root" -e "${CARGO_HOME:-$HOME/.cargo}"; then fail 'a path of this machine'; fi
}

check_package_says_what_the_programs_are_made_of() {
  local crate listed=0
  box cat /usr/share/doc/fleet-mcp/fleet-mcp.cdx.json > "$scratch/bill"
  jq --raw-output '.components[] | "\(.name) \(.version)"' "$scratch/bill" | sort > "$scratch/components"
  while IFS= read -r crate; do
    grep -qxF "$crate" "$scratch/components" || fail "$crate is not listed"
    listed=$((listed + 1))
  done < <(cargo tree --locked --manifest-path "$root/Cargo.toml" --edges normal --prefix none --no-dedupe |
    sed -n 's/^\([^ ]*\) v\([^ ]*\).*/\1 \2/p' | grep -v '^fleet-mcp ' | sort -u)
  ((listed > 100)) || fail "only $listed crates"
  ! grep -F -e "$root" -e "${CARGO_HOME:-$HOME/.cargo}" "$scratch/bill" || fail 'a path of this machine'
}

check_rpm_has_the_same_files() {
  local files
  files=$(rpm -qlp "$made/fleet-mcp.rpm" 2> /dev/null)
  for file in $(box dpkg --listfiles fleet-mcp); do
    # Each distribution has its own places for these, and directories are Debian's only.
    if [[ $file == /usr/share/@(doc|lintian|man|zsh)* ]] || ! box test -f "$file"; then continue; fi
    grep -qxF "$file" <<< "$files" || fail "the rpm lacks $file"
  done
  rpm -qp --scripts "$made/fleet-mcp.rpm" | sed -n '/scriptlet/!p' | bash -n
}

check_install_says_what_comes_next() {
  box apt-get -qq purge --yes fleet-mcp
  box apt-get -qq install --yes --no-install-recommends /made/fleet-mcp.deb > "$scratch/install"
  cat "$scratch/install"
  grep -q 'fleetctl token show' "$scratch/install"
}

check_upgrade_restarts_the_daemon_and_keeps_everything() {
  local token before sockets
  token=$(ctl token show)
  box sh -c 'echo "# mine" >> /etc/fleet-mcp/config.toml'
  before=$(main_pid)
  sockets=$(socket_times)
  install_package /made/newer.deb
  is version 0.1.0-1+newer "$(box dpkg-query --show fleet-mcp | cut -f 2)"
  is state active "$(box systemctl is-active fleet-mcp)"
  [[ $(main_pid) != "$before" ]] || fail 'it was not restarted'
  is 'the sockets' "$sockets" "$(socket_times)"
  is 'the answer to the token' 200 "$(with_token "$token")"
  box grep -q '# mine' /etc/fleet-mcp/config.toml
  is 'the mode' 640:root:fleet-mcp "$(box stat --format=%a:%U:%G /etc/fleet-mcp/config.toml)"
}

socket_times() {
  box systemctl show 'fleet-agent@*.socket' --property=Id,ActiveEnterTimestampMonotonic
}

check_upgrade_does_not_start_what_was_stopped_and_disabled() {
  box systemctl disable --now fleet-mcp
  install_package /made/newer.deb
  box apt-get -qq install --yes --reinstall /made/newer.deb
  is state inactive "$(box systemctl is-active fleet-mcp || true)"
  is enabled disabled "$(box systemctl is-enabled fleet-mcp || true)"
  box systemctl enable --now fleet-mcp
}

check_removal_ends_everything_and_keeps_state_and_settings() {
  local token
  token=$(ctl token show)
  box apt-get -qq remove --yes fleet-mcp
  is 'what is left of units' '' "$(box systemctl list-units --no-legend --plain 'fleet-*')"
  is 'what is left of processes' '' "$(box pgrep --list-full fleet || true)"
  is 'what is left of sockets' '' "$(box sh -c 'ls -A /run/fleet-agents /run/fleet-mcp 2> /dev/null || true')"
  is 'the token in the file' "$token" "$(box jq -r .value /var/lib/fleet-mcp/auth_token)"
  box test -f /etc/fleet-mcp/config.toml
  box test ! -e /usr/bin/fleet-mcp
}

check_installing_again_finds_the_old_state() {
  local token
  token=$(box jq -r .value /var/lib/fleet-mcp/auth_token)
  install_package /made/fleet-mcp.deb
  is state active "$(box systemctl is-active fleet-mcp)"
  is 'the answer to the token' 200 "$(with_token "$token")"
  box grep -q '# mine' /etc/fleet-mcp/config.toml
}

check_purge_leaves_nothing_but_the_user() {
  # What an agent has left, and a slot that was added.
  box sh -c 'mkdir -p /var/lib/private/fleet-agents/01/repo && ln -sfn private/fleet-agents /var/lib/fleet-agents'
  box systemctl enable --now fleet-agent@17.socket
  box sh -c 'echo mine > /etc/fleet-mcp/my-own'
  box apt-get -qq purge --yes fleet-mcp
  is 'what is left' /etc/fleet-mcp/my-own "$(box find / -xdev -path /proc -prune -o -path /made -prune -o -path /tmp -prune -o \
    -path /var/log -prune -o -path /var/lib/dpkg -prune -o -type f -ipath '*fleet*' -print)"
  is 'what is left of links' '' "$(box find /etc /usr /var/lib -xdev -type l -lname '*fleet*' -print)"
  is 'what is left of state' '' "$(box sh -c 'ls -d /var/lib/*fleet* /var/lib/private/*fleet* /var/log/*fleet* /run/*fleet* 2> /dev/null || true')"
  box getent passwd fleet-mcp
  is 'failed units' '' "$(box systemctl --failed --no-legend)"
  box rm -r /etc/fleet-mcp
}

check_install_into_a_system_that_does_not_run() {
  # As an image is built: no unit may be started, and nothing may fail.
  box env SYSTEMD_OFFLINE=1 sh -c 'printf "#!/bin/sh\nexit 101\n" > /usr/sbin/policy-rc.d && chmod 755 /usr/sbin/policy-rc.d'
  install_package /made/fleet-mcp.deb
  is state inactive "$(box systemctl is-active fleet-mcp || true)"
  is enabled enabled "$(box systemctl is-enabled fleet-mcp)"
  box rm /usr/sbin/policy-rc.d
  box systemctl start fleet-mcp
  is state active "$(box systemctl is-active fleet-mcp)"
}
