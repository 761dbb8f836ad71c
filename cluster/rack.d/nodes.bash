# The guests: QEMU's processes, on three bridges in a namespace of the rack's own. What their machines are, machine.bash says.

make_network() {
  local guest node number
  ip netns add "$emulated_namespace"
  ip -n "$emulated_namespace" link set lo up
  # Management carries mediation, too: it has the 50 bytes that a card's frame takes more when it is wrapped.
  ip -n "$emulated_namespace" link add management mtu 9000 type bridge forward_delay 0 mcast_snooping 0
  ip -n "$emulated_namespace" link add data type bridge forward_delay 0 mcast_snooping 0
  ip -n "$emulated_namespace" link add storage mtu 9000 type bridge forward_delay 0 mcast_snooping 0
  ip -n "$emulated_namespace" address add 10.87.0.1/24 dev management
  ip -n "$emulated_namespace" address add "$world/24" dev data
  for node in "${nodes[@]}"; do
    number=$(number_of "$node")
    ip -n "$emulated_namespace" tuntap add "management$number" mode tap
    ip -n "$emulated_namespace" link set "management$number" mtu 9000 master management up
    ip -n "$emulated_namespace" tuntap add "data$number" mode tap
    ip -n "$emulated_namespace" link set "data$number" master data up
  done
  for guest in "${guests[@]}"; do
    number=$(number_of "$guest")
    ip -n "$emulated_namespace" tuntap add "storage$number" mode tap
    ip -n "$emulated_namespace" link set "storage$number" mtu 9000 master storage up
  done
  ip -n "$emulated_namespace" link set management up
  ip -n "$emulated_namespace" link set data up
  ip -n "$emulated_namespace" link set storage up
}

# A node's own disks, and what its agent is told: configuration and certificate, on the disk that outlives a reboot.
make_node() {
  local node=$1 directory=$place/$1 functions=4 class disk file
  # The third card is a common one, which makes none. (With some, QEMU's igb gives its own interface no tagged frames.)
  [[ $node != n3 ]] || functions=0
  mkdir -p "$directory/state/tls"
  for disk in sas sata nvme; do truncate -s 256M "$directory/$disk.img"; done
  iov pki issue agent "$node" --ca "$place/pki" --out "$directory/state/tls" --ip "$(management_address "$node")" >/dev/null
  for file in "$parts"/configuration/*.yaml; do
    sed "s|@NODE@|$node|g; s|@FUNCTIONS@|$functions|g; s|@SERIAL@|${node^^}|g; s|@NUMBER@|$(number_of "$node")|g; s|@LUN@|$lun|g
      s|@ADDRESS@|$(management_address "$node")|g" "$file" >"$directory/state/${file##*/}"
  done
  for class in "${device_classes[@]}"; do
    echo "  - {executable: /iov/iov-plugin-$class, configuration: /var/lib/iov/$class.yaml}" >>"$directory/state/agent.yaml"
  done
  make_file_system "$directory/state.img" "$directory/state" 48
  rm -rf "$directory/state"
}

# Of a node, or the shelf.
start_node() {
  local node=$1 directory=$place/$1 file checksums arguments
  [[ ! $(node_pid "$node") ]] || fail "$node runs already"
  read -r checksums _ < <(md5sum <"$programs_made/checksums")
  for file in monitor command0 command1 command2 command3; do
    rm -f "$directory/$file".{in,out}
    mkfifo "$directory/$file".{in,out}
  done
  rm -f "$directory"/*.broken
  echo "== $node starts, $(date -Is)" | tee -a "$directory/console.log" >>"$directory/agent.log"
  mapfile -t arguments < <(if [[ $node == "$shelf" ]]; then machine_of_shelf "$checksums"; else machine_of "$node" "$checksums"; fi)
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
