#!/usr/bin/env bash
# Gets the kernel that the guest boots, Debian's cloud flavour with IMA and TPM
# drivers built in, from the archive that this machine's apt uses:
#
#   packaging/guest/kernel.sh DIR    fills DIR with vmlinuz, config and lib/modules
#
# Does nothing where DIR has the archive's present version already, or has one
# and the archive can't be asked.
set -euo pipefail
# mke2fs, modprobe and others are there, and a user's PATH lacks it.
export PATH=$PATH:/usr/sbin:/sbin
dir=${1:?usage: kernel.sh DIR}

fail() {
  printf 'kernel: %s\n' "$1" >&2
  exit 1
}

# The name without a version depends on the one with it, which moves.
find_package() {
  package=$(apt-cache depends linux-image-cloud-amd64 2>/dev/null |
    sed -n 's/^ *Depends: \(linux-image-[0-9].*\)/\1/p' | head -n 1)
  [[ -n $package ]]
}
if [[ -f $dir/package ]]; then
  find_package || exit 0
  [[ $(cat "$dir/package") != "$package" ]] || exit 0
fi

mkdir -p "$(dirname "$dir")"
work=$(mktemp -d "$(dirname "$dir")/kernel.XXXXXX")
trap 'rm -rf "$work"' EXIT
download() {
  find_package || return
  (cd "$work" && apt-get -qq download "$package") >"$work/log" 2>&1
}
# What apt knows may be nothing yet, or too old.
if ! download; then
  [[ $(id -u) -ne 0 ]] || apt-get -qq update >/dev/null 2>&1 || true
  if ! download; then
    [[ ! -f $dir/package ]] || exit 0
    cat "$work/log" >&2 2>/dev/null || true
    fail "could not download ${package:-linux-image-cloud-amd64, which apt does not know}"
  fi
fi
dpkg-deb -x "$work"/*.deb "$work/unpacked"
version=$(ls "$work/unpacked/lib/modules")
mkdir "$work/kernel"
mv "$work/unpacked/boot/vmlinuz-$version" "$work/kernel/vmlinuz"
mv "$work/unpacked/boot/config-$version" "$work/kernel/config"
mv "$work/unpacked/lib" "$work/kernel/lib"
depmod -b "$work/kernel" "$version"
printf '%s\n' "$package" >"$work/kernel/package"
rm -rf "$dir"
mv "$work/kernel" "$dir"
