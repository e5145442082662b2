# shellcheck shell=bash disable=SC2154,SC2016,SC2034 # variables of run, and scripts for shells inside
# No client notices that the daemon is another one.

rate=500

prepare() {
  install_package /made/fleet-mcp.deb
  offer_shell
}

fresh() {
  forget_all
}

check_restart_under_load_fails_no_request() {
  under_load restart
  # Nobody was hung up on.
  jq --exit-status '.kept.failed == 0 and .new.failed == 0 and .rude == 0 and .polite > 0' "$scratch/load"
}

check_daemon_that_is_killed_under_load_is_back_at_once() {
  under_load kill
  # What was being answered when it was killed is lost, all at that moment, and no more.
  jq --exit-status '.kept.failed + .new.failed <= 25 and .failing_ms < 100' "$scratch/load"
}

check_upgrade_under_load_fails_no_request() {
  under_load upgrade
  is version 0.1.0-1+newer "$(box dpkg-query --show fleet-mcp | cut -f 2)"
  jq --exit-status '.kept.failed == 0 and .new.failed == 0 and .rude == 0 and .polite > 0' "$scratch/load"
}

check_hung_daemon_is_restarted_by_the_watchdog() {
  box mkdir -p /run/systemd/system/fleet-mcp.service.d
  box sh -c 'printf "[Service]\nWatchdogSec=2s\nTimeoutAbortSec=1s\n" > /run/systemd/system/fleet-mcp.service.d/soon.conf'
  box systemctl daemon-reload
  box systemctl restart fleet-mcp
  old_pid=$(main_pid)
  replace_daemon hang
  box journalctl --quiet --no-pager --unit=fleet-mcp | grep -i watchdog
  box rm -r /run/systemd/system/fleet-mcp.service.d
  box systemctl daemon-reload
}

check_call_that_waits_is_answered_at_once_that_the_task_is_still_running() {
  local answer
  starts waited 'sleep 1000'
  box curl --silent --max-time 30 --header "Authorization: Bearer $(ctl token show)" --write-out '\n%{http_code}' \
    --output "/tmp/waited" 'http://127.0.0.1:8000/mcp/wait_for_agent?agent_name=waited&timeout_seconds=60' > "$scratch/status" &
  answer=$!
  # It has arrived.
  sleep 0.5
  box systemctl restart fleet-mcp
  wait "$answer"
  is 'the answer' 200 "$(tail -n 1 "$scratch/status")"
  box cat /tmp/waited
  is 'the state' running "$(box jq -r .state /tmp/waited)"
  # And that was the truth: nothing was interrupted.
  is 'the state after the restart' running "$(ctl agent show --json waited | jq -r .agent.task.state)"
  forget waited
}

check_primary_token_comes_from_an_encrypted_credential() {
  local token=cccccccccccccccccccccccccccccccccccccccccccc1
  box mkdir -p /etc/credstore.encrypted
  box sh -c "printf %s $token | systemd-creds encrypt --with-key=host --name=auth_token - /etc/credstore.encrypted/fleet-mcp.auth_token"
  box systemctl restart fleet-mcp
  is 'the answer to the token' 200 "$(with_token "$token")"
  is 'the answer to the token of the file' 401 "$(with_token "$(box jq -r .value /var/lib/fleet-mcp/auth_token)")"
  is 'the token in argument lists and files' '' "$(box sh -c "grep -rlF $token /var/lib/fleet-mcp /run/fleet-mcp /var/log 2> /dev/null || true")"
  box rm /etc/credstore.encrypted/fleet-mcp.auth_token
  box systemctl restart fleet-mcp
  is 'the answer to the token' 401 "$(with_token "$token")"
}

# under_load HOW: the daemon is replaced while clients ask.
under_load() {
  local load
  old_pid=$(main_pid)
  ctl token show | box /made/tools/load 127.0.0.1:8000 $rate 8 > "$scratch/load" &
  load=$!
  sleep 2
  replace_daemon "$1"
  wait "$load"
  cat "$scratch/load"
  note "$(jq -r '"\(.kept.sent + .new.sent) requests, \(.kept.failed + .new.failed) failed, longest gap \(.gap_ms) ms, \(.polite) kept connections closed by an answer, \(.rude) otherwise"' "$scratch/load")"
}

# replace_daemon HOW
replace_daemon() {
  case $1 in
    restart) box systemctl restart fleet-mcp ;;
    kill) box systemctl kill --kill-whom=main --signal=KILL fleet-mcp ;;
    upgrade) install_package /made/newer.deb ;;
    hang) box kill -STOP "$old_pid" ;;
  esac
  eventually 20 is_new
}

is_new() {
  [[ $(main_pid) != "$old_pid" && $(main_pid) != 0 && $(box systemctl is-active fleet-mcp) == active ]]
}
