#!/usr/bin/env bash
# Shows Cupel at work on one machine, a bare Debian 12: installs what is needed,
# builds the three programs, starts a verifier, a software TPM and an agent on
# loopback, adds the agent, runs a script that the policy allows and then one
# that it does not, and says how long it took until that was seen.
#
#   packaging/quickstart.sh            and cleans up after itself
#   packaging/quickstart.sh --keep     leaves all of it running, and says where
#   packaging/quickstart.sh --no-install, --no-build    skip these steps
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

keep=no
install=yes
build=yes
for option in "$@"; do
  case $option in
    --keep) keep=yes ;;
    --no-install) install=no ;;
    --no-build) build=no ;;
    *)
      sed -n '2,/^set /{s/^# \{0,1\}//p}' packaging/quickstart.sh >&2
      exit 2
      ;;
  esac
done

step() { printf '\n== %s\n' "$1"; }
fail() {
  printf 'quickstart: %s\n' "$1" >&2
  if [[ -d ${work:-} ]]; then
    tail -n 20 "$work"/*.log >&2
  fi
  exit 1
}

if [[ $install == yes ]]; then
  step "packages"
  packaging/install-deps.sh
fi
if [[ $build == yes ]]; then
  step "build"
  cmake --preset release >/dev/null
  cmake --build --preset release --parallel "$(nproc)" \
    --target cupel-agent cupel-verifier cupel-tenant
fi
bin=$PWD/build/release

work=$(mktemp -d)
pids=()
cleanup() {
  if [[ $keep == yes && ${done:-no} == yes ]]; then return; fi
  local pid
  for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
  for pid in "${pids[@]}"; do wait "$pid" 2>/dev/null || true; done
  rm -rf "$work"
}
trap cleanup EXIT

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

step "a software TPM with a certified endorsement key"
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
  fail "swtpm_setup"
swtpm socket --tpm2 --tpmstate "dir=$work/tpm" \
  --server "type=unixio,path=$work/tpm.socket" \
  --ctrl "type=unixio,path=$work/tpm.socket.ctrl" \
  --flags not-need-init,startup-clear >"$work/swtpm.log" 2>&1 &
pids+=($!)
await 10 test -S "$work/tpm.socket" || fail "swtpm doesn't start"

step "a verifier on loopback"
"$bin/verifier/cupel-verifier" init --dir "$work/pki" --name localhost \
  --address 127.0.0.1 || fail "init"
mkdir "$work/ek-roots" "$work/verifier"
cp "$work/tpm-ca/swtpm-localca-rootca-cert.pem" "$work/tpm-ca/issuercert.pem" \
  "$work/ek-roots/"
cat >"$work/verifier.yaml" <<END
attest_listen: 127.0.0.1:8891
fleet_listen: 127.0.0.1:8892
metrics_listen: off
state_dir: $work/verifier
tls_certificate: $work/pki/server/certificate.pem
tls_key: $work/pki/server/key.pem
client_ca: $work/pki/client-ca/certificate.pem
ek_roots: $work/ek-roots
END
"$bin/verifier/cupel-verifier" --config "$work/verifier.yaml" --free-ports run \
  >"$work/verifier.log" 2>&1 &
pids+=($!)
await 15 test -s "$work/verifier/listening" || fail "the verifier doesn't start"
port_of() { sed -n "s/^$1[^0-9].*:\([0-9]*\)\$/\1/p" "$work/verifier/listening"; }
attest=$(port_of attest)
fleet=$(port_of fleet)
printf 'agents: 127.0.0.1:%s, operators: 127.0.0.1:%s\n' "$attest" "$fleet"

step "an agent, and the emulated kernel's measurement list"
cat >"$work/agent.yaml" <<END
verifiers: [127.0.0.1:$attest]
ca_file: $work/pki/ca/certificate.pem
agent_id: d432fbb3-d2f1-4a97-9ef7-75bd81c00000
state_dir: $work/agent
tcti: swtpm:path=$work/tpm.socket
ima_list: $work/ima_list
ima_count: ""
END
cat >"$work/good_script.sh" <<'END'
#!/bin/sh
echo "hello world"
END
sed 's/hello/evil/' "$work/good_script.sh" >"$work/evil_script.sh"
chmod +x "$work"/*_script.sh
agent=("$bin/agent/cupel-agent" --config "$work/agent.yaml")
"${agent[@]}" ima-emulator -- "$work/good_script.sh" || fail "the IMA emulator"
"${agent[@]}" identity >"$work/identity.txt" || fail "identity"
ek=$(sed -n 's/^EK sha256: *//p' "$work/identity.txt")
printf 'endorsement key: %s\n' "$ek"

step "the machine is added, with the policy of what it may run"
sha256sum "$work/good_script.sh" "$(readlink -f /bin/sh)" >"$work/allowlist.txt"
echo '/tmp/excluded/.*' >"$work/excludes.txt"
tenant() {
  "$bin/tenant/cupel-tenant" "$1" -v 127.0.0.1 --verifier-port "$fleet" \
    --ca "$work/pki/operator/ca.pem" \
    --cert "$work/pki/operator/certificate.pem" \
    --key "$work/pki/operator/key.pem" "${@:2}"
}
id=d432fbb3-d2f1-4a97-9ef7-75bd81c00000
tenant add "$id" --ek "$ek" --allowlist "$work/allowlist.txt" \
  --exclude "$work/excludes.txt" --boot any --lab || fail "add"
"${agent[@]}" run >"$work/agent.log" 2>&1 &
pids+=($!)
# `status` says by its exit code whether the machine is to be trusted.
state_is() { (tenant status "$id" --json || true) | grep -q "\"$1\""; }
await 30 state_is TRUSTED || fail "the machine does not become TRUSTED"
tenant status "$id"

step "an evil script runs"
start=$(date +%s%N)
"${agent[@]}" ima-emulator -- "$work/evil_script.sh"
measured=$(date +%s%N)
await 30 state_is FAILED || fail "the evil script was not seen"
seen=$(date +%s%N)
tenant status "$id" || true
tenant explain "$id" || true
printf '\nThe evil script was seen %d ms after it had run (%d ms after its start).\n' \
  $(((seen - measured) / 1000000)) $(((seen - start) / 1000000))

done=yes
if [[ $keep == yes ]]; then
  printf '\nAll of it goes on. Its files: %s; to end it: kill %s\n' \
    "$work" "${pids[*]}"
fi
