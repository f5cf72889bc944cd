#!/usr/bin/env bash
# packaging/quickstart.sh in its guest: ended early, kept and then stopped.
#
#   quickstart_test.sh BUILD
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
build=$(realpath "$1")
if [[ -s $build/vm/unavailable ]]; then
  echo "skipped: $(cat "$build/vm/unavailable")"
  exit 77
fi

# shellcheck source=tests/packaging/quickstart_scratch.sh
. tests/packaging/quickstart_scratch.sh
export TMPDIR=$scratch/tmp
quickstart=(packaging/quickstart.sh --bin "$build")
end_at TERM "booted:" "${quickstart[@]}"
"${quickstart[@]}" --keep >"$scratch/out.txt" 2>&1 || fail "it fails"
grep -q "said FAILED:" "$scratch/out.txt" || fail "nothing has failed"
grep -q "/root/evil_script.sh" "$scratch/out.txt" || fail "it names no evil script"
work=$(echo "$scratch"/tmp/cupel.*)
[[ $("$work/guest" "echo \$((6 * 7)); false" || echo "ended with $?") == \
  $'42\nended with 1' ]] || fail "the guest takes no commands"
stop_kept "$work"
tail -n 15 "$scratch/out.txt"
