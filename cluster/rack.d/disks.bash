# Figures of the emulated rack: what a served disk carries through the kernel's NBD client, and through nbdfuse and a loop device, which
# serve where the kernel has none. Two claims of one disk on one node, load by load in turns: emulated processors are slow and uneven.

readonly disk_loads='randread 4k 1
randread 4k 32
randwrite 4k 1
randwrite 4k 32
read 256k 4
write 256k 4'

# A program that cannot be executed is none.
claim_by_both_clients() {
  local ask=(--class sata --end-node sata/t10.ata-qemu-harddisk-n1sata0 --host n2 --size 16MiB --wait --timeout 60) name
  iov claim create by-kernel "${ask[@]}" >/dev/null 2>&1
  run_in n2 20 'mount --bind /dev/null /iov/iov-nbd-client'
  iov claim create by-nbdfuse "${ask[@]}" >/dev/null 2>&1
  run_in n2 20 'umount /iov/iov-nbd-client'
  [[ $(run_in n2 20 'readlink /dev/iov/by-kernel /dev/iov/by-nbdfuse' | xargs) == *nbd*loop* ]] || fail "they are not what they should be"
  # Blocks that were never written are answered without the disk.
  for name in by-kernel by-nbdfuse; do
    run_in n2 120 "dd if=/dev/urandom of=/dev/iov/$name bs=1M count=16 oflag=direct status=none"
  done
}

# Operations per second: carried CLAIM MODE BLOCK DEPTH
carried() {
  run_in n2 60 "fio --name=x --filename=/dev/iov/$1 --direct=1 --ioengine=libaio --rw=$2 --bs=$3 --iodepth=$4 --time_based --runtime=2 --output-format=json" |
    jq '.jobs[0] | .read.iops + .write.iops'
}

measure_disks() {
  need_root
  need_rack
  local rounds=${ROUNDS:-5} figures mode block depth name round
  figures=$(mktemp -d)
  claim_by_both_clients
  for ((round = 0; round < rounds; round++)); do
    while read -r mode block depth <&3; do
      for name in by-kernel by-nbdfuse; do carried "$name" "$mode" "$block" "$depth" >>"$figures/$mode-$block-$depth.$name"; done
    done 3<<<"$disk_loads"
  done
  for name in by-kernel by-nbdfuse; do iov claim delete "$name" --wait >/dev/null 2>&1; done
  echo "| load (fio) | kernel, operations/s | nbdfuse, operations/s | kernel / nbdfuse | rounds |"
  echo "|---|---|---|---|---|"
  while read -r mode block depth; do
    name=$figures/$mode-$block-$depth
    # A ratio of each round, so that what disturbs a round disturbs both.
    echo "| $mode $block, depth $depth | $(median <"$name.by-kernel" | xargs printf '%.0f') | $(median <"$name.by-nbdfuse" | xargs printf '%.0f') |" \
      "$(paste "$name.by-kernel" "$name.by-nbdfuse" | awk '{print $1 / $2}' | median | xargs printf '%.2f') | $rounds |"
  done <<<"$disk_loads"
  rm -rf "$figures"
}
