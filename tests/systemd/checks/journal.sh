# shellcheck shell=bash disable=SC2154,SC2016,SC2034 # variables of run, and scripts for shells inside
# What an operator finds in the journal, and what fail2ban makes of it.

wrong=wwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwww

check_refused_request_is_one_whole_entry_within_100_ms() {
  local answered entry arrived late
  box curl --silent --output /dev/null --user-agent probe/1.0 --header "Authorization: Bearer $wrong" \
    --dump-header "/tmp/answer" --data '{}' http://127.0.0.1:8000/mcp
  answered=${EPOCHREALTIME/./}
  entry=$(eventually 5 refused_of probe/1.0)
  echo "$entry"
  is 'the number of entries' 1 "$(wc -l <<< "$entry")"
  arrived=$(jq -r .__REALTIME_TIMESTAMP <<< "$entry")
  late=$(((arrived - answered) / 1000))
  note "$late ms after the answer"
  ((late < 100))
  jq --exit-status --arg id "$(box sed -n 's/^x-request-id: \(.*\)\r$/\1/p' /tmp/answer)" '
    .MESSAGE == "401 invalid_token from 127.0.0.1: POST /mcp" and .PRIORITY == "4" and .SYSLOG_IDENTIFIER == "fleet-mcp"
    and .MESSAGE_ID == "d2f6ea4b7e0c4b4f9a2f3c1f5b8e6a01" and .FLEET_EVENT == "auth_failure" and .FLEET_REASON == "invalid_token"
    and .FLEET_STATUS == "401" and .FLEET_CLIENT_IP == "127.0.0.1" and (.FLEET_CLIENT_PORT | tonumber > 0) and .FLEET_METHOD == "POST"
    and .FLEET_PATH == "/mcp" and .FLEET_USER_AGENT == "probe/1.0" and .FLEET_TOKEN_FINGERPRINT == "93147f94"
    and .FLEET_REQUEST_ID == $id and ._SYSTEMD_UNIT == "fleet-mcp.service"' <<< "$entry"
}

refused_of() {
  entries "FLEET_USER_AGENT=$1" | grep .
}

check_each_refusal_is_found_by_its_reason() {
  local token old
  old=$(ctl token show)
  token=$(ctl rotate)
  with_token "$token"
  list_agents --user-agent reasons
  list_agents --user-agent reasons --header 'Authorization: Basic dTpw'
  list_agents --user-agent reasons --header "Authorization: Bearer $old"
  for reason in missing_token malformed_header revoked; do
    is "entries for $reason" 1 "$(entries FLEET_EVENT=auth_failure FLEET_USER_AGENT=reasons FLEET_REASON=$reason | wc -l)"
  done
  if box journalctl --no-pager --output=export | grep -e "$token" -e "$old"; then fail 'a token is in the journal'; fi
}

check_every_change_is_found_with_who_made_it() {
  ctl rotate > /dev/null
  is 'who rotated' uid:0 "$(entries FLEET_EVENT=token_rotated | tail -n 1 | jq -r .FLEET_BY)"
  is 'who made the token' default "$(entries FLEET_EVENT=token_created | jq -r .FLEET_TOKEN)"
  with_token "$(ctl token show)"
  entries FLEET_EVENT=token_first_used | jq --exit-status '.FLEET_CLIENT_IP == "127.0.0.1"' | tail -n 1
}

check_journalctl_explains_each_event() {
  local id said
  for id in $(box sed -n 's/^-- \([0-9a-f]\{32\}\)$/\1/p' /usr/lib/systemd/catalog/fleet-mcp.catalog); do
    box journalctl --dump-catalog "$id" | grep -q 'Defined-By: fleet-mcp'
  done
  list_agents --header "Authorization: Bearer $wrong"
  box journalctl --sync
  said=$(box journalctl --unit=fleet-mcp --catalog --no-pager FLEET_EVENT=auth_failure FLEET_REASON=invalid_token)
  echo "$said"
  [[ $said == *'A request from 127.0.0.1 was refused: invalid_token'* ]]
}

# fail2ban_finds MODE: the lines of the whole journal that its filter takes, by itself.
fail2ban_finds() {
  box fail2ban-regex --print-all-matched systemd-journal "/usr/share/doc/fleet-mcp/examples/fail2ban/filter.conf[mode=$1]" > "$scratch/fail2ban"
  sed -n 's/^| *\(.*fleet-mcp\[.*\)$/\1/p' "$scratch/fail2ban"
}

check_fail2ban_takes_our_entries_and_no_others() {
  local found expected from forged='x
401 invalid_token from 198.51.100.9: GET /'
  for from in 127.0.0.11 127.0.0.12; do
    list_agents --interface "$from" --header "Authorization: Bearer $wrong"
    list_agents --interface "$from"
  done
  # What would have others banned.
  box curl --silent --output /dev/null --user-agent 'fleet-mcp[1]: 401 invalid_token from 198.51.100.7: GET /' \
    --header "Authorization: Bearer $wrong" 'http://127.0.0.1:8000/%0a401%20invalid_token%20from%20198.51.100.8:%20GET%20/mcp'
  box curl --silent --output /dev/null --path-as-is --header "Authorization: Bearer $wrong" \
    'http://127.0.0.1:8000/fleet-mcp[1]:%20401%20invalid_token%20from%20198.51.100.8:%20GET/401 invalid_token from 198.51.100.8: GET /' || true
  box curl --silent --output /dev/null --header 'X-Forwarded-For: 198.51.100.10' --header "Authorization: Bearer $wrong" http://127.0.0.1:8000/
  # As an agent might: in another unit, with the identifier and the fields of the real ones.
  box systemd-run --quiet --wait --pipe --uid=nobody logger --journald << END
MESSAGE=401 invalid_token from 198.51.100.11: POST /mcp
SYSLOG_IDENTIFIER=fleet-mcp
FLEET_EVENT=auth_failure
END
  box logger --tag fleet-mcp "$forged"
  box journalctl --sync
  found=$(fail2ban_finds normal)
  echo "$found"
  [[ $found != *' from 198.51.100.'* ]]
  if box fail2ban-regex systemd-journal /usr/share/doc/fleet-mcp/examples/fail2ban/filter.conf --verbose | grep 198.51.100; then fail 'an address was forged'; fi
  expected=$(entries FLEET_EVENT=auth_failure FLEET_REASON=invalid_token FLEET_REASON=malformed_header | wc -l)
  is 'what it takes' "$expected" "$(wc -l <<< "$found")"
  expected=$((expected + $(entries FLEET_EVENT=auth_failure FLEET_REASON=missing_token | wc -l)))
  is 'what it takes in mode aggressive' "$expected" "$(fail2ban_finds aggressive | wc -l)"
  note "$expected entries"
}

check_fail2ban_bans_who_guesses() {
  box sh -c 'cp /usr/share/doc/fleet-mcp/examples/fail2ban/filter.conf /etc/fail2ban/filter.d/fleet-mcp.conf
    cp /usr/share/doc/fleet-mcp/examples/fail2ban/jail.conf /etc/fail2ban/jail.d/fleet-mcp.conf
    rm -f /etc/fail2ban/jail.d/defaults-debian.conf
    printf "[DEFAULT]\nbanaction = dummy\n" > /etc/fail2ban/jail.d/zz-test.local'
  box systemctl start fail2ban
  eventually 20 box fail2ban-client status fleet-mcp
  for _ in {1..12}; do
    list_agents --interface 127.0.0.77 --header "Authorization: Bearer $wrong"
  done
  eventually 20 banned 127.0.0.77
}

banned() {
  box fail2ban-client status fleet-mcp | grep -q "Banned IP list:.*$1"
}
