# The disk shelf: a guest that is no node. It has a LUN that every node sees, as a shelf of dual-ported SAS disks has them between
# hosts, and it stays when a node is killed. Nodes reach it by iSCSI on a network of its own, so that one whose management is
# cut still writes.
readonly shelf=shelf
readonly guests=("$shelf" "${nodes[@]}")
readonly shelf_target=iqn.2001-04.com.example:shelf
readonly lun_serial=0d15c5be1f000000000000001
readonly lun=/dev/disk/by-id/wwn-naa.6001405$lun_serial # on every node

make_shelf() {
  mkdir -p "$place/$shelf/state"
  truncate -s 64M "$place/$shelf/lun.img"
  make_file_system "$place/$shelf/state.img" "$place/$shelf/state" 8
  rmdir "$place/$shelf/state"
}

# A shelf's machine: machine_of_shelf CHECKSUM-OF-THE-PROGRAMS
machine_of_shelf() {
  local directory=$place/$shelf
  guest_of "$shelf" 160 "$1" "rack.target=$shelf_target rack.serial=$lun_serial rack.nodes=$(IFS=,; echo "${nodes[*]}")"
  storage_card_of "$shelf"
  shared_disk root "$root_image"
  shared_disk programs "$programs_made/image"
  own_disk state && printf '%s\n' -device virtio-blk-pci,drive=state-disk,serial=state,romfile=
  own_disk lun && printf '%s\n' -device virtio-blk-pci,drive=lun-disk,serial=lun,romfile=
  ports_of "$directory"
}

cut_path() { ip -n "$emulated_namespace" link set "storage$(number_of "$1")" down; }
mend_path() { ip -n "$emulated_namespace" link set "storage$(number_of "$1")" up; }

sees_lun() { run_in "$1" 5 "[[ -e $lun ]]" 2>/dev/null; }

# Who is registered with the LUN, port by port.
registered_with_lun() { run_in "$shelf" 10 'grep Key: /sys/kernel/config/target/core/iblock_0/lun/pr/res_pr_registered_i_pts'; }
