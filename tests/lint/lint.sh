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
  local work=$build/lint/tidy
  mkdir -p "$work"
  rm -f "$work"/batch_*
  cd "$source" || return 1
  local folders=()
  for folder in common agent verifier tenant tests; do
    [[ -d $folder ]] && folders+=("$folder")
  done

  local newest
  newest=$(find .clang-tidy tests/lint/lint.sh "${folders[@]}" -type f \
    \( -name '*.h' -o -name .clang-tidy -o -name lint.sh \) -printf '%T@ %p\n' |
    sort -n | tail -n 1 | cut -d' ' -f2-)
  compile_commands_of_each_file || return 1
  local file stamp todo=() total=0
  while IFS= read -r file; do
    total=$((total + 1))
    stamp=$work/${file//\//__}
    [[ $stamp -nt $file && $stamp -nt $newest ]] || todo+=("$file")
  done < <(sed -n "s|^ *\"file\": \"$source/\(.*\)\".*|\1|p" \
    "$work/compile_commands.json" | grep -v "^${build#"$source"/}/" | sort -u)
  echo "$total files, ${#todo[@]} of them new or changed"
  [[ $total -gt 0 ]] || return 1
  [[ ${#todo[@]} -gt 0 ]] || return 0

  local pattern
  pattern="^$source/($(IFS='|'; echo "${folders[*]}"))/"
  export -f tidy tidy_one tidy_batch
  export work build source pattern
  printf '%s\n' "${todo[@]}" | plan_batches || return 1
  local planned
  planned=$(find "$work" -name 'batch_*.cc' -exec cat {} + | wc -l)
  if [[ $planned -ne ${#todo[@]} ]]; then
    echo "$planned of ${#todo[@]} files are in a batch"
    return 1
  fi
  find "$work" -name 'batch_*.cc' -print0 | sort -zV |
    xargs -0 -P "$(nproc)" -I{} bash -c 'tidy_batch {}'
}

# Writes the compile commands anew, as if each file were compiled by itself: a
# build that joins several sources to one names only that one.
compile_commands_of_each_file() {
  awk -v build="$build" '
    /"directory":/ { directory = $0; next }
    /"command":/ { command = $0; next }
    /"file":/ {
      split($0, part, "\"")
      if (part[4] !~ /\/Unity\/unity_[0-9]+_cxx\.cxx$/) {
        print_entry(part[4])
        next
      }
      while ((getline line < part[4]) > 0) {
        if (split(line, include, "\"") == 3 && line ~ /^#include /) {
          print_entry(include[2])
        }
      }
      close(part[4])
    }
    function print_entry(file,    own) {
      own = command
      sub(/ -c [^ ]*",$/, " -c " file "\",", own)
      printf "%s\n{\n%s\n%s\n  \"file\": \"%s\"\n}", entries++ ? "," : "[",
        directory, own, file
    }
    END { print entries ? "\n]" : "[]" }
  ' "$build/compile_commands.json" >"$work/compile_commands.json"
}

# Most of the time goes into headers, so files that are compiled with the same
# options are looked at several at a time. Files that define the same names
# can't be in one batch; the names are guessed from the lines that begin in
# column 1, and a wrong guess costs time only (see tidy_batch). Reads paths from
# stdin; writes batch_N.cc and the options, batch_N.options.
plan_batches() {
  awk -v work="$work" -v source="$source" -v most=8 '
    FNR == NR { wanted[$0] = 1; next }
    /"command":/ { command = $0; next }
    /"file":/ {
      split($0, part, "\"")
      file = substr(part[4], length(source) + 2)
      if (index(part[4], source "/") != 1 || !(file in wanted)) next
      delete wanted[file]
      sub(/^ *"command": "[^ ]* /, "", command)
      sub(/ -o [^ ]* -c .*/, "", command)
      gsub(/\\"/, "\"", command)
      gsub(/\\\\/, "\\", command)
      place(file, command)
    }
    function place(file, options,    name, names, line, batch, clash) {
      while ((getline line < (source "/" file)) > 0) {
        if (line !~ /^[A-Za-z]/ || line ~ /^(namespace|using) /) continue
        sub(/ *[=({;[].*/, "", line)
        sub(/.*[ *&]/, "", line)
        if (line !~ /::|^TEST_CASE$|^static_assert$|^$/) names[line] = 1
      }
      close(source "/" file)
      for (batch = 1; batch <= batches; ++batch) {
        if (options_of[batch] != options || size[batch] >= most) continue
        clash = 0
        for (name in names) if ((batch, name) in taken) clash = 1
        if (!clash) break
      }
      if (batch > batches) {
        batches = batch
        options_of[batch] = options
        print options > (work "/batch_" batch ".options")
      }
      ++size[batch]
      for (name in names) taken[batch, name] = 1
      print "#include \"" source "/" file "\"" > (work "/batch_" batch ".cc")
    }
  ' - "$work/compile_commands.json"
}

# g++'s options stand in the compile commands; clang need not know them all.
tidy() {
  clang-tidy-14 --quiet --header-filter="$pattern" \
    --config-file="$source/.clang-tidy" \
    --extra-arg=-Wno-unknown-warning-option "$@" 2>&1 |
    grep -v ' warnings generated\.$\| warning generated\.$'
  return "${PIPESTATUS[0]}"
}

tidy_one() {
  local started=$work/${1//\//__}.started
  : >"$started"
  tidy -p "$work" "$1" && mv "$started" "$work/${1//\//__}"
}

# What a batch says counts only where it is content; else each file is asked. A
# file that may use what is deprecated says so before it includes anything,
# which comes too late in a batch.
tidy_batch() {
  local batch=$1 started=${1%.cc}.started options=() file files=() failed=0
  : >"$started"
  eval "options=($(<"${batch%.cc}.options"))"
  mapfile -t files < <(sed "s|^#include \"$source/\(.*\)\"|\1|" "$batch")
  if [[ ${#files[@]} -gt 1 ]] &&
    tidy "$batch" -- "${options[@]}" -Wno-deprecated-declarations \
      >"${batch%.cc}.log"; then
    for file in "${files[@]}"; do
      touch -r "$started" "$work/${file//\//__}"
    done
    return 0
  fi
  for file in "${files[@]}"; do
    tidy_one "$file" || failed=1
  done
  return $failed
}

case ${1:-} in
  scripts | format | tidy) "check_$1" "${@:2}" ;;
  *)
    echo "lint.sh: scripts, format or tidy" >&2
    exit 2
    ;;
esac
