#!/usr/bin/env bash
# Builds Cupel and tests it, from nothing:
#
#   tests/run.sh                  release: every test, then a short fuzz smoke
#   tests/run.sh --asan           the tests under AddressSanitizer and UBSan
#   tests/run.sh --tsan           the tests under ThreadSanitizer
#   tests/run.sh --fuzz SECONDS   the fuzz targets alone, SECONDS each
#   tests/run.sh --long           the tests that take minutes each as well, and
#                                 the debug build
#
# --no-install leaves the system's packages alone. The last line counts what
# ran: "N passed, N failed, N skipped". A fuzz target counts as one test, and so
# does a step without which no test can run. The exit code is 0 only if
# something passed and nothing failed.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1

readonly SMOKE_SECONDS=6
readonly FUZZ_RSS_MB=2048
readonly FUZZ_TIMEOUT_SECONDS=20

mode=release
long=no
install=yes
fuzz_seconds=$SMOKE_SECONDS
test_options=()
usage() {
  sed -n '2,/^set /{s/^# \{0,1\}//p}' tests/run.sh >&2
  exit 2
}
while [[ $# -gt 0 ]]; do
  case $1 in
    --asan | --tsan) mode=${1#--} ;;
    --fuzz)
      mode=fuzz
      fuzz_seconds=${2:-}
      [[ $fuzz_seconds =~ ^[1-9][0-9]*$ ]] || usage
      shift
      ;;
    --long)
      long=yes
      test_options+=(-C long)
      ;;
    --no-install) install=no ;;
    *) usage ;;
  esac
  shift
done

jobs=$(nproc)
passed=0
failed=0
skipped=0
failures=()

say() { printf '\n== %s (%d s)\n' "$1" "$SECONDS"; }

finish() {
  printf '\n'
  if [[ ${#failures[@]} -gt 0 ]]; then
    printf 'FAILED: %s\n' "${failures[@]}"
  fi
  printf '%d passed, %d failed, %d skipped\n' "$passed" "$failed" "$skipped"
  [[ $failed -eq 0 && $passed -gt 0 ]]
  exit
}

# Runs a step that the rest depends on; counts it only where it fails.
must() {
  local name=$1
  shift
  "$@" && return
  failed=$((failed + 1))
  failures+=("$name")
  finish
}

# Without the list of what was found; errors and warnings go to stderr.
configure() {
  cmake --preset "$@" >/dev/null
}

build() {
  local preset=$1
  local options=()
  command -v ccache >/dev/null &&
    options+=(-DCMAKE_CXX_COMPILER_LAUNCHER=ccache)
  say "configure $preset"
  must "configure $preset" configure "$preset" "${options[@]}"
  say "build $preset"
  must "build $preset" cmake --build --preset "$preset" --parallel "$jobs"
}

# Adds the results in a JUnit file of ctest's to the counts. ctest's own summary
# counts a skipped test as passed, so the cases are counted here. A test that
# did not run for any reason but its own wish to be skipped has failed.
count_results() {
  local file=$1
  local total ran skips
  total=$(grep -c '<testcase ' "$file")
  ran=$(grep -c '<testcase .*status="run"' "$file")
  skips=$(grep -c '<skipped message="SKIP_RETURN_CODE=' "$file")
  passed=$((passed + ran))
  skipped=$((skipped + skips))
  failed=$((failed + total - ran - skips))
}

run_tests() {
  local preset=$1
  local results=$PWD/build/$preset/results.xml
  rm -f "$results"
  say "test $preset"
  local failed_before=$failed
  ctest --preset "$preset" -j "$jobs" "${test_options[@]}" --output-junit "$results" </dev/null
  local status=$?
  if [[ -s $results ]]; then
    count_results "$results"
  fi
  # Whatever the file says, ctest's word that something is wrong stands.
  if [[ $status -ne 0 && $failed -eq $failed_before ]]; then
    failed=$((failed + 1))
  fi
  if [[ $status -ne 0 ]]; then
    failures+=("tests of preset $preset")
  fi
}

# Fuzzes one target; its seeds are read, and what is found goes to the build
# folder.
fuzz_one() {
  local name=$1 seconds=$2
  local out=build/fuzz/out/$name
  mkdir -p "$out/corpus"
  local folders=("$out/corpus")
  [[ -d tests/fuzz/corpus/$name ]] && folders+=("tests/fuzz/corpus/$name")
  ASAN_SYMBOLIZER_PATH=/usr/lib/llvm-14/bin/llvm-symbolizer \
    "build/fuzz/tests/fuzz/$name" -max_total_time="$seconds" \
    -timeout="$FUZZ_TIMEOUT_SECONDS" -rss_limit_mb="$FUZZ_RSS_MB" \
    -artifact_prefix="$out/" -print_final_stats=1 "${folders[@]}" \
    >"$out/log" 2>&1 </dev/null
  echo $? >"$out/status"
}

run_fuzzers() {
  local seconds=$1
  local targets=()
  mapfile -t targets < <(
    sed -n 's/^cupel_fuzzer(\([a-z0-9_]*\).*/\1/p' tests/fuzz/CMakeLists.txt)
  say "fuzz ${#targets[@]} targets, $seconds s each"
  local name
  for name in "${targets[@]}"; do
    rm -f "build/fuzz/out/$name/status"
    while [[ $(jobs -rp | wc -l) -ge $jobs ]]; do wait -n; done
    fuzz_one "$name" "$seconds" &
  done
  wait
  for name in "${targets[@]}"; do
    local log=build/fuzz/out/$name/log status runs
    status=$(cat "build/fuzz/out/$name/status" 2>/dev/null)
    runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log" 2>/dev/null)
    if [[ $status == 0 && ${runs:-0} -gt 0 ]]; then
      printf 'Passed   %-36s %10d runs\n' "$name" "$runs"
      passed=$((passed + 1))
    else
      tail -n 60 "$log"
      printf 'FAILED   %-36s exit %s\n' "$name" "${status:-none}"
      failed=$((failed + 1))
      failures+=("fuzz target $name")
    fi
  done
}

if [[ $install == yes ]]; then
  say "packages"
  must packages packaging/install-deps.sh
fi
case $mode in
  release)
    build release
    run_tests release
    build fuzz
    run_fuzzers "$fuzz_seconds"
    # Each source by itself, as no other build has them (docs/adr/0007).
    [[ $long == no ]] || build debug
    ;;
  fuzz)
    build fuzz
    run_fuzzers "$fuzz_seconds"
    ;;
  *)
    build "$mode"
    run_tests "$mode"
    ;;
esac
finish
