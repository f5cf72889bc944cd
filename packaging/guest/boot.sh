#!/usr/bin/env bash
# Boots a guest under QEMU's plain emulation, which needs no hardware support,
# and stays until it has powered off or is killed:
#
#   packaging/guest/boot.sh --kernel DIR --initramfs FILE --disk IMAGE --run DIR
#       [--tpm DIR] [--append TEXT] [--memory MB] [--verifier PORT]
#       [--reboots] [--uefi] [--second-disk IMAGE] [--tpm-relay]
#
# --run      an empty folder for console.log, control (a socket: the guest's
#            control loop) and monitor (a socket: QMP). Its path is short:
#            those of sockets may have 107 bytes
# --tpm      the TPM's state (tpm.sh); without it the guest has no TPM
# --append   more of the kernel's command line
# --verifier 10.0.2.100:8891 in the guest is this port on the host's loopback.
#            The guest reaches nothing else, and no other machine
# --reboots  a reset starts the guest again; without it, it ends
# --uefi     by OVMF, so that there is an event log
# --tpm-relay   somebody listens at RUN/tpm, and passes QEMU on to RUN/tpm.back
set -euo pipefail

kernel= initramfs= disk= second_disk= run= tpm= append= memory=384 verifier=
reboots=no uefi=no tpm_relay=no
while [[ $# -gt 0 ]]; do
  case $1 in
    --kernel | --initramfs | --disk | --run | --tpm | --append | --memory | \
      --verifier | --second-disk)
      name=${1#--}
      printf -v "${name//-/_}" %s "${2?$1 takes a value}"
      shift
      ;;
    --reboots) reboots=yes ;;
    --uefi) uefi=yes ;;
    --tpm-relay) tpm_relay=yes ;;
    *)
      sed -n '2,/^set /{s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}" >&2
      exit 2
      ;;
  esac
  shift
done
[[ -n $kernel && -n $initramfs && -n $disk && -n $run ]] || exec "$0" --help

# Both end with this script, however it ends.
bound=(setpriv --pdeathsig KILL)
children=()
cleanup() {
  local child
  for child in "${children[@]}"; do kill "$child" 2>/dev/null || true; done
}
trap cleanup EXIT
trap 'exit 143' TERM INT

# root= makes the initramfs a ramfs, which policies tell from tmpfs. On a busy
# host the emulated timer fails the kernel's check, and the kernel may hang.
arguments=(
  -accel tcg,thread=multi -cpu max -smp 1 -m "$memory" -machine q35 -nodefaults
  -display none -serial "file:$run/console.log"
  -qmp "unix:$run/monitor,server=on,wait=off"
  -drive "file=$disk,format=raw,if=none,id=disk,cache=unsafe"
  -device virtio-blk-pci,drive=disk
  -chardev "socket,id=control,path=$run/control,server=on,wait=off"
  -device virtio-serial-pci -device virtserialport,chardev=control,name=cupel
  -kernel "$kernel/vmlinuz" -initrd "$initramfs"
  -append "console=ttyS0 quiet panic=-1 no_timer_check root=/dev/vda $append"
)
[[ $reboots == yes ]] || arguments+=(-no-reboot)
if [[ -n $second_disk ]]; then
  arguments+=(
    -drive "file=$second_disk,format=raw,if=none,id=second,cache=unsafe"
    -device virtio-blk-pci,drive=second)
fi
if [[ -n $verifier ]]; then
  arguments+=(
    -netdev "user,id=net,restrict=on,guestfwd=tcp:10.0.2.100:8891-cmd:socat - TCP:127.0.0.1:$verifier"
    -device virtio-net-pci,netdev=net)
fi
if [[ $uefi == yes ]]; then
  cp /usr/share/OVMF/OVMF_VARS_4M.fd "$run/vars.fd"
  arguments+=(
    -drive if=pflash,format=raw,readonly=on,file=/usr/share/OVMF/OVMF_CODE_4M.fd
    -drive "if=pflash,format=raw,file=$run/vars.fd")
fi
if [[ -n $tpm ]]; then
  tpm_control=$run/tpm
  [[ $tpm_relay == no ]] || tpm_control=$run/tpm.back
  "${bound[@]}" swtpm socket --tpm2 --tpmstate "dir=$tpm" --terminate \
    --ctrl "type=unixio,path=$tpm_control" --pid "file=$run/tpm.pid" \
    >"$run/tpm.log" 2>&1 &
  children+=($!)
  for ((i = 0; i < 200; ++i)); do
    [[ -S $tpm_control ]] && break
    sleep 0.05
  done
  [[ -S $tpm_control ]] || { cat "$run/tpm.log" >&2; exit 1; }
  arguments+=(
    -chardev "socket,id=tpm,path=$run/tpm" -tpmdev emulator,id=tpm,chardev=tpm
    -device tpm-crb,tpmdev=tpm)
fi

"${bound[@]}" qemu-system-x86_64 "${arguments[@]}" </dev/null >"$run/qemu.log" 2>&1 &
children+=($!)
status=0
wait $! || status=$?
[[ $status -eq 0 ]] || cat "$run/qemu.log" >&2
exit "$status"
