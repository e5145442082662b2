# shellcheck shell=bash disable=SC2154 # the variables of run
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
