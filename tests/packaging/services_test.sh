#!/usr/bin/env bash
# The installed services as an administrator starts them: systemd itself runs
# them, sandbox and all, in namespaces of their own over a copy of this system
# that is thrown away. A software TPM and the IMA emulator stand in for the
# machine's. What docs/operations.md says about installing is done here.
#
#   services_test.sh BUILD
#
# Exit code 77 where there are no rights or no kernel for it.
set -euo pipefail

readonly id=d432fbb3-d2f1-4a97-9ef7-75bd81c00000
readonly fleet=localhost:8892

# --- 3. Within, as a service: what the administrator does.

fail() {
  echo "FAILED: $1"
  systemctl --no-pager --lines=0 status cupel-verifier cupel-agent || true
  tail -n 40 /run/*.log || true
  exit 1
}

await() {
  local seconds=$1 end
  shift
  end=$((SECONDS + seconds))
  until "$@" >/dev/null 2>&1; do
    [[ $SECONDS -lt $end ]] || return 1
    sleep 0.1
  done
}

pid_of() { systemctl show --property MainPID --value "$1"; }
# A line of /proc/PID/status without its name.
status_of() { sed -n "s/^$2:[[:space:]]*//p" "/proc/$(pid_of "$1")/status"; }
state_is() { (cupel-tenant status "$id" --json || true) | grep -q "\"shown_state\": \"$1\""; }
is_new() { [[ $(pid_of "$1") -ne 0 && $(pid_of "$1") -ne $2 ]]; }

administer() {
  # Whatever ends this ends PID 1 with it.
  trap 'systemctl --force exit 1' EXIT
  systemd-sysusers
  systemd-tmpfiles --create cupel.conf
  [[ $(id -nG cupel-agent) == *tss* ]] || fail "cupel-agent is not of the group tss"

  # The machine's TPM and list.
  mkdir -p /run/tpm
  swtpm_setup --tpm2 --tpmstate /run/tpm --createek --create-ek-cert \
    --pcr-banks sha256 >/run/swtpm_setup.log 2>&1 || fail "swtpm_setup"
  swtpm socket --tpm2 --tpmstate dir=/run/tpm --flags not-need-init,startup-clear \
    --server type=unixio,path=/run/tpm.socket,mode=0660,gid="$(getent group tss | cut -d: -f3)" \
    --ctrl type=unixio,path=/run/tpm.socket.ctrl >/run/swtpm.log 2>&1 &
  await 10 test -S /run/tpm.socket || fail "swtpm does not start"
  printf '%s\n' "agent_id: $id" 'tcti: "swtpm:path=/run/tpm.socket"' \
    'ima_list: /run/ima_list' 'ima_count: ""' >/etc/cupel/agent.d/10-test.yaml
  cupel-agent ima-emulator -- /bin/true || fail "the IMA emulator"
  chmod 0440 /run/ima_list  # as securityfs has it
  # Before the service runs: there is no resource manager between them.
  local ek
  ek=$(cupel-agent identity | sed -n 's/^EK sha256: *//p') || fail "identity"

  # docs/operations.md.
  cupel-verifier init --service-user cupel-verifier --name localhost \
    >/dev/null || fail "init"
  cp /var/lib/swtpm-localca/swtpm-localca-rootca-cert.pem \
    /var/lib/swtpm-localca/issuercert.pem /etc/cupel/ek-roots/
  install -m 0644 /etc/cupel/pki/ca/certificate.pem /etc/cupel/ca.pem
  systemctl enable --quiet --now cupel-verifier || fail "starting the verifier"
  await 10 test -s /var/lib/cupel/verifier/listening || fail "no listening verifier"
  systemctl enable --quiet --now cupel-agent || fail "starting the agent"

  export CUPEL_TENANT_VERIFIER=$fleet
  export CUPEL_TENANT_CA_FILE=/etc/cupel/pki/operator/ca.pem
  export CUPEL_TENANT_CERTIFICATE=/etc/cupel/pki/operator/certificate.pem
  export CUPEL_TENANT_KEY=/etc/cupel/pki/operator/key.pem
  sha256sum "$(readlink -f /bin/true)" >/run/allowlist.txt
  cupel-tenant add "$id" --ek "$ek" --allowlist /run/allowlist.txt --boot any \
    --lab || fail "add"
  await 30 state_is TRUSTED || fail "the machine does not become TRUSTED"

  # Who they are, and what they may.
  local service
  for service in cupel-verifier cupel-agent; do
    [[ $(status_of $service Uid) == "$(id -u $service)"* ]] ||
      fail "$service runs as another user: $(status_of $service Uid)"
    [[ $(status_of $service CapEff) == 0000000000000000 ]] ||
      fail "$service has capabilities: $(status_of $service CapEff)"
    [[ $(status_of $service NoNewPrivs) == 1 ]] || fail "$service: NoNewPrivs"
    [[ $(status_of $service Seccomp) == 2 ]] || fail "$service: Seccomp"
  done
  [[ $(stat -c '%U %a' /var/lib/cupel/verifier) == "cupel-verifier 700" ]] ||
    fail "the verifier's state folder: $(stat -c '%U %a' /var/lib/cupel/verifier)"
  [[ $(stat -c '%U %a' /var/lib/cupel/agent) == "root 700" ]] ||
    fail "the agent's state folder: $(stat -c '%U %a' /var/lib/cupel/agent)"
  # Where root may not raise limits, systemd takes what there is.
  local wanted files
  wanted=$(ulimit -Hn)
  [[ $wanted -lt 131072 ]] || wanted=131072
  files=$(sed -n 's/^Max open files *\([0-9]*\).*/\1/p' \
    "/proc/$(pid_of cupel-verifier)/limits")
  [[ $files -ge $wanted ]] || fail "the verifier may open only $files files"

  # They come back by themselves, and the verdict with them.
  local before
  before=$(pid_of cupel-verifier)
  systemctl kill --signal=KILL cupel-verifier
  await 20 is_new cupel-verifier "$before" || fail "the verifier does not come back"
  await 30 state_is TRUSTED || fail "not TRUSTED after the verifier's restart"
  before=$(pid_of cupel-agent)
  systemctl kill --signal=KILL cupel-agent
  await 30 is_new cupel-agent "$before" || fail "the agent does not come back"
  await 30 state_is TRUSTED || fail "not TRUSTED after the agent's restart"
  before=$(pid_of cupel-verifier)
  systemctl reload cupel-verifier || fail "reload"
  await 30 state_is TRUSTED || fail "not TRUSTED after a reload"
  [[ $(pid_of cupel-verifier) -eq $before ]] || fail "a reload ends the verifier"

  # What it is all for.
  printf '#!/bin/true\n' >/run/evil_script
  chmod +x /run/evil_script
  cupel-agent ima-emulator -- /run/evil_script || fail "the evil script"
  await 30 state_is FAILED || fail "the evil script was not seen"

  systemctl stop cupel-agent cupel-verifier || fail "stopping"
  for service in cupel-verifier cupel-agent; do
    [[ $(systemctl show --property Result --value $service) == success ]] ||
      fail "$service did not end well"
  done
  echo "services: started, sandboxed, restarted, TRUSTED, FAILED, stopped"
  trap - EXIT
  systemctl --force exit 0
}

# --- 2. In namespaces of our own: the copy of this system, and its PID 1.

boot() {
  local scratch=$1 build=$2 root=$1/root
  mount --make-rprivate /
  mount -t tmpfs -o mode=0755 tmpfs "$scratch/layer" || exit 77
  mkdir "$scratch/layer/upper" "$scratch/layer/work"
  mount -t overlay -o \
    "lowerdir=/,upperdir=$scratch/layer/upper,workdir=$scratch/layer/work" \
    overlay "$root" || exit 77
  # An unconfigured machine, whatever this one has; though not one that boots for
  # the first time, when systemd enables all that there is.
  rm -rf "$root/etc/cupel" "$root/var/lib/cupel" "$root/etc/systemd/system"
  tr -d - </proc/sys/kernel/random/uuid >"$root/etc/machine-id"
  DESTDIR=$root cmake --install "$build" --prefix /usr >/dev/null
  mount --rbind /dev "$root/dev"
  mount -t proc proc "$root/proc"
  mount -t sysfs -o ro sysfs "$root/sys" || exit 77
  mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup" || exit 77
  mount -t tmpfs -o mode=0755 tmpfs "$root/run"
  mount -t tmpfs -o mode=1777 tmpfs "$root/tmp"
  mkdir -p "$root/run/systemd/system"
  # Nothing of this system but what is tested.
  cat >"$root/run/systemd/system/test.target" <<END
[Unit]
DefaultDependencies=no
Wants=test.service
END
  cat >"$root/run/systemd/system/test.service" <<END
[Unit]
DefaultDependencies=no
[Service]
ExecStart=/bin/bash /run/services_test.sh administer
StandardOutput=file:/run/result
StandardError=file:/run/result
END
  # The services alone, without what a machine has beside them; and no waiting.
  local service
  for service in cupel-verifier cupel-agent; do
    mkdir "$root/run/systemd/system/$service.service.d"
    cat >"$root/run/systemd/system/$service.service.d/test.conf" <<END
[Unit]
DefaultDependencies=no
[Service]
RestartSec=1s
StandardOutput=file:/run/$service.log
StandardError=file:/run/$service.log
END
  done
  cp "${BASH_SOURCE[0]}" "$root/run/services_test.sh"
  # What it prints goes where this script can read it.
  : >"$scratch/result"
  : >"$root/run/result"
  mount --bind "$scratch/result" "$root/run/result"
  # No chroot: in one nobody may make user namespaces.
  mkdir -p "$root/run/old"
  cd "$root"
  pivot_root . run/old
  umount --lazy /run/old
  exec env -i container=lxc PATH=/usr/sbin:/usr/bin:/sbin:/bin \
    /lib/systemd/systemd --unit=test.target --log-target=null --show-status=no
}

# --- 1. Outside.

case ${1:-} in
  boot)
    boot "$2" "$3"
    exit
    ;;
  administer)
    administer
    exit
    ;;
esac
cd "$(dirname "${BASH_SOURCE[0]}")"
build=$(realpath "$1")
skip() {
  echo "services_test: skipped: $1"
  exit 77
}
[[ $(id -u) -eq 0 ]] || skip "not root"
[[ -x /lib/systemd/systemd ]] || skip "no systemd"
unshare --mount --pid --uts --ipc --net --cgroup --fork true 2>/dev/null ||
  skip "no namespaces"

scratch=$(mktemp -d)
cgroup=$(basename "$scratch")
mkdir "$scratch/root" "$scratch/layer" "$scratch/cgroup"
cleanup() {
  if mountpoint -q "$scratch/cgroup"; then
    local tries=0
    # Whoever was killed needs a moment to be gone.
    while [[ -d $scratch/cgroup/$cgroup && $tries -lt 50 ]]; do
      find "$scratch/cgroup/$cgroup" -depth -type d -exec rmdir {} \; \
        2>/dev/null || true
      tries=$((tries + 1))
      sleep 0.1
    done
    umount "$scratch/cgroup"
  fi
  rm -rf --one-file-system "$scratch"
}
trap cleanup EXIT
# Its own part of the tree of control groups, so that PID 1 takes no other.
mount -t cgroup2 cgroup2 "$scratch/cgroup" || skip "no cgroup2"
mkdir "$scratch/cgroup/$cgroup" || skip "no control group of its own"

status=0
(
  echo $BASHPID >"$scratch/cgroup/$cgroup/cgroup.procs"
  exec timeout --kill-after=5 150 \
    unshare --mount --pid --uts --ipc --net --cgroup --fork --kill-child \
    bash "${BASH_SOURCE[0]##*/}" boot "$scratch" "$build"
) >"$scratch/console" 2>&1 || status=$?
cat "$scratch/result" 2>/dev/null || true
[[ $status -ne 77 ]] || skip "$(tail -n 1 "$scratch/console")"
if [[ $status -ne 0 ]]; then
  tail -n 40 "$scratch/console"
  echo "services_test: failed, $status"
  exit 1
fi
grep -q '^services: ' "$scratch/result"
