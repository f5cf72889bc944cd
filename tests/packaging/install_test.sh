#!/usr/bin/env bash
# What `cmake --install` lays down: these files and no others, programs that run
# from there, units that systemd understands and that give little away.
#
#   install_test.sh BUILD VERSION
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
source=$PWD
build=$(realpath "$1")
version=$2

# systemd-analyze security's exposure, in tenths: 0 is none, 100 is all of it.
declare -rA most_exposed=([verifier]=11 [agent]=22)

stage=$(mktemp -d)
trap 'rm -rf "$stage"' EXIT
fail() {
  echo "install_test: $1" >&2
  exit 1
}

# --- The files.

# The administrator's own, which an installation leaves as it is.
mkdir -p "$stage/etc/cupel"
echo "# mine" >"$stage/etc/cupel/agent.yaml"

DESTDIR=$stage cmake --install "$build" --prefix /usr >"$stage/log"
rm "$stage/log"
doc=usr/share/doc/cupel
{
  cat <<END
etc/cupel/agent.yaml
usr/bin/cupel-tenant
usr/lib/systemd/system/cupel-agent.service
usr/lib/systemd/system/cupel-verifier.service
usr/lib/sysusers.d/cupel.conf
usr/lib/tmpfiles.d/cupel.conf
usr/sbin/cupel-agent
usr/sbin/cupel-verifier
$doc/README.md
$doc/examples/agent.yaml
$doc/examples/ima/guide.policy
$doc/examples/ima/strict.policy
$doc/examples/prometheus/cupel.rules.yaml
$doc/examples/tenant.yaml
$doc/examples/verifier.yaml
usr/share/initramfs-tools/hooks/cupel-ima
usr/share/initramfs-tools/scripts/init-top/00-cupel-ima
END
  find docs -name '*.md' -printf "$doc/%p\n"
} | sort >"$stage.expected"
(cd "$stage" && find . ! -type d -printf '%P\n' | sort) >"$stage.found"
diff "$stage.expected" "$stage.found" || {
  rm -f "$stage.expected" "$stage.found"
  fail "other files (>) than expected (<)"
}
rm -f "$stage.expected" "$stage.found"
[[ $(<"$stage/etc/cupel/agent.yaml") == "# mine" ]] || fail "/etc is written to"
wrong=$(find "$stage" ! -type l -perm /0022 -print -quit)
[[ -z $wrong ]] || fail "others may write to $wrong"

# Alerts are about metrics that there are.
for metric in $(grep -o 'cupel_[a-z_]*' "$stage/$doc/examples/prometheus/"*.yaml |
  sed 's/.*://; s/_bucket$//' | sort -u); do
  grep -q "\"$metric\"" verifier/rpc/metrics.cc ||
    fail "the alerts name $metric, which no verifier has"
done

# --- The programs.

for program in bin/cupel-tenant sbin/cupel-agent sbin/cupel-verifier; do
  path=$stage/usr/$program
  said=$("$path" --version) || fail "$program --version fails"
  [[ $said == *"$version" ]] || fail "$program is \"$said\""
  "$path" --help >/dev/null || fail "$program --help fails"
  if readelf --dynamic "$path" | grep -E 'R(UN)?PATH'; then
    fail "$program looks for libraries in folders of its own"
  fi
  if ldd "$path" | grep 'not found'; then fail "$program lacks a library"; fi
done

# An example is read as it is. Paths that are not there come after that.
for program in agent verifier; do
  said=$("$stage/usr/sbin/cupel-$program" run --set log_level=nonsense \
    --config "$stage/$doc/examples/$program.yaml" 2>&1) &&
    fail "cupel-$program takes nonsense"
  [[ $said == *log_level* ]] || fail "cupel-$program: $said"
done

echo "no_such_option: 1" >"$stage/wrong.yaml"
for program in agent verifier; do
  said=$("$stage/usr/sbin/cupel-$program" run --config "$stage/wrong.yaml" 2>&1) &&
    fail "cupel-$program takes an option that there is not"
  [[ $said == *"$stage/wrong.yaml:1: unknown option"* ]] ||
    fail "cupel-$program: $said"
done

# --- Another prefix, chosen at the last moment.

mkdir "$stage/other"
DESTDIR=$stage/other cmake --install "$build" --prefix /opt/cupel >/dev/null
units=$stage/other/opt/cupel/lib/systemd/system
for program in agent verifier; do
  grep -q "^ExecStart=/opt/cupel/sbin/cupel-$program run$" \
    "$units/cupel-$program.service" || fail "the unit does not know its prefix"
done

# --- The units.

if ! command -v systemd-analyze >/dev/null; then
  echo "install_test: no systemd-analyze; the units are not looked at"
  exit 77
fi
mkdir "$stage/units"
for program in agent verifier; do
  unit=$stage/units/cupel-$program.service
  sed "s,=/usr/sbin/,=$stage/usr/sbin/," \
    "$stage/usr/lib/systemd/system/cupel-$program.service" >"$unit"
  said=$(systemd-analyze verify "$unit" 2>&1) || fail "$said"
  # Keys that it does not know are no error to it, only a line.
  [[ -z $said ]] || fail "$said"
  systemd-analyze security --offline=true --no-pager \
    --threshold="${most_exposed[$program]}" "$unit" >"$stage/security" ||
    { cat "$stage/security"; fail "cupel-$program.service is too exposed"; }
  tail -n 1 "$stage/security"
done
systemd-sysusers --dry-run "$source/packaging/systemd/cupel-sysusers.conf" \
  >/dev/null 2>&1 || fail "sysusers.d"
