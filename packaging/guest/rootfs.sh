#!/usr/bin/env bash
# Makes the folder of a small guest's root file system: busybox, the control
# loop, and programs with the libraries that they need.
#
#   packaging/guest/rootfs.sh DIR PROGRAM...
#
# Each PROGRAM goes to /usr/bin. /sbin/init is rootfs-init.
set -euo pipefail
# mke2fs, modprobe and others are there, and a user's PATH lacks it.
export PATH=$PATH:/usr/sbin:/sbin
dir=${1:?usage: rootfs.sh DIR PROGRAM...}
shift
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

rm -rf "$dir"
mkdir -p "$dir"/{dev,proc,sys,run,tmp,mnt,root,etc,var/lib/cupel} \
  "$dir"/usr/{bin,sbin,lib,lib64}
for name in bin sbin lib lib64; do ln -s "usr/$name" "$dir/$name"; done
cp "$(command -v busybox)" "$dir/usr/bin/busybox"
while read -r applet; do
  [[ $applet == busybox ]] || ln -s busybox "$dir/usr/bin/$applet"
done < <(busybox --list)
install -m 755 "$here/rootfs-init" "$dir/usr/sbin/init"
install -m 755 "$here/control" "$dir/usr/sbin/guest-control"
printf 'root:x:0:0::/root:/bin/sh\n' >"$dir/etc/passwd"
printf 'root:x:0:\ntss:x:101:\n' >"$dir/etc/group"

# What the loader would take here, under the names by which it is asked for.
# The TPM's driver is opened by name, so the loader doesn't list it.
multiarch=$(dirname "$(ldconfig -p | sed -n 's/.*libtss2-tctildr\.so\.0 .*=> //p' |
  head -n 1)")
libraries=("$multiarch/libtss2-tcti-device.so.0")
for program in "$@"; do
  install -m 755 -s "$program" "$dir/usr/bin/"
  mapfile -t -O ${#libraries[@]} libraries < <(
    ldd "$program" | sed -n 's/^[^/]*\(\/[^ ]*\) (0x.*/\1/p')
done
mapfile -t -O ${#libraries[@]} libraries < <(
  ldd "${libraries[0]}" | sed -n 's/^[^/]*\(\/[^ ]*\) (0x.*/\1/p')
for library in "${libraries[@]}"; do
  [[ -e $dir$library ]] && continue
  mkdir -p "$dir$(dirname "$library")"
  cp -L "$library" "$dir$library"
done
