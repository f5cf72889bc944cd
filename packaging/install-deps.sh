#!/usr/bin/env bash
# Installs every Debian 12 package that building, running and testing Cupel
# needs. Does nothing, and needs no rights, where all of them are there.
#
#   packaging/install-deps.sh          install what is missing
#   packaging/install-deps.sh --list   print the packages, one a line
set -euo pipefail

packages=(
  # Building.
  cmake
  g++
  ninja-build
  pkg-config
  # Libraries that the binaries link.
  libabsl-dev
  libboost-dev
  libbz2-dev
  libcli11-dev
  libgrpc++-dev
  liblz4-dev
  liblzma-dev
  libprotobuf-dev
  libre2-dev
  libsimdjson-dev
  libsoci-dev
  prometheus-cpp-dev
  libsqlite3-dev
  libssl-dev
  libtss2-dev
  libxxhash-dev
  libyaml-cpp-dev
  libzstd-dev
  nlohmann-json3-dev
  protobuf-compiler
  protobuf-compiler-grpc
  zlib1g-dev
  # Tests and benchmarks.
  catch2
  libbenchmark-dev
  # Fuzzing, and the checks of the source text.
  clang-14
  clang-format-14
  clang-tidy-14
  libclang-rt-14-dev
  llvm-14
  # A software TPM, and independent tools that tests compare Cupel with.
  bzip2
  cpio
  ima-evm-utils
  lz4
  openssl
  procps
  swtpm
  swtpm-tools
  tpm2-tools
  xz-utils
  zstd
  # The checks of what is installed; nothing of it has to be running.
  systemd
  # A guest under QEMU's emulation, and what its images are made of.
  attr
  busybox-static
  e2fsprogs
  kexec-tools
  keyutils
  kmod
  mmdebstrap
  ovmf
  qemu-system-x86
  socat
)

if [[ ${1:-} == --list ]]; then
  printf '%s\n' "${packages[@]}"
  exit 0
fi

fail() {
  echo "install-deps: $*" >&2
  exit 1
}

# Prints those of `packages` that are not installed.
print_missing() {
  comm -23 <(printf '%s\n' "${packages[@]}" | sort) <(
    dpkg-query -W -f '${Package} ${db:Status-Status}\n' "${packages[@]}" \
      2>/dev/null | sed -n 's/ installed$//p' | sort -u)
}

command -v dpkg-query >/dev/null || fail "this is not a Debian system"
mapfile -t missing < <(print_missing)
if [[ ${#missing[@]} -eq 0 ]]; then
  exit 0
fi

as_root=()
if [[ $(id -u) -ne 0 ]]; then
  command -v sudo >/dev/null ||
    fail "not root, and no sudo; missing: ${missing[*]}"
  as_root=(sudo)
fi

# Recommended packages stay out: a development machine needs none of them.
apt_get() {
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq -y \
    -o Acquire::Retries=3 -o DPkg::Lock::Timeout=300 -o Dpkg::Use-Pty=0 \
    "$@" </dev/null
}

echo "install-deps: installing ${missing[*]}"
log=$(mktemp)
trap 'rm -f "$log"' EXIT
# A repository that can't be reached need not matter: the install decides.
apt_get update >"$log" 2>&1 ||
  { cat "$log" >&2; echo "install-deps: apt-get update failed" >&2; }
if ! apt_get install --no-install-recommends "${missing[@]}" >"$log" 2>&1; then
  # One at a time, to name the one that can't be had.
  for package in "${missing[@]}"; do
    apt_get install --no-install-recommends "$package" >"$log" 2>&1 ||
      { cat "$log" >&2; fail "could not install $package"; }
  done
fi
mapfile -t missing < <(print_missing)
[[ ${#missing[@]} -eq 0 ]] || fail "still missing: ${missing[*]}"
