#!/usr/bin/env bash
# Shows Cupel at work, on a bare Debian 12: installs what is needed, builds the
# three programs, starts a verifier here and a machine to attest, and takes that
# machine from unknown to trusted to failed: an allowed script runs, then an evil
# one. Says how long it took until that was seen. The machine is a guest under
# QEMU's plain emulation, with Debian's kernel, its IMA, and a software TPM.
#
#   packaging/quickstart.sh             and cleans up after itself
#   packaging/quickstart.sh --keep      leaves all of it running, and says where
#   packaging/quickstart.sh --bin DIR   with the programs of a build that is there
#   packaging/quickstart.sh --emulated  no guest: the agent runs here, beside the
#                                       software TPM and an emulator of IMA
#
# Installing packages takes root or sudo, and happens only where one is missing.
# The rest needs no rights, writes to the build folder and to a temporary one,
# and listens on free ports of 127.0.0.1. The guest reaches the verifier alone.
set -euo pipefail
# What EPOCHREALTIME looks like, and how swtpm's tools word their files.
export LC_ALL=C
# mke2fs, modprobe and others are there, and a user's PATH lacks it.
export PATH=$PATH:/usr/sbin:/sbin
cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly id=d432fbb3-d2f1-4a97-9ef7-75bd81c00000

usage() { sed -n '2,/^set /{/^#/s/^# \{0,1\}//p}' packaging/quickstart.sh; }
wrong() {
  printf 'quickstart: %s\n\n' "$1" >&2
  usage >&2
  exit 2
}

keep=no
mode=guest
bin=
while [[ $# -gt 0 ]]; do
  case $1 in
    --keep) keep=yes ;;
    --emulated) mode=emulated ;;
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
    tail -n 20 "$work"/*.log "$work"/run/*.log >&2 2>/dev/null || true
  fi
  exit 1
}

# --- What runs beside, and how it ends.

work=
pids=()

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

# Ends the demonstration and all that it has started: they are one process group,
# but for QEMU's helper, which ends with QEMU.
end_group() {
  local group=$1 signal=TERM end=$((SECONDS + 10))
  # Nobody may wait for those whose parent is gone: zombies are no processes.
  while pgrep -g "$group" -r R,S,D,T >/dev/null; do
    [[ $SECONDS -lt $end ]] || signal=KILL
    kill -$signal -- "-$group" 2>/dev/null || true
    # A stopped process takes no TERM.
    kill -CONT -- "-$group" 2>/dev/null || true
    sleep 0.05
  done
}

cleanup() {
  trap '' INT TERM HUP
  # A signal may come before there is a demonstration, or a name for it.
  set +u
  [[ -z $! ]] || end_group "$!"
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
  local tools=(swtpm swtpm_setup swtpm_localca pgrep)
  [[ $mode == emulated ]] ||
    tools+=(qemu-system-x86_64 socat busybox mke2fs cpio modprobe depmod)
  for tool in "${tools[@]}"; do
    command -v "$tool" >/dev/null ||
      fail "$tool is missing: packaging/install-deps.sh installs it"
  done
}

# --- The machine's TPM.

make_tpm() {
  step "A TPM, in software, whose maker has certified its endorsement key"
  packaging/guest/tpm.sh "$work/tpm" "$work/tpm-ca" >"$work/tpm.log" 2>&1 ||
    fail "the TPM can't be made"
  # A guest's is started with it.
  [[ $mode == emulated ]] || return 0
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
    --address 127.0.0.1 --address 10.0.2.100 >"$work/init.log" 2>&1 || fail "cupel-verifier init failed"
  mkdir "$work/verifier"
  cat >"$work/verifier.yaml" <<END
attest_listen: 127.0.0.1:8891
fleet_listen: 127.0.0.1:8892
metrics_listen: 127.0.0.1:8893
state_dir: $work/verifier
tls_certificate: $work/pki/server/certificate.pem
tls_key: $work/pki/server/key.pem
client_ca: $work/pki/client-ca/certificate.pem
ek_roots: $work/tpm-ca/roots
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

# --- The machine. Of either kind: measured, start_agent, and `ek`, what the
# operator will pin.

write_agent_settings() {
  printf 'verifiers: ["%s"]\nca_file: %s\nagent_id: %s\n' "$1" "$2" "$id"
}

write_scripts() {
  printf '#!/bin/sh\necho "hello world"\n' >"$1/allowed_script.sh"
  chmod +x "$1/allowed_script.sh"
}

write_evil_script='sed s/hello/evil/ allowed_script.sh >evil_script.sh &&
  chmod +x evil_script.sh'

make_tenant() {
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

make_emulated_machine() {
  step "A machine: its agent, and the list of what it has executed"
  write_agent_settings "127.0.0.1:$attest" "$work/pki/ca/certificate.pem" \
    >"$work/agent.yaml"
  cat >>"$work/agent.yaml" <<END
state_dir: $work/agent
tcti: swtpm:path=$work/tpm.socket
ima_list: $work/ima_list
ima_count: ""
END
  scripts=$work
  write_scripts "$scripts"
  (cd "$scripts" && eval "$write_evil_script")
  agent=("$bin/agent/cupel-agent" --config "$work/agent.yaml")
  # Runs a program, measured as by a kernel with IMA.
  measured() { "${agent[@]}" ima-emulator -- "$@"; }
  start_agent() { start "$work/agent.log" "${agent[@]}" run; }
  measured /bin/true >"$work/emulator.log" 2>&1 || fail "the IMA emulator failed"
  "${agent[@]}" identity >"$work/identity.log" 2>&1 ||
    fail "cupel-agent identity failed"
  make_tenant
  say "a policy of three files, and excludes that nothing needs"
  sha256sum "$(readlink -f /bin/true)" "$(readlink -f /bin/sh)" \
    "$scripts/allowed_script.sh" >"$work/allowlist.txt"
  echo '/excluded/by/nobody/.*' >"$work/excludes.txt"
  judged_by=(--allowlist "$work/allowlist.txt" --exclude "$work/excludes.txt"
    --lab)
}

# Runs a shell command in the guest: its output and its exit code.
in_guest() {
  local mine=$EPOCHREALTIME tag code output
  printf '%s %s\n' "$mine" "$(printf %s "$1" | base64 -w 0)" >&5
  while read -r -t 60 -u 4 tag code output; do
    [[ $tag == "$mine" ]] || continue  # a late answer to another one
    printf %s "$output" | base64 -d
    return "$code"
  done
  return 1
}

make_guest() {
  step "A machine: Debian's kernel under QEMU, and what is on its disk"
  local images=$bin/vm guest=packaging/guest line
  [[ $(dpkg --print-architecture) == amd64 ]] ||
    fail "the guest's kernel is one for amd64; use --emulated"
  mkdir -p "$images" 2>/dev/null && [[ -w $images ]] || images=$work/vm
  $guest/kernel.sh "$images/kernel" >"$work/kernel.log" 2>&1 ||
    fail "the guest's kernel can't be had"
  $guest/initramfs.sh "$images/kernel" "$work/initramfs" ||
    fail "the guest's initramfs can't be made"
  $guest/rootfs.sh "$work/root" "$bin/agent/cupel-agent" ||
    fail "the guest's file system can't be made"
  mkdir -p "$work/root/etc/cupel"
  cp "$work/pki/ca/certificate.pem" "$work/root/etc/cupel/ca.pem"
  write_agent_settings 10.0.2.100:8891 /etc/cupel/ca.pem \
    >"$work/root/etc/cupel/agent.yaml"
  scripts=/root
  write_scripts "$work/root$scripts"
  "$bin/tenant/cupel-tenant" policy create --rootfs "$work/root" \
    --initramfs "$work/initramfs" -o "$work/policy.json" >"$work/policy.log" 2>&1 ||
    fail "cupel-tenant policy create failed"
  say "cupel-tenant has made a policy of all that is there"
  $guest/disk.sh "$work/root" "$work/disk" || fail "the guest's disk can't be made"
  mkdir "$work/run"
  start "$work/boot.log" "$guest/boot.sh" --kernel "$images/kernel" \
    --initramfs "$work/initramfs" --disk "$work/disk" --run "$work/run" \
    --tpm "$work/tpm" --verifier "$attest" \
    --append "ima_hash=sha256 ima_template=ima-ng"
  await 20 test -S "$work/run/control" || fail "QEMU doesn't start"
  coproc socat - "UNIX-CONNECT:$work/run/control"
  pids+=("$COPROC_PID")
  exec 4<&"${COPROC[0]}" 5>&"${COPROC[1]}"
  read -r -t 120 -u 4 line && [[ $line == ready* ]] || fail "the guest doesn't boot"
  say "booted: $(in_guest 'uname -sr'), beside a software TPM"

  measured() { in_guest "$1"; }
  start_agent() {
    in_guest "setsid cupel-agent run >/run/agent.log 2>&1 </dev/null &" ||
      fail "the agent doesn't start"
  }
  in_guest "cat >/run/policy <<'END'
$(cat packaging/ima/guide.policy)
END
cat /run/policy >/sys/kernel/security/ima/policy" || fail "the IMA policy can't be loaded"
  say "it measures what packaging/ima/guide.policy says"
  in_guest "cd $scripts && $write_evil_script" || fail "no evil script"
  in_guest "cupel-agent identity" >"$work/identity.log" ||
    fail "cupel-agent identity failed"
  make_tenant
  judged_by=(--allowlist "$work/policy.json")
}

# --- Unknown, trusted, failed.

show() {
  step "An operator adds it, with that policy, and watches"
  cupel-tenant add "$id" --ek "$ek" "${judged_by[@]}" --boot any \
    >"$work/add.log" 2>&1 ||
    fail "cupel-tenant add failed"
  say "$(cat "$work/add.log")"
  mkfifo "$work/events"
  cupel-tenant watch "$id" --json >"$work/events" 2>"$work/watch.log" &
  watch=$!
  pids+=("$watch")
  exec 3<"$work/events"
  await_event EXPECTED || fail "cupel-tenant watch says nothing"
  say "watched: EXPECTED, no machine of this id has come yet"
  start_agent
  await_event TRUSTED || fail "the machine does not become TRUSTED"
  say "watched: TRUSTED, its TPM has signed a list in which all is allowed"

  step "An allowed script runs"
  measured "$scripts/allowed_script.sh" | indent
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
  started=$(now)
  measured "$scripts/evil_script.sh" | indent
  await_event FAILED || fail "the evil script was not seen"
  say "watched: FAILED"
  (cupel-tenant explain "$id" || true) |
    awk 'BEGIN { RS = ""; ORS = "\n" } NR <= 2' | indent

  printf '\nFrom the start of the evil script until cupel-tenant watch said FAILED:\n'
  printf '%d ms.\n' $(((seen - started) / 1000))
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
  local run="$bin/agent/cupel-agent --config $work/agent.yaml ima-emulator --"
  if [[ $mode == guest ]]; then
    run=$work/guest
    {
      printf '#!/bin/bash\n# Runs a command in the guest: %s COMMAND\n' "$run"
      printf 'control=%q\n' "$work/run/control"
      cat <<'END'
coproc socat - "UNIX-CONNECT:$control"
trap 'kill "$COPROC_PID"' EXIT
printf '%s %s\n' $$ "$(printf %s "$*" | base64 -w 0)" >&"${COPROC[1]}"
while read -r -t 60 -u "${COPROC[0]}" tag code output; do
  [[ $tag == $$ ]] || continue
  printf %s "$output" | base64 -d
  exit "$code"
done
exit 1
END
    } >"$run"
    chmod +x "$run"
  fi
  cat <<END

All of it goes on. To look at it, in this shell or another one:

    . $work/tenant.env
    cupel-tenant list
    cupel-tenant explain $id

To run more programs as that machine:

    $run COMMAND

To end it, and remove its files:

    $work/stop.sh
END
}

# --- All of it.

demonstrate() {
  # It is no longer the terminal's own group, which may be set to write alone
  # (stty tostop).
  trap '' TTOU
  # Whatever a tool leaves behind that is ended early goes with the rest.
  export TMPDIR=$work
  make_tpm
  start_verifier
  if [[ $mode == guest ]]; then make_guest; else make_emulated_machine; fi
  show
  if [[ $keep == yes ]]; then
    # It was for the measurement alone.
    kill "$watch" 2>/dev/null || true
    leave_running
  fi
}

printf 'Cupel: one machine, from unknown to trusted to failed.\n'
build

# This shell does nothing but wait from here on: a trap that runs while bash
# reads or expands a command can be taken for a part of it. Job control gives
# the demonstration a process group of its own.
work=$(mktemp -d "${TMPDIR:-/tmp}/cupel.XXXXXX")
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
trap 'exit 129' HUP
set -m
demonstrate </dev/null &
set +m
wait $!
[[ $keep == no ]] || trap - EXIT
