#!/usr/bin/env bash
# A folder for a test of packaging/quickstart.sh, where whatever that keeps is
# ended with. Sourced, with the project's folder as the working one; sets
# `scratch`, and $scratch/tmp is there for TMPDIR.

scratch=$(mktemp -d)
mkdir "$scratch/tmp"

fail() {
  echo "quickstart_test: $1" >&2
  cat "$scratch"/*.txt >&2 2>/dev/null || true
  exit 1
}

cleanup() {
  local stop
  for stop in "$scratch"/tmp/*/stop.sh; do
    [[ ! -x $stop ]] || "$stop"
  done
  rm -rf "$scratch"
}
trap cleanup EXIT
trap 'exit 143' TERM

# Ends what --keep has left in $1, which then leaves nothing.
stop_kept() {
  "$1/stop.sh" || fail "stop.sh fails"
  [[ ! -e $1 ]] || fail "stop.sh leaves files behind"
  ! pgrep -f "$scratch/tmp/" >"$scratch/left.txt" ||
    fail "stop.sh leaves processes behind"
}
