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

# Starts the quickstart by $3 and what follows, sends the signal $1 to it, and to
# whoever else gets what a terminal sends, once its output has the line $2, and
# finds nothing left of it.
end_at() {
  local signal=$1 line=$2 pid tries=0 status=0
  shift 2
  # What another run has said is not this one's.
  : >"$scratch/out.txt"
  # A process group of its own, as a terminal gives; and not with the signals
  # ignored that a shell's background jobs are started with.
  perl -e '$SIG{INT} = "DEFAULT"; setpgrp; exec @ARGV' \
    "$@" >"$scratch/out.txt" 2>&1 &
  pid=$!
  until grep -q "$line" "$scratch/out.txt"; do
    tries=$((tries + 1))
    [[ $tries -lt 3600 ]] || fail "never came to: $line"
    kill -0 "$pid" 2>/dev/null || fail "ended before it came to: $line"
    sleep 0.05
  done
  kill -"$signal" -- "-$pid"
  wait "$pid" || status=$?
  [[ $status -eq $((128 + $(kill -l "$signal"))) ]] ||
    fail "after $signal it ends with $status"
  [[ -z $(ls -A "$scratch/tmp") ]] || fail "$signal leaves files behind"
  ! pgrep -f "$scratch/tmp/" >"$scratch/left.txt" ||
    fail "$signal leaves processes behind"
}
