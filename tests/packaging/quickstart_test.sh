#!/usr/bin/env bash
# packaging/quickstart.sh without a guest as different people use it: with a wrong
# option, ended in the middle, without any rights, and with --keep.
#
#   quickstart_test.sh BUILD
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
build=$(realpath "$1")

# shellcheck source=tests/packaging/quickstart_scratch.sh
. tests/packaging/quickstart_scratch.sh

# Somebody else may be unable to read the tree, so this is a copy of what counts.
tree=$scratch/tree
mkdir -p "$tree/packaging" "$tree/bin"
cp -r packaging/quickstart.sh packaging/guest "$tree/packaging/"
for program in agent verifier tenant; do
  mkdir "$tree/bin/$program"
  cp "$build/$program/cupel-$program" "$tree/bin/$program/"
done
chmod -R go+rX "$scratch"
export TMPDIR=$scratch/tmp
quickstart=("$tree/packaging/quickstart.sh" --emulated --bin "$tree/bin")
if [[ $(id -u) -eq 0 ]]; then
  chown nobody "$scratch/tmp"
  quickstart=(setpriv --reuid=nobody --regid=nogroup --clear-groups
    "${quickstart[@]}")
fi

# --- What can't be meant is refused, before anything is started.

for wrong in --nonsense "--bin" "--bin $scratch/nowhere" "--keep --help-me"; do
  status=0
  # shellcheck disable=SC2086  # several words on purpose
  "$tree/packaging/quickstart.sh" $wrong >"$scratch/out.txt" 2>&1 || status=$?
  [[ $status -eq 2 ]] || fail "$wrong ends with $status"
  grep -q -- "--keep" "$scratch/out.txt" || fail "$wrong does not say what is right"
done
"$tree/packaging/quickstart.sh" --help >"$scratch/out.txt" || fail "--help fails"

# --- Whoever ends it early finds nothing left.

# Each step's first line is a place to end it at.
end_at INT "^1\." "${quickstart[@]}"
end_at TERM "^5\." "${quickstart[@]}"
end_at HUP "^4\." "${quickstart[@]}"

# --- What is kept can be looked at, and ended.

"${quickstart[@]}" --keep >"$scratch/out.txt" 2>&1 || fail "--keep fails"
grep -q "said FAILED:" "$scratch/out.txt" || fail "nothing has failed"
work=$(echo "$scratch"/tmp/cupel.*)
(
  # shellcheck source=/dev/null
  . "$work/tenant.env"
  cupel-tenant list | grep -q FAILED
) || fail "the tenant can't be used against it"
stop_kept "$work"

echo "quickstart: refused, ended early, kept and stopped as it should"
