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

# Figures of a LUN that every node sees: how long a part of it is away when the node that serves it loses its power, or is cut off from
# everybody and writes on; and until when that one writes.

# seconds FROM TO, as of EPOCHREALTIME
seconds() { awk -v from="$1" -v to="$2" 'BEGIN {printf "%.2f\n", to - from}'; }

is_served_again() {
  iov claim get "$1" -o json 2>/dev/null | jq -e --arg lost "$2" '.status | .phase == "CLAIM_PHASE_READY" and .assignment.controllingHost != $lost' >/dev/null
}

# By how much a node's clock is ahead.
ahead() {
  local begun=$EPOCHREALTIME there
  there=$(on "$1" 'echo $EPOCHREALTIME')
  awk -v from="$begun" -v to="$EPOCHREALTIME" -v there="$there" 'BEGIN {printf "%.6f\n", there - (from + to) / 2}'
}

# lose_server power|network: with the words of a scenario's steps
lose_server() {
  local fault=$1 node server user begun
  for node in "${nodes[@]}"; do
    claim "$node-part" --class sas --end-node-label disk=shared --host "$node" --size 16MiB >/dev/null 2>&1 || return
  done
  server=$(server_of n1-part) user=$(others "$server") user=${user%% *}
  on "$server" "(setsid /iov/stamps write /dev/iov/$server-part --token $server --log /tmp/lost.log >/dev/null 2>&1 &)"
  within 20 on "$server" "grep -q '^ack 50 ' /tmp/lost.log" || return
  begun=$EPOCHREALTIME
  if [[ $fault == power ]]; then kill node "$server"; else cut network "$server"; fi
  wait_until 1200 "is_served_again $user-part $server" || return
  seconds "$begun" "$EPOCHREALTIME" >>"$figures/$fault.ready"
  within 30 on "$user" "dd if=/dev/iov/$user-part of=/dev/null bs=4k count=1 iflag=direct status=none" || return
  seconds "$begun" "$EPOCHREALTIME" >>"$figures/$fault.read"
  if [[ $fault == power ]]; then
    start node "$server"
  else
    within 30 on "$server" '! pgrep stamps >/dev/null' || return
    seconds "$begun" "$(awk -v last="$(on "$server" "sed -n 's/^ack .* //p' /tmp/lost.log | tail -n 1")" -v ahead="$(ahead "$server")" \
      'BEGIN {printf "%.6f", last - ahead}')" >>"$figures/$fault.written"
    mend network "$server"
  fi
  for node in "${nodes[@]}"; do
    within 120 holds "$node-part" .status.phase CLAIM_PHASE_READY || return
  done
  release "${nodes[@]/%/-part}" >/dev/null 2>&1
}

measure_failover() {
  local rounds=${ROUNDS:-5} figures fault round
  figures=$(mktemp -d)
  for ((round = 0; round < rounds; round++)); do
    for fault in power network; do lose_server "$fault" || fail "round $round went wrong, with its $fault lost"; done
  done
  echo "| the serving node | another one serves, median s | a block is read from it | the lost one's last write | rounds |"
  echo "|---|---|---|---|---|"
  echo "| loses its power | $(median <"$figures/power.ready") | $(median <"$figures/power.read") | | $rounds |"
  echo "| is cut off, and writes on | $(median <"$figures/network.ready") | $(median <"$figures/network.read") | $(median <"$figures/network.written") | $rounds |"
  rm -rf "$figures"
}
