# What can happen to a node from outside, and how it ends.

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
  [[ $2 != sas ]] || monitor "$1" "device_add $(device_of "$1" sas-drive)"
}
has_device() { [[ $(ask "$1" '"execute":"qom-list","arguments":{"path":"/machine/peripheral"}') == *"\"$2\""* ]]; }

cut_network() { ip -n "$emulated_namespace" link set "management$(number_of "$1")" down; }
mend_network() { ip -n "$emulated_namespace" link set "management$(number_of "$1")" up; }

# A program of the product, as a word of a step names it: program_pattern plugin sata
program_pattern() {
  case $1 in
    agent) echo '^/iov/iov-agent ' ;;
    plugin) echo "^/iov/iov-plugin-$2 " ;;
    storage-daemon) echo '^[^ ]*qemu-storage-daemon ' ;;
    *) fail "there is no program '$1': agent, plugin and storage-daemon" ;;
  esac
}
signal_program() {
  local pattern
  pattern=$(program_pattern "$3" "${4:-}") && run_in "$2" 10 "pkill -$1 -f '$pattern'"
}
kill_program() { signal_program KILL "$2" "$1" "${3:-}"; }

# A process that does not get on, and holds all that it has: the agent stops, and goes on later.
freeze_agent() {
  signal_program STOP "$1" agent
  touch "$place/$1/frozen"
}
thaw_agent() {
  signal_program CONT "$1" agent
  rm -f "$place/$1/frozen"
}

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
