#!/usr/bin/env bash
# Makes what every case of this folder boots, once a build:
#
#   tests/vm/images.sh BUILD
#
# BUILD/vm/kernel, initramfs, rootfs (a folder), and ca, the software TPMs' CA.
# Where that can't be had it says why, also in BUILD/vm/unavailable, and exits
# with 77.
set -euo pipefail
# mke2fs, modprobe and others are there, and a user's PATH lacks it.
export PATH=$PATH:/usr/sbin:/sbin
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
build=${1:?usage: images.sh BUILD}
images=$build/vm
mkdir -p "$images"
rm -f "$images/unavailable"

unavailable() {
  printf '%s\n' "$1" | tee "$images/unavailable"
  exit 77
}
for tool in qemu-system-x86_64 swtpm swtpm_setup swtpm_localca busybox cpio \
  modprobe depmod socat mke2fs setpriv keyctl setfattr evmctl kexec; do
  command -v "$tool" >/dev/null ||
    unavailable "$tool is missing: packaging/install-deps.sh installs it"
done
[[ $(dpkg --print-architecture) == amd64 ]] ||
  unavailable "the guest's kernel is one for amd64"
packaging/guest/kernel.sh "$images/kernel" 2>"$images/kernel.log" ||
  unavailable "$(tail -n 1 "$images/kernel.log")"

packaging/guest/initramfs.sh "$images/kernel" "$images/initramfs"
packaging/guest/rootfs.sh "$images/rootfs" "$build/agent/cupel-agent" \
  "$(command -v keyctl)" "$(command -v setfattr)" "$(command -v evmctl)" \
  "$(command -v kexec)"
# The module of overlay file systems, for who mounts one.
mkdir -p "$images/rootfs/usr/lib/modules"
find "$images/kernel/lib/modules" -name overlay.ko \
  -exec cp {} "$images/rootfs/usr/lib/modules/" \;
# A CA is made with the first TPM; cases that run side by side share it.
if [[ ! -d $images/ca/roots ]]; then
  rm -rf "$images/ca" "$images/first-tpm"
  packaging/guest/tpm.sh "$images/first-tpm" "$images/ca"
fi
