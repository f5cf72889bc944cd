#!/usr/bin/env bash
# Makes an ext4 disk of a folder, without mounting anything:
#
#   packaging/guest/disk.sh DIR IMAGE [MEGABYTES]
#
# Everything on it belongs to root, whoever owns the folder.
set -euo pipefail
# mke2fs, modprobe and others are there, and a user's PATH lacks it.
export PATH=$PATH:/usr/sbin:/sbin
dir=${1:?usage: disk.sh DIR IMAGE [MEGABYTES]}
image=${2:?usage: disk.sh DIR IMAGE [MEGABYTES]}
megabytes=${3:-$(($(du -sm "$dir" | cut -f 1) * 5 / 4 + 96))}
rm -f "$image"
truncate -s "${megabytes}M" "$image"
mke2fs -q -t ext4 -O verity -b 4096 -E root_owner=0:0,lazy_itable_init=1 \
  -d "$dir" -F "$image"
