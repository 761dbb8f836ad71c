# The nodes: QEMU guests on two bridges in a namespace of the rack's own, and what can happen to them.

make_network() {
  local node number
  ip netns add "$emulated_namespace"
  ip -n "$emulated_namespace" link set lo up
  # Management carries mediation, too: it has the 50 bytes that a card's frame takes more when it is wrapped.
  ip -n "$emulated_namespace" link add management mtu 9000 type bridge forward_delay 0 mcast_snooping 0
  ip -n "$emulated_namespace" link add data type bridge forward_delay 0 mcast_snooping 0
  ip -n "$emulated_namespace" address add 10.87.0.1/24 dev management
  ip -n "$emulated_namespace" address add "$world/24" dev data
  for node in "${nodes[@]}"; do
    number=$(number_of "$node")
    ip -n "$emulated_namespace" tuntap add "management$number" mode tap
    ip -n "$emulated_namespace" link set "management$number" mtu 9000 master management up
    ip -n "$emulated_namespace" tuntap add "data$number" mode tap
    ip -n "$emulated_namespace" link set "data$number" master data up
  done
  ip -n "$emulated_namespace" link set management up
  ip -n "$emulated_namespace" link set data up
}

# A node's own disks, and what its agent is told: configuration and certificate, on the disk that outlives a reboot.
make_node() {
  local node=$1 directory=$place/$1 functions=4 disk file
  # The third card is a common one, which makes none. (With some, QEMU's igb gives its own interface no tagged frames.)
  [[ $node != n3 ]] || functions=0
  mkdir -p "$directory/state/tls"
  for disk in sas sata nvme; do truncate -s 256M "$directory/$disk.img"; done
  iov pki issue agent "$node" --ca "$place/pki" --out "$directory/state/tls" >/dev/null
  for file in "$parts"/configuration/*.yaml; do
    sed "s|@NODE@|$node|g; s|@FUNCTIONS@|$functions|g; s|@SERIAL@|${node^^}|g; s|@ADDRESS@|$(management_address "$node")|g" "$file" >"$directory/state/${file##*/}"
  done
  make_file_system "$directory/state.img" "$directory/state" 48
  rm -rf "$directory/state"
}

# Hot-pluggable devices, as QEMU's options for them.
device_of() {
  local number
  number=$(number_of "$1")
  case $2 in
    card) echo "igb,id=card,bus=slot1,netdev=data,mac=52:54:00:aa:00:0$number" ;;
    nvme) echo "nvme,id=nvme,bus=slot3,serial=${1^^}NVME,subsys=subsystem,sriov_max_vfs=4,sriov_vq_flexible=8,sriov_vi_flexible=4,max_ioqpairs=12,msix_qsize=13" ;;
    *) fail "'$2' cannot be unplugged: card and nvme can" ;;
  esac
}

start_node() {
  local node=$1 directory=$place/$1 number file checksums
  number=$(number_of "$node")
  [[ ! $(node_pid "$node") ]] || fail "$node runs already"
  read -r checksums _ < <(md5sum <"$programs_made/checksums")
  for file in monitor command0 command1 command2 command3; do
    rm -f "$directory/$file".{in,out}
    mkfifo "$directory/$file".{in,out}
  done
  rm -f "$directory"/*.broken
  echo "== $node starts, $(date -Is)" | tee -a "$directory/console.log" >>"$directory/agent.log"
  # iommu=pt, as hosts of virtual functions have it anyway: QEMU's AHCI takes no list of blocks that is not contiguous for the
  # device, and asserts that there is none.
  # A file below a format: what the disk meets can be changed while it is used, see disk_errors.
  disk() { printf '%s\n' -blockdev "driver=file,node-name=$1-file,filename=$directory/$1.img,cache.no-flush=on" -blockdev "driver=raw,node-name=$1-disk,file=$1-file"; }
  shared() { printf '%s\n' -blockdev "driver=raw,node-name=$1,read-only=on,file.driver=file,file.filename=$2" -device "virtio-blk-pci,drive=$1,serial=$1,romfile="; }
  pipe() { printf '%s\n' -chardev "pipe,id=$1,path=$directory/$1"; }
  port() { printf '%s\n' -device "virtserialport,chardev=$1,name=$2"; }
  local arguments=(
    -name "$node" -pidfile "$directory/pid"
    -accel tcg,thread=multi -cpu max,la57=off -M q35,smbus=off -m 320 -display none -nodefaults -no-reboot
    -L "$tree/usr/share/qemu" -L "$tree/usr/share/seabios"
    -kernel "$kernel/vmlinux" -initrd "$initramfs"
    -append "console=ttyS0 rdinit=/init quiet mitigations=off nokaslr audit=0 no_timer_check tsc=reliable cryptomgr.notests random.trust_cpu=on selinux=0 apparmor=0 rcupdate.rcu_expedited=1 intel_iommu=on iommu=pt loglevel=3 rack.node=$node rack.address=$(management_address "$node") rack.checksums=$checksums"
    -chardev "file,id=console,path=$directory/console.log,append=on" -serial chardev:console
    -device intel-iommu,intremap=on
    -device pcie-root-port,id=slot1,slot=1 -device pcie-root-port,id=slot2,slot=2 -device pcie-root-port,id=slot3,slot=3
    -netdev "tap,id=management,ifname=management$number,script=no,downscript=no"
    -device "virtio-net-pci,netdev=management,mac=52:54:00:bb:00:0$number,host_mtu=9000,romfile="
    -netdev "tap,id=data,ifname=data$number,script=no,downscript=no"
    -device "$(device_of "$node" card)"
    -device "mptsas1068,id=sas,bus=slot2,sas_address=0x5000c5000000000$number"
    -device nvme-subsys,id=subsystem,nqn="$node"
    -device "$(device_of "$node" nvme)"
  )
  mapfile -t -O ${#arguments[@]} arguments < <(
    shared root "$root_image"
    shared programs "$programs_made/image"
    disk state && printf '%s\n' -device virtio-blk-pci,drive=state-disk,serial=state,romfile=
    disk sas && printf '%s\n' -device "scsi-hd,bus=sas.0,scsi-id=0,drive=sas-disk,serial=${node^^}SAS0,wwn=0x5000c5001111000$number"
    disk sata && printf '%s\n' -device "ide-hd,bus=ide.0,drive=sata-disk,serial=${node^^}SATA0"
    disk nvme && printf '%s\n' -device "nvme-ns,drive=nvme-disk,bus=nvme,nsid=1,shared=on"
    printf '%s\n' -device virtio-serial-pci
    for number in 0 1 2 3; do pipe "command$number" && port "command$number" "command.$number"; done
    printf '%s\n' -chardev "file,id=agent,path=$directory/agent.log,append=on"
    port agent agent
    printf '%s\n' -chardev "socket,id=terminal,path=$directory/terminal.sock,server=on,wait=off" -device virtconsole,chardev=terminal
    pipe monitor && printf '%s\n' -mon chardev=monitor,mode=control
  )
  # In a shell of its own, which ends at once: this one is not told when the guest ends.
  (setsid ip netns exec "$emulated_namespace" "$tree/lib64/ld-linux-x86-64.so.2" --library-path "$tree/usr/lib/x86_64-linux-gnu" \
    "$tree/usr/bin/qemu-system-x86_64" "${arguments[@]}" </dev/null >>"$directory/qemu.log" 2>&1 &)
  wait_until 100 "[[ \$(node_pid $node) ]]" || fail "$node did not start: $(tail -n 3 "$directory/qemu.log")"
  ask "$node" '"execute":"qmp_capabilities"' >/dev/null
}

# The process of a node's guest, if it is still that one.
node_pid() {
  local pid
  [[ -r $place/$1/pid ]] && read -r pid <"$place/$1/pid" || return 0
  if [[ $(tr '\0' ' ' 2>/dev/null <"/proc/$pid/cmdline") == *" -pidfile $place/$1/pid "* ]]; then echo "$pid"; fi
}

kill_node() {
  local pid
  pid=$(node_pid "$1")
  [[ $pid ]] || return 0
  command kill -KILL "$pid"
  wait_until 100 "[[ ! \$(node_pid $1) ]]"
}

# QEMU's monitor

# The answer to a command in QMP: ask NODE MEMBERS-OF-JSON. Events that came in between are passed over.
ask() {
  local line id=$RANDOM$RANDOM input output lock
  exec {lock}>"$place/$1/monitor.lock" {input}<>"$place/$1/monitor.out" {output}<>"$place/$1/monitor.in"
  flock -w 20 "$lock" || fail "the monitor of $1 is busy"
  printf '{%s, "id": "%s"}\n' "$2" "$id" >&"$output"
  while read -rt 20 line <&"$input"; do
    [[ $line != *"\"id\": \"$id\""* ]] || break
  done
  exec {lock}>&- {input}<&- {output}>&-
  echo "$line"
  [[ $line == *'"return":'* ]] || fail "$1's monitor, asked for $2, answered: ${line:-nothing}"
}

# A command as QEMU's own monitor takes it, which answers nothing when all is well.
monitor() {
  local answer
  answer=$(ask "$1" "\"execute\":\"human-monitor-command\",\"arguments\":{\"command-line\":\"$2\"}")
  [[ $answer == *'"return": ""'* ]] || fail "$1, told '$2': $answer"
}

# Faults

link() { monitor "$2" "set_link card $([[ $1 == up ]] && echo on || echo off)"; }

# A device leaves and comes back. QEMU 10.0 breaks off when an NVMe controller with virtual functions leaves (its subsystem
# finds their identifiers still taken), so there the guest's kernel is told to let go of it, which its driver takes the same.
unplug() {
  if [[ $2 == nvme ]]; then
    run_in "$1" 20 'echo 1 >/sys/bus/pci/devices/0000:03:00.0/remove' # alone below the third root port
  else
    monitor "$1" "device_del $2"
    wait_until 200 "! has_device $1 $2" || fail "$1 keeps its $2: the guest did not let it go in 20 s"
  fi
}
replug() {
  if [[ $2 == nvme ]]; then run_in "$1" 20 'echo 1 >/sys/bus/pci/rescan'; else monitor "$1" "device_add $(device_of "$1" "$2")"; fi
}
has_device() { [[ $(ask "$1" '"execute":"qom-list","arguments":{"path":"/machine/peripheral"}') == *"\"$2\""* ]]; }

cut_network() { ip -n "$emulated_namespace" link set "management$(number_of "$1")" down; }
mend_network() { ip -n "$emulated_namespace" link set "management$(number_of "$1")" up; }

# Reads and writes of a disk end with errors, until they are mended.
disk_errors() {
  local rules='[{"event":"none","iotype":"read","errno":5},{"event":"none","iotype":"write","errno":5}]'
  ask "$1" "\"execute\":\"blockdev-add\",\"arguments\":{\"driver\":\"blkdebug\",\"node-name\":\"$2-broken\",\"image\":\"$2-file\",\"inject-error\":$rules}" >/dev/null
  reopen_disk "$1" "$2" "$2-broken"
  touch "$place/$1/$2.broken"
}
mend_disk() {
  reopen_disk "$1" "$2" "$2-file"
  ask "$1" "\"execute\":\"blockdev-del\",\"arguments\":{\"node-name\":\"$2-broken\"}" >/dev/null
  rm "$place/$1/$2.broken"
}
reopen_disk() {
  ask "$1" "\"execute\":\"blockdev-reopen\",\"arguments\":{\"options\":[{\"driver\":\"raw\",\"node-name\":\"$2-disk\",\"file\":\"$3\"}]}" >/dev/null
}
