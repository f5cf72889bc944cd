#!/usr/bin/env bash
# The lint tests that are other people's tools. Called by ctest.
#
#   lint.sh scripts FILE...        bash parses each
#   lint.sh format FILE...         clang-format would change none
#   lint.sh tidy BUILD SOURCE      clang-tidy is content with all that BUILD
#                                  compiles of SOURCE
set -uo pipefail

check_scripts() {
  local failed=0 script
  for script in "$@"; do
    bash -n "$script" || failed=1
    [[ -x $script ]] || { echo "$script is not executable"; failed=1; }
  done
  return $failed
}

check_format() {
  local output
  output=$(clang-format-14 --dry-run --Werror "$@" 2>&1) && return
  # One line a file, to be run as it is; anything else as it came.
  if grep -q -- '-Wclang-format-violations' <<<"$output"; then
    sed -n 's/^\(.*\):[0-9]*:[0-9]*: error: .*/clang-format-14 -i \1/p' \
      <<<"$output" | sort -u
  else
    echo "$output"
  fi
  return 1
}

# A file that passed is looked at again only when it, a header or the rules have
# changed since.
check_tidy() {
  local build=$1 source=$2
  local stamps=$build/lint/tidy
  mkdir -p "$stamps"
  cd "$source" || return 1
  local folders=()
  for folder in common agent verifier tenant tests; do
    [[ -d $folder ]] && folders+=("$folder")
  done

  local newest
  newest=$(find .clang-tidy tests/lint/lint.sh "${folders[@]}" -type f \
    \( -name '*.h' -o -name .clang-tidy -o -name lint.sh \) -printf '%T@ %p\n' |
    sort -n | tail -n 1 | cut -d' ' -f2-)
  local file stamp todo=() total=0
  while IFS= read -r file; do
    total=$((total + 1))
    stamp=$stamps/${file//\//__}
    [[ $stamp -nt $file && $stamp -nt $newest ]] || todo+=("$file")
  done < <(sed -n "s|^ *\"file\": \"$source/\(.*\)\".*|\1|p" \
    "$build/compile_commands.json" | grep -v "^${build#"$source"/}/" | sort -u)
  echo "$total files, ${#todo[@]} of them new or changed"
  [[ $total -gt 0 ]] || return 1
  [[ ${#todo[@]} -gt 0 ]] || return 0

  local pattern
  pattern="^$source/($(IFS='|'; echo "${folders[*]}"))/"
  export -f tidy_one
  export stamps build pattern
  printf '%s\0' "${todo[@]}" |
    xargs -0 -P "$(nproc)" -I{} bash -c 'tidy_one {}'
}

tidy_one() {
  local started=$stamps/${1//\//__}.started
  : >"$started"
  # g++'s options stand in the compile commands; clang need not know them all.
  clang-tidy-14 -p "$build" --quiet --header-filter="$pattern" \
    --extra-arg=-Wno-unknown-warning-option "$1" 2>&1 |
    grep -v ' warnings generated\.$\| warning generated\.$'
  [[ ${PIPESTATUS[0]} -eq 0 ]] && mv "$started" "$stamps/${1//\//__}"
}

case ${1:-} in
  scripts | format | tidy) "check_$1" "${@:2}" ;;
  *)
    echo "lint.sh: scripts, format or tidy" >&2
    exit 2
    ;;
esac
