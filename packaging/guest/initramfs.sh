#!/usr/bin/env bash
# Makes the guest's initramfs: busybox, the drivers of QEMU's devices, and
# initramfs-init, which goes on with the root disk.
#
#   packaging/guest/initramfs.sh KERNEL OUT [MODULE...]
#
# KERNEL is what kernel.sh has made. Further modules come with what they need.
set -euo pipefail
# mke2fs, modprobe and others are there, and a user's PATH lacks it.
export PATH=$PATH:/usr/sbin:/sbin
kernel=${1:?usage: initramfs.sh KERNEL OUT [MODULE...]}
out=${2:?usage: initramfs.sh KERNEL OUT [MODULE...]}
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

version=$(ls "$kernel/lib/modules")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$work"/{bin,dev,proc,sys,root,modules}
cp "$(command -v busybox)" "$work/bin/busybox"
install -m 755 "$here/initramfs-init" "$work/init"
: >"$work/modules/order"
for module in virtio_pci virtio_blk virtio_net virtio_console "${@:3}"; do
  modprobe -S "$version" -d "$kernel" --show-depends "$module" |
    sed -n 's/^insmod \([^ ]*\).*/\1/p' >"$work/needed"
  while read -r file; do
    name=$(basename "$file")
    grep -qx "$name" "$work/modules/order" && continue
    cp "$file" "$work/modules/"
    printf '%s\n' "$name" >>"$work/modules/order"
  done <"$work/needed"
  rm "$work/needed"
done
(cd "$work" && find . | LC_ALL=C sort |
  cpio -o -H newc --quiet --reproducible -R 0:0 | gzip -1n) >"$out.part"
mv "$out.part" "$out"
