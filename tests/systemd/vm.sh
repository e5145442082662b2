# shellcheck shell=bash disable=SC2154 # the variables of run
# The same in QEMU: a kernel of its own, Debian's, and unified cgroups, where limits hold whatever this machine's kernel does. With KVM if
# it works here, else emulated. The machine has no network. It runs `run --inside`, and says what that says.

vm_packages=(apt ca-certificates curl dbus git initramfs-tools iproute2 jq linux-image-cloud-amd64 procps python3 systemd systemd-sysv zstd)
vm_patience=600 # seconds

# Says why not, if it can't be.
vm_missing() {
  local program
  for program in qemu-system-x86_64 mke2fs mmdebstrap; do
    command -v "$program" > /dev/null || { echo "$program is not installed" && return; }
  done
  [[ $(uname -m) == x86_64 ]] || { echo "this machine is no x86_64" && return; }
  (($(awk '/^MemAvailable/ { print int($2 / 1024) }' /proc/meminfo) > 2500)) || echo "less than 2,500 MiB of memory are free"
}

check_in_vm() {
  local missing image key accelerator started=$SECONDS
  missing=$(vm_missing)
  if [[ $missing ]]; then
    echo "not run: $missing"
    [[ $bed == --vm-if ]]
    return
  fi
  key=$(printf '%s\n' "$release" "${vm_packages[@]}" "$(cat "$here/vm.sh")" | sha256sum | cut -c1-16)
  image=$cache/vm-$key
  [[ -e $image/whole ]] || make_image "$image"
  accelerator=$(works_with_kvm "$image" && echo kvm || echo tcg,thread=multi)
  echo "in QEMU, $accelerator"
  rm -rf "$scratch/disk"
  mkdir "$scratch/disk"
  cp -r "$made"/* "$here" "$scratch/disk"
  printf '%s\n' "$quick" "${chosen[@]}" > "$scratch/disk/arguments"
  mke2fs -q -t ext4 -d "$scratch/disk" "$scratch/disk.img" 512M > /dev/null
  setpriv --pdeathsig KILL timeout "$vm_patience" unshare --net qemu-system-x86_64 -accel "$accelerator" -cpu "$(vm_cpu "$accelerator")" \
    -smp 2 -m 2048 -nographic -no-reboot -nic none -kernel "$image/vmlinuz" -initrd "$image/initrd" \
    -append 'root=/dev/vda rw console=ttyS0 quiet panic=-1 mitigations=off' \
    -drive "file=$image/root.img,format=raw,if=virtio,snapshot=on" -drive "file=$scratch/disk.img,format=raw,if=virtio,readonly=on" \
    -serial "file:$scratch/console" -serial stdio -monitor none < /dev/null > "$scratch/said" 2>&1 || true
  tr -d '\r' < "$scratch/said"
  grep -qx 'all .* hold, in .* s.*' <(tr -d '\r' < "$scratch/said") || {
    mkdir -p "$cache/failures"
    cp "$scratch/console" "$cache/failures/vm.console"
    tail -n 5 "$scratch/console"
    echo "the machine's console is in $cache/failures/vm.console"
    return 1
  }
  echo "$((SECONDS - started)) s with the machine"
}

make_image() {
  local image=$1
  echo "making a Debian image" >&2
  rm -rf "$cache"/vm-*
  mkdir -p "$image"
  mmdebstrap --quiet --variant=minbase --format=directory --include="$(IFS=, && echo "${vm_packages[*]}")" "$release" "$image/root"
  mv "$image"/root/boot/vmlinuz-* "$image/vmlinuz"
  mv "$image"/root/boot/initrd.img-* "$image/initrd"
  cat > "$image/root/etc/systemd/system/check.service" << 'END'
[Unit]
After=multi-user.target
SuccessAction=poweroff
FailureAction=poweroff
[Service]
Type=oneshot
ExecStartPre=/bin/sh -c 'mkdir -p /made && mount -o ro /dev/vdb /made'
ExecStart=/bin/bash -c 'mapfile -t arguments < /made/arguments; exec /made/systemd/run --inside $${arguments[*]}'
StandardOutput=tty
StandardError=tty
TTYPath=/dev/ttyS1
[Install]
WantedBy=graphical.target
END
  mkdir -p "$image/root/etc/systemd/system/graphical.target.wants"
  ln -s ../check.service "$image/root/etc/systemd/system/graphical.target.wants/check.service"
  mke2fs -q -t ext4 -L root -d "$image/root" "$image/root.img" 3G > /dev/null
  rm -rf "$image/root"
  touch "$image/whole"
}

vm_cpu() {
  if [[ $1 == kvm ]]; then echo host; else echo max; fi
}

# /dev/kvm may be there and be of no use: in a machine that is itself one, say.
works_with_kvm() {
  [[ -w /dev/kvm ]] || return 1
  # It panics for want of a disk, having come that far.
  timeout 10 qemu-system-x86_64 -accel kvm -cpu host -m 256 -nographic -no-reboot -nic none -kernel "$1/vmlinuz" \
    -append 'console=ttyS0 panic=-1' < /dev/null 2>&1 | grep -q 'Linux version'
}
