# A guest's machine, as QEMU's options: one word per line, as words may have blanks.

# Hot-pluggable devices, as QEMU's options for them.
device_of() {
  local number
  number=$(number_of "$1")
  case $2 in
    card) echo "igb,id=card,bus=slot1,netdev=data,mac=52:54:00:aa:00:0$number" ;;
    nvme) echo "nvme,id=nvme,bus=slot3,serial=${1^^}NVME,subsys=subsystem,sriov_max_vfs=4,sriov_vq_flexible=8,sriov_vi_flexible=4,max_ioqpairs=12,msix_qsize=13" ;;
    sas) echo "mptsas1068,id=sas,bus=slot2,sas_address=0x5000c5000000000$number" ;;
    # On the adapter, and goes with it.
    sas-drive) echo "scsi-hd,id=sas-drive,bus=sas.0,scsi-id=0,drive=sas-disk,serial=${1^^}SAS0,wwn=0x5000c5001111000$number" ;;
    *) fail "'$2' cannot be unplugged: card, sas and nvme can" ;;
  esac
}

# What a guest is, apart from its devices: guest_of NAME MEGABYTES CHECKSUM-OF-THE-PROGRAMS WORDS-FOR-ITS-FIRST-PROCESS
guest_of() {
  local directory=$place/$1 role=node
  [[ $1 != "$shelf" ]] || role=shelf
  printf '%s\n' -name "$1" -pidfile "$directory/pid" -display none -nodefaults -no-reboot
  printf '%s\n' -cpu max,la57=off -M q35,smbus=off -m "$2"
  # Counted, a guest's clock goes by its instructions: 2 ns each.
  if [[ ${RACK_COUNTED:-} ]]; then printf '%s\n' -accel tcg,thread=single -icount shift=1; else printf '%s\n' -accel tcg,thread=multi; fi
  printf '%s\n' -L "$tree/usr/share/qemu" -L "$tree/usr/share/seabios"
  printf '%s\n' -kernel "$kernel/vmlinux" -initrd "$initramfs" -append "$(kernel_options) rack.role=$role rack.name=$1 rack.checksums=$3 $4"
  printf '%s\n' -chardev "file,id=console,path=$directory/console.log,append=on" -serial chardev:console
}

# What every node has of its own: machine_of NODE CHECKSUM-OF-THE-PROGRAMS
machine_of() {
  local node=$1 directory=$place/$1 number
  number=$(number_of "$node")
  guest_of "$node" 320 "$2" "rack.address=$(management_address "$node") rack.storage=$(storage_address "$node") rack.target=$shelf_target"
  printf '%s\n' -device intel-iommu,intremap=on
  printf '%s\n' -device pcie-root-port,id=slot1,slot=1 -device pcie-root-port,id=slot2,slot=2 -device pcie-root-port,id=slot3,slot=3
  printf '%s\n' -netdev "tap,id=management,ifname=management$number,script=no,downscript=no"
  printf '%s\n' -device "virtio-net-pci,netdev=management,mac=52:54:00:bb:00:0$number,host_mtu=9000,romfile="
  storage_card_of "$node"
  printf '%s\n' -netdev "tap,id=data,ifname=data$number,script=no,downscript=no"
  printf '%s\n' -device "$(device_of "$node" card)"
  disks_of "$node" "$number"
  ports_of "$directory"
}

# To the network of disks.
storage_card_of() {
  local number
  number=$(number_of "$1")
  printf '%s\n' -netdev "tap,id=storage,ifname=storage$number,script=no,downscript=no" \
    -device "virtio-net-pci,netdev=storage,mac=52:54:00:cc:00:0$number,host_mtu=9000,romfile="
}

# Beside what makes a boot shorter: iommu=pt, as hosts of virtual functions have it anyway. QEMU's AHCI breaks off over a list of
# blocks that only the IOMMU makes contiguous.
kernel_options() {
  echo "console=ttyS0 rdinit=/init quiet loglevel=3 intel_iommu=on iommu=pt mitigations=off nokaslr audit=0 selinux=0 apparmor=0" \
    "no_timer_check tsc=reliable cryptomgr.notests random.trust_cpu=on rcupdate.rcu_expedited=1"
}

disks_of() {
  local node=$1 number=$2 directory=$place/$1
  shared_disk root "$root_image"
  shared_disk programs "$programs_made/image"
  own_disk state && printf '%s\n' -device virtio-blk-pci,drive=state-disk,serial=state,romfile=
  own_disk sas && printf '%s\n' -device "$(device_of "$node" sas)" -device "$(device_of "$node" sas-drive)"
  own_disk sata && printf '%s\n' -device "ide-hd,bus=ide.0,drive=sata-disk,serial=${node^^}SATA0"
  own_disk nvme && printf '%s\n' -device "nvme-subsys,id=subsystem,nqn=$node" -device "$(device_of "$node" nvme)" \
    -device nvme-ns,drive=nvme-disk,bus=nvme,nsid=1,shared=on
}
shared_disk() {
  printf '%s\n' -blockdev "driver=raw,node-name=$1,read-only=on,file.driver=file,file.filename=$2" \
    -device "virtio-blk-pci,drive=$1,serial=$1,romfile="
}
# A file below a format: what the disk meets can be changed while it is used, see disk_errors.
own_disk() {
  printf '%s\n' -blockdev "driver=file,node-name=$1-file,filename=$directory/$1.img,cache.no-flush=on" \
    -blockdev "driver=raw,node-name=$1-disk,file=$1-file"
}

# Commands, the agent's log, a terminal, and QEMU's own monitor.
ports_of() {
  local directory=$1 number
  printf '%s\n' -device virtio-serial-pci
  for number in 0 1 2 3; do
    printf '%s\n' -chardev "pipe,id=command$number,path=$directory/command$number" \
      -device "virtserialport,chardev=command$number,name=command.$number"
  done
  printf '%s\n' -chardev "file,id=agent,path=$directory/agent.log,append=on" -device virtserialport,chardev=agent,name=agent
  printf '%s\n' -chardev "socket,id=terminal,path=$directory/terminal.sock,server=on,wait=off" -device virtconsole,chardev=terminal
  printf '%s\n' -chardev "pipe,id=monitor,path=$directory/monitor" -mon chardev=monitor,mode=control
}
