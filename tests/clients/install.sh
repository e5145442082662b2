# Installs what tests/clients pins, once. Sourced; wants the directory `cache`.
# shellcheck shell=bash disable=SC2154

pinned=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

# RUNTIMES: node, and python-VERSION of a file with requirements.
install() {
  local runtime
  mkdir -p "$cache"
  exec 9> "$cache/lock"
  flock 9
  for runtime in $1; do
    case $runtime in
      node) install_once node "$pinned"/node/{package.json,package-lock.json,.npmrc} ;;
      python-*) install_once "$runtime" "$pinned/python/requirements-${runtime#python-}.txt" ;;
    esac
  done
  exec 9>&-
}

# NAME FILE...: installs NAME unless it was installed from exactly these files.
install_once() {
  local name=$1 stamp
  shift
  stamp=$(cat "$@" | sha256sum)
  [[ $(cat "$cache/$name/.stamp" 2> /dev/null) != "$stamp" ]] || return 0
  echo "installing $name into $cache/$name" >&2
  rm -rf "${cache:?}/$name"
  mkdir "$cache/$name"
  case $name in
    node)
      cp "$@" "$cache/node/"
      # Not `npm ci`: it wants to see the packages for other systems too, which not every registry has.
      (cd "$cache/node" && npm install --no-save --loglevel=error > /dev/null)
      ;;
    python-*)
      python3 -m venv "$cache/$name"
      "$cache/$name/bin/pip" install --quiet --requirement "$1"
      ;;
  esac
  echo "$stamp" > "$cache/$name/.stamp"
}
