#!/usr/bin/env bash
# Runs the commands at the head of README.md as a newcomer would: the committed tree in a new folder, an empty home, an
# empty npm cache. Prints how long each took.
#
#   scripts/fresh-clone.sh [repository]
set -euo pipefail
repository="$(cd "${1:-$(dirname "$0")/..}" && pwd)"
work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
mkdir "$work/home"
git clone --quiet "$repository" "$work/clone"
cd "$work/clone"

mapfile -t commands < <(awk '/^```sh$/ { inside = 1; next } /^```$/ { if (inside) exit } inside' README.md)
[ "${#commands[@]}" -eq 2 ] || { echo "the first sh block of README.md has ${#commands[@]} commands, not 2" >&2; exit 1; }

for command in "${commands[@]}"; do
  echo "\$ $command"
  from=$SECONDS
  env -u XDG_STATE_HOME -u XDG_CACHE_HOME -u XDG_CONFIG_HOME -u SANDBOX_LEDGER \
    HOME="$work/home" npm_config_cache="$work/npm" bash -c "$command" </dev/null
  echo "took $((SECONDS - from)) s"
done
