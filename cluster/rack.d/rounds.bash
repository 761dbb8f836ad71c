# Rounds of claim, write, verify, release and scrub, over every disk of the rack and from every node in turn, with what users have:
# the command line, and the devices that arrive.
readonly round_blocks=2048 # of 4096 bytes

# The disks, as `END-NODE CLASS`.
round_disks() { iov endnode list -o json | jq -r '.endNodes[] | select(.deviceClass != "ethernet") | "\(.id) \(.deviceClass)"'; }

# The node that controls an end node now, and as which device it has it: of a disk that several see that can be another one with each claim.
controller_of() {
  iov endnode list -o json | jq -r --arg id "$1" '.endNodes[] | select(.id == $id) | .physicalFunction.controllingHost as $node |
    "\($node) \(.roots[] | select(.host == $node).localName)"'
}

# storage_rounds COUNT: the first that goes wrong ends it.
storage_rounds() {
  local count=$1 disks round disk node begun=$EPOCHREALTIME
  mapfile -t disks < <(round_disks)
  ((${#disks[@]})) || fail "there are no disks to claim"
  for ((round = 1; round <= count; round++)); do
    disk=${disks[round % ${#disks[@]}]} node=${nodes[round / ${#disks[@]} % ${#nodes[@]}]}
    storage_round "round$round" $disk "$node" || fail "round $round of $count went wrong: $disk, used by $node"
  done
  say "$count rounds over ${#disks[@]} disks in $(elapsed "$begun") s"
}

# What a node writes is there, on its side and on the disk itself; released, it is gone from both.
# storage_round CLAIM END-NODE CLASS USER
storage_round() {
  local name=$1 end_node=$2 class=$3 user=$4 node device
  iov claim create "$name" --class "$class" --end-node "$end_node" --host "$user" --size $((round_blocks * 4096)) --wait --timeout 40 || return
  read -r node device < <(controller_of "$end_node")
  run_in "$user" 60 "/iov/stamps write /dev/iov/$name --token $name --count 200 --log /tmp/$name.log &&
    /iov/stamps check /dev/iov/$name --log /tmp/$name.log && rm /tmp/$name.log" || return
  # With one claim at a time an extent begins where its disk does.
  run_in "$node" 60 "/iov/stamps check $device --blocks $round_blocks" | tee /dev/stderr | grep -q "^token $name: 200 blocks" || return
  iov claim delete "$name" --wait --timeout 60 || return
  run_in "$user" 20 "[[ ! -e /dev/iov/$name ]]" || return
  run_in "$node" 60 "/iov/stamps check $device --blocks $round_blocks" | tee /dev/stderr | grep -q " 0 stamped, $round_blocks empty"
}
