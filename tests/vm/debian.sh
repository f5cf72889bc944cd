#!/usr/bin/env bash
# Makes a Debian with systemd for the case that boots one, of this machine's own
# archive, once a build:
#
#   tests/vm/debian.sh BUILD
#
# After images.sh. In BUILD/vm/debian: root (a folder, with Cupel installed and
# its agent enabled), initramfs as update-initramfs makes it, with what
# packaging/ima has for it, initramfs-refused, whose IMA policy no kernel takes,
# signer.der, which is one of /etc/keys/ima, and
# new.deb, a package that is not installed. Where that can't be had it says why,
# also in BUILD/vm/debian/unavailable, and exits with 77.
set -euo pipefail
export PATH=$PATH:/usr/sbin:/sbin
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
build=$(realpath "${1:?usage: debian.sh BUILD}")
images=$build/vm/debian
kernel=$build/vm/kernel
mkdir -p "$images"
rm -f "$images/unavailable"

unavailable() {
  printf '%s\n' "$1" | tee "$images/unavailable"
  exit 77
}
[[ ! -s $build/vm/unavailable ]] || unavailable "$(cat "$build/vm/unavailable")"
[[ $(id -u) -eq 0 ]] || unavailable "not root: a Debian's files have many owners"
command -v mmdebstrap >/dev/null ||
  unavailable "mmdebstrap is missing: packaging/install-deps.sh installs it"

# Neither library nor program of it is installed without it, and it has no
# scripts that would run for dpkg.
readonly new_package=datefudge

# What the agent is linked with, and what it asks for by name.
linked=$(ldd "$build/agent/cupel-agent" |
  sed -n 's/^[^/]*\(\/[^ ]*\) (0x.*/\1/p' | xargs realpath |
  sed 's,^/usr,*,' | xargs dpkg -S | sed 's/:.*//' | sort -u)
mapfile -t libraries <<<"$linked"
packages=(systemd-sysv initramfs-tools ifupdown iproute2 keyutils kmod
  libtss2-tcti-device0 "${libraries[@]}")
leave_out=(/usr/share/{man,doc,locale,info}/'*')

# --- The system as its archive has it, and the package that comes later.

# The archives that apt has, but for those of others.
print_sources() {
  # shellcheck disable=SC2016  # apt's variables
  apt-get indextargets --format 'deb $(SITE) $(RELEASE) $(COMPONENT)' \
    "Created-By: Packages" "Origin: Debian" | sort -u
}

make_base() {
  local options=(--dpkgopt=force-unsafe-io) line
  for line in "${leave_out[@]}"; do options+=(--dpkgopt="path-exclude=$line"); done
  while read -r line; do options+=(--aptopt="$line"); done < <(
    apt-config dump | grep '^Acquire::.*Proxy' || true)
  rm -rf "$images/base" "$images/new.deb" "$images/key" "$images/archives"
  mkdir "$images/archives"
  if [[ -z $(print_sources) ]]; then apt-get -qq update || true; fi
  (cd "$images/archives" && apt-get -qq download "$new_package") \
    >"$images/log" 2>&1 || return
  mv "$images/archives/$new_package"_*.deb "$images/new.deb"
  print_sources >"$images/sources.list"
  mmdebstrap --quiet --variant=essential --mode=root --format=directory \
    --include="$(IFS=, && echo "${packages[*]}")" "${options[@]}" \
    bookworm "$images/base" "$images/sources.list" >>"$images/log" 2>&1
}

key=$({
  printf '%s\n' "${packages[@]}" "${leave_out[@]}" "$new_package"
  declare -f make_base print_sources
} | sha256sum)
if [[ $(cat "$images/key" 2>/dev/null) != "$key" ]]; then
  if ! make_base; then
    # apt's words for an archive that can't be reached.
    unreached='Failed to fetch|Unable to fetch|Could not (connect|resolve)'
    reason=$(grep -Em 1 "$unreached" "$images/log") && unavailable "$reason"
    cat "$images/log" >&2
    exit 1
  fi
  printf '%s\n' "$key" >"$images/key"
fi

# --- This machine, as its administrator sets it up.

root=$images/root
rm -rf "$root"
cp -a --reflink=auto "$images/base" "$root"
version=$(ls "$kernel/lib/modules")
mkdir -p "$root/usr/lib/modules" "$root/boot"
cp -a "$kernel/lib/modules/$version" "$root/usr/lib/modules/"
# Accelerators of the processor's test themselves, for long under emulation.
rm -r "$root/usr/lib/modules/$version/kernel/"{arch/x86/crypto,virt,drivers/cpufreq} \
  "$root/usr/lib/modules/$version/kernel/arch/x86/kvm"
depmod -b "$root" "$version"
cp "$kernel/config" "$root/boot/config-$version"

printf 'guest\n' >"$root/etc/hostname"
# A machine that has been booted before.
printf 'd432fbb32d1f14a9797ef775bd81c000\n' >"$root/etc/machine-id"
printf '/dev/vda / ext4 defaults 0 0\n' >"$root/etc/fstab"
printf '%s\n' 'auto lo' 'iface lo inet loopback' 'auto eth0' \
  'iface eth0 inet static' '  address 10.0.2.15/24' '  gateway 10.0.2.2' \
  >"$root/etc/network/interfaces"
# The way in, for tests.
install -m 755 "$(command -v busybox)" "$root/usr/bin/busybox"
install -m 755 packaging/guest/control "$root/usr/sbin/guest-control"
printf '%s\n' '[Service]' 'ExecStart=/usr/sbin/guest-control' '[Install]' \
  'WantedBy=multi-user.target' >"$root/etc/systemd/system/guest-control.service"
cp "$images/new.deb" "$root/root/"

DESTDIR=$root cmake --install "$build" --prefix /usr --strip >/dev/null
mkdir -p "$root/etc/keys/ima" "$root/etc/ima"
openssl req -new -x509 -newkey rsa:2048 -nodes -keyout /dev/null -days 30 \
  -subj '/CN=file signer' -addext subjectKeyIdentifier=hash \
  -outform DER -out "$images/signer.der" 2>/dev/null
cp "$images/signer.der" "$root/etc/keys/ima/signer.der"
cp packaging/ima/strict.policy "$root/etc/ima/ima-policy"
# Drivers of this machine alone.
printf 'MODULES=list\nCOMPRESS=gzip\n' >"$root/etc/initramfs-tools/conf.d/guest"
printf 'virtio_pci\nvirtio_blk\nvirtio_net\nvirtio_console\n' \
  >>"$root/etc/initramfs-tools/modules"
in_root() {
  chroot "$root" "$@" >>"$images/log" 2>&1 || {
    cat "$images/log" >&2
    exit 1
  }
}
: >"$images/log"
in_root systemd-sysusers
in_root systemctl enable cupel-agent guest-control
# Nobody sits in front of it, and under emulation each unit takes its time.
in_root systemctl mask getty.target serial-getty@ttyS0.service \
  dev-hugepages.mount dev-mqueue.mount sys-kernel-debug.mount \
  sys-kernel-tracing.mount systemd-update-utmp.service
make_initramfs() {
  in_root update-initramfs -c -k "$version"
  mv "$root/boot/initrd.img-$version" "$1"
}
# Another one has a policy that no kernel takes.
cp "$root/etc/ima/ima-policy" "$images/ima-policy"
echo "measure func=NO_SUCH_HOOK" >>"$root/etc/ima/ima-policy"
make_initramfs "$images/initramfs-refused"
cp "$images/ima-policy" "$root/etc/ima/ima-policy"
make_initramfs "$images/initramfs"
