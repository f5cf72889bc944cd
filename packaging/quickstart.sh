#!/usr/bin/env bash
# Shows Cupel at work on one machine, a bare Debian 12: installs what is needed,
# builds the three programs, starts a verifier, a software TPM and an agent on
# loopback, and takes the machine from unknown to trusted to failed: an allowed
# script runs, then an evil one. Says how long it took until that was seen.
#
#   packaging/quickstart.sh            and cleans up after itself
#   packaging/quickstart.sh --keep     leaves all of it running, and says where
#   packaging/quickstart.sh --bin DIR  with the programs of a build that is there
#
# Installing packages takes root or sudo, and happens only where one is missing.
# The rest needs no rights, writes to the build folder and to a temporary one,
# and listens on free ports of 127.0.0.1.
set -euo pipefail
# What EPOCHREALTIME looks like, and how swtpm's tools word their files.
export LC_ALL=C
cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly id=d432fbb3-d2f1-4a97-9ef7-75bd81c00000

usage() { sed -n '2,/^set /{/^#/s/^# \{0,1\}//p}' packaging/quickstart.sh; }
wrong() {
  printf 'quickstart: %s\n\n' "$1" >&2
  usage >&2
  exit 2
}

keep=no
bin=
while [[ $# -gt 0 ]]; do
  case $1 in
    --keep) keep=yes ;;
    --bin)
      [[ $# -ge 2 ]] || wrong "--bin needs a folder"
      bin=$(realpath -- "$2")
      [[ -x $bin/verifier/cupel-verifier ]] ||
        wrong "there is no build in $2: it has no verifier/cupel-verifier"
      shift
      ;;
    -h | --help)
      usage
      exit 0
      ;;
    *) wrong "unknown option $1" ;;
  esac
  shift
done

# --- What is shown.

step_count=0
step() {
  step_count=$((step_count + 1))
  printf '\n%d. %s\n' "$step_count" "$1"
}
say() { printf '   %s\n' "$@"; }
indent() { sed 's/^/   | /'; }
fail() {
  printf '\nquickstart: %s\n' "$1" >&2
  if [[ -d ${work:-} ]]; then
    tail -n 20 "$work"/*.log >&2 || true
  fi
  exit 1
}

# --- What runs beside, and how it ends.

work=
pids=()
done=no

# Starts a program that goes on beside this script, and, with --keep, after it.
start() {
  local log=$1
  shift
  (
    trap '' HUP
    exec "$@" >"$log" 2>&1 </dev/null
  ) &
  pids+=($!)
}

cleanup() {
  trap '' INT TERM HUP
  [[ -n $work ]] || return 0
  if [[ $keep == yes && $done == yes ]]; then
    # `watch` was for the measurement alone.
    kill "$watch" 2>/dev/null || true
    return 0
  fi
  local pid
  for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
  for pid in "${pids[@]}"; do wait "$pid" 2>/dev/null || true; done
  rm -rf "$work"
}
# Waits until a command succeeds, at most $1 seconds.
await() {
  local seconds=$1 end
  shift
  end=$((SECONDS + seconds))
  until "$@" >/dev/null 2>&1; do
    [[ $SECONDS -lt $end ]] || return 1
    sleep 0.05
  done
}

# Microseconds since 1970.
now() { printf '%s' "${EPOCHREALTIME/./}"; }

# Reads what `watch` says, until the machine is $1; when that line came is then
# in `seen`. At most 30 s.
await_event() {
  local wanted=$1 line end=$((SECONDS + 30))
  while [[ $SECONDS -lt $end ]]; do
    kill -0 "$watch" 2>/dev/null || return 1
    read -r -t 1 -u 3 line || continue
    seen=$(now)
    [[ $line == *"\"state\":\"$wanted\""* ]] && return 0
  done
  return 1
}

# --- Building.

build() {
  if [[ -z $bin ]]; then
    step "Packages and build"
    packaging/install-deps.sh
    # Tests and benchmarks stay out: they are not needed here.
    say "building cupel-agent, cupel-verifier and cupel-tenant; this takes minutes"
    cmake --preset release >/dev/null
    cmake --build --preset release --parallel "$(nproc)" \
      --target cupel-agent cupel-verifier cupel-tenant
    bin=$PWD/build/release
  fi
  for tool in swtpm swtpm_setup swtpm_localca; do
    command -v "$tool" >/dev/null ||
      fail "$tool is missing: packaging/install-deps.sh installs it"
  done
  work=$(mktemp -d "${TMPDIR:-/tmp}/cupel.XXXXXX")
  # Whatever a tool leaves behind that is ended early goes with the rest.
  export TMPDIR=$work
}

# --- The machine's TPM.

make_tpm() {
  step "A TPM, in software, whose maker has certified its endorsement key"
  mkdir "$work/tpm" "$work/tpm-ca"
  cat >"$work/localca.conf" <<END
statedir = $work/tpm-ca
signingkey = $work/tpm-ca/signkey.pem
issuercert = $work/tpm-ca/issuercert.pem
certserial = $work/tpm-ca/certserial
END
  cat >"$work/localca.options" <<END
--tpm-manufacturer id:00001014
--tpm-version 2
--tpm-model swtpm
--platform-manufacturer Example
--platform-version 1.0
--platform-model Example
END
  cat >"$work/setup.conf" <<END
create_certs_tool=$(command -v swtpm_localca)
create_certs_tool_config=$work/localca.conf
create_certs_tool_options=$work/localca.options
END
  swtpm_setup --tpm2 --tpmstate "$work/tpm" --config "$work/setup.conf" \
    --createek --create-ek-cert --pcr-banks sha256 >"$work/swtpm_setup.log" 2>&1 ||
    fail "swtpm_setup failed"
  start "$work/swtpm.log" swtpm socket --tpm2 --tpmstate "dir=$work/tpm" \
    --server "type=unixio,path=$work/tpm.socket" \
    --ctrl "type=unixio,path=$work/tpm.socket.ctrl" \
    --flags not-need-init,startup-clear
  await 10 test -S "$work/tpm.socket" || fail "swtpm doesn't start"
  say "swtpm, beside an IMA emulator: this shows Cupel, and proves nothing of" \
    "this computer"
}

# --- The verifier.

start_verifier() {
  step "A verifier"
  "$bin/verifier/cupel-verifier" init --dir "$work/pki" --name localhost \
    --address 127.0.0.1 >"$work/init.log" 2>&1 || fail "cupel-verifier init failed"
  mkdir "$work/ek-roots" "$work/verifier"
  cp "$work/tpm-ca/swtpm-localca-rootca-cert.pem" "$work/tpm-ca/issuercert.pem" \
    "$work/ek-roots/"
  cat >"$work/verifier.yaml" <<END
attest_listen: 127.0.0.1:8891
fleet_listen: 127.0.0.1:8892
metrics_listen: 127.0.0.1:8893
state_dir: $work/verifier
tls_certificate: $work/pki/server/certificate.pem
tls_key: $work/pki/server/key.pem
client_ca: $work/pki/client-ca/certificate.pem
ek_roots: $work/ek-roots
END
  # Not on these ports, but on free ones, so that nothing is in the way.
  start "$work/verifier.log" "$bin/verifier/cupel-verifier" \
    --config "$work/verifier.yaml" --free-ports run
  await 15 test -s "$work/verifier/listening" || fail "the verifier doesn't start"
  port_of() { sed -n "s/^$1[^0-9].*:\([0-9]*\)\$/\1/p" "$work/verifier/listening"; }
  attest=$(port_of attest)
  fleet=$(port_of fleet)
  say "agents: 127.0.0.1:$attest, operators: 127.0.0.1:$fleet"
}

# --- The machine.

make_machine() {
  step "A machine: its agent, and the list of what it has executed"
  cat >"$work/agent.yaml" <<END
verifiers: [127.0.0.1:$attest]
ca_file: $work/pki/ca/certificate.pem
agent_id: $id
state_dir: $work/agent
tcti: swtpm:path=$work/tpm.socket
ima_list: $work/ima_list
ima_count: ""
END
  cat >"$work/allowed_script.sh" <<'END'
#!/bin/sh
echo "hello world"
END
  sed 's/hello/evil/' "$work/allowed_script.sh" >"$work/evil_script.sh"
  chmod +x "$work"/*_script.sh
  agent=("$bin/agent/cupel-agent" --config "$work/agent.yaml")
  # Runs a program, measured as by a kernel with IMA.
  measured() { "${agent[@]}" ima-emulator -- "$@"; }
  measured /bin/true >"$work/emulator.log" 2>&1 || fail "the IMA emulator failed"
  "${agent[@]}" identity >"$work/identity.log" 2>&1 ||
    fail "cupel-agent identity failed"
  ek=$(sed -n 's/^EK sha256: *//p' "$work/identity.log")
  say "agent:           $id" "endorsement key: $ek"

  cat >"$work/tenant.env" <<END
export CUPEL_TENANT_VERIFIER=127.0.0.1:$fleet
export CUPEL_TENANT_CA_FILE=$work/pki/operator/ca.pem
export CUPEL_TENANT_CERTIFICATE=$work/pki/operator/certificate.pem
export CUPEL_TENANT_KEY=$work/pki/operator/key.pem
export PATH=$bin/tenant:\$PATH
END
  # shellcheck source=/dev/null
  . "$work/tenant.env"
}

# --- Unknown, trusted, failed.

show() {
  step "An operator adds it, with a policy of three files, and watches"
  sha256sum "$(readlink -f /bin/true)" "$(readlink -f /bin/sh)" \
    "$work/allowed_script.sh" >"$work/allowlist.txt"
  echo '/excluded/by/nobody/.*' >"$work/excludes.txt"
  cupel-tenant add "$id" --ek "$ek" --allowlist "$work/allowlist.txt" \
    --exclude "$work/excludes.txt" --boot any --lab >"$work/add.log" 2>&1 ||
    fail "cupel-tenant add failed"
  say "$(cat "$work/add.log")"
  mkfifo "$work/events"
  cupel-tenant watch "$id" --json >"$work/events" 2>"$work/watch.log" &
  watch=$!
  pids+=("$watch")
  exec 3<"$work/events"
  await_event EXPECTED || fail "cupel-tenant watch says nothing"
  say "watched: EXPECTED, no machine of this id has come yet"
  start "$work/agent.log" "${agent[@]}" run
  await_event TRUSTED || fail "the machine does not become TRUSTED"
  say "watched: TRUSTED, its TPM has signed a list in which all is allowed"

  step "An allowed script runs"
  measured "$work/allowed_script.sh" | indent
  attestations() {
    cupel-tenant status "$id" --json | sed -n 's/^ *"attestations": \([0-9]*\),$/\1/p'
  }
  # One quote may have been under way before the script ran, the next one was not.
  # `status` says by its exit code whether the machine is to be trusted.
  covered_by=$(($(attestations) + 2))
  is_covered() {
    cupel-tenant attest "$id"
    cupel-tenant status "$id" && [[ $(attestations) -ge $covered_by ]]
  }
  await 30 is_covered || fail "the allowed script is not attested"
  say "judged: TRUSTED still"

  step "An evil script runs"
  measured "$work/evil_script.sh" | indent
  # The emulator's last write to the list was this script's entry.
  measured_at=$(stat --format=%.6Y "$work/ima_list")
  await_event FAILED || fail "the evil script was not seen"
  say "watched: FAILED"
  (cupel-tenant explain "$id" || true) |
    awk 'BEGIN { RS = ""; ORS = "\n" } NR <= 2' | indent

  printf '\nFrom the measurement of the evil script until cupel-tenant watch said FAILED:\n'
  printf '%d ms.\n' $(((seen - ${measured_at/./}) / 1000))
}

# --- What --keep leaves.

leave_running() {
  # Only what is still ours: ids are used again.
  {
    printf '#!/bin/sh\n# Ends what packaging/quickstart.sh --keep has left running.\n'
    printf 'work=%q\npids="%s"\n' "$work" "${pids[*]}"
    cat <<'END'
running() {
  for pid in $pids; do
    if tr '\0' ' ' 2>/dev/null <"/proc/$pid/cmdline" | grep -qF "$work"; then
      echo "$pid"
    fi
  done
}
for pid in $(running); do kill "$pid"; done
tries=0
while [ -n "$(running)" ] && [ $tries -lt 100 ]; do
  sleep 0.1
  tries=$((tries + 1))
done
rm -rf "$work"
END
  } >"$work/stop.sh"
  chmod +x "$work/stop.sh"
  cat <<END

All of it goes on. To look at it, in this shell or another one:

    . $work/tenant.env
    cupel-tenant list
    cupel-tenant explain $id

To run more programs as that machine:

    $bin/agent/cupel-agent --config $work/agent.yaml ima-emulator -- COMMAND

To end it, and remove its files:

    $work/stop.sh
END
}

# --- All of it.

# Not before everything above is read: a trap that runs while this shell reads a
# command is read as a part of it.
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
trap 'exit 129' HUP

printf 'Cupel: one machine, from unknown to trusted to failed.\n'
build
make_tpm
start_verifier
make_machine
show
done=yes
[[ $keep == no ]] || leave_running
