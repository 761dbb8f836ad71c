# What the host of a function does for each of its packets, in instructions: of a function that a claim got, of one that was
# set up by hand without the product, which must be the same, and of the card itself, which has another driver. On a rack whose guests' clocks go by their instructions (RACK_COUNTED), so that neither this machine's speed nor its
# load is in it.

# Nanoseconds of a node's processor that were not idle since it booted; an instruction is 2.
busy_nanoseconds() {
  run_in "$1" 20 'cat /proc/timer_list' | awk '
    /^now at/ { now = $3 }
    $1 == ".idle_sleeptime" || $1 == ".iowait_sleeptime" { idle += $3 }
    END { printf "%.0f\n", now - idle }'
}

# Instructions of n1 while a command runs here, beside what it does anyway in that time.
instructions_during() {
  local before after rest begun=$EPOCHREALTIME
  before=$(busy_nanoseconds n1)
  "$@" >"$figures/said" 2>&1 || fail "$* failed: $(tail -n 3 "$figures/said")"
  after=$(busy_nanoseconds n1)
  rest=$(awk -v from="$begun" -v to="$EPOCHREALTIME" 'BEGIN {print to - from}')
  before=$((after - before)) after=$(busy_nanoseconds n1)
  sleep "$rest"
  echo $(((before - $(busy_nanoseconds n1) + after) / 2))
}

# Packets of an interface of n1, in both directions: packets_of PATH
packets_of() { in_path "$1" "cat /sys/class/net/$(interface_of "$1")/statistics/rx_packets /sys/class/net/$(interface_of "$1")/statistics/tx_packets" | awk '{sum += $1} END {print sum}'; }
interface_of() { if [[ $1 == card ]]; then echo card0; else echo eth0; fi; }

# Per packet, of what a command makes n1's interface send and receive: cost PATH COMMAND...
cost() {
  local path=$1 before instructions
  before=$(packets_of "$path")
  instructions=$(instructions_during "${@:2}")
  echo $((instructions / ($(packets_of "$path") - before)))
}

echoes() { ip netns exec "$emulated_namespace" ping -q -f -c 4000 -s 1000 "$1"; }
stream() { in_path "$1" "iperf3 -n 40M -c $world ${2:-}"; }

# The card's last function, as somebody would take it without the product, whose agent is aside.
take_by_hand() {
  run_in n1 30 '
    set -e
    touch /run/no-agent
    pkill -TERM iov-agent
    while pgrep -x iov-agent >/dev/null; do sleep 0.1; done
    function=$(basename "$(readlink /sys/class/net/card0/device/virtfn3)")
    ip link set card0 vf 3 mac 02:00:00:00:00:03
    echo igbvf >/sys/bus/pci/devices/$function/driver_override
    echo $function >/sys/bus/pci/drivers_probe
    ip netns add measured-by-hand
    sleep 1
    ip link set "$(ls /sys/bus/pci/devices/$function/net)" netns measured-by-hand name eth0
    ip -n measured-by-hand address add 198.18.0.72/24 dev eth0
    ip -n measured-by-hand link set eth0 up'
}
give_back_by_hand() {
  run_in n1 30 '
    function=$(basename "$(readlink /sys/class/net/card0/device/virtfn3)")
    echo $function >/sys/bus/pci/devices/$function/driver/unbind
    echo >/sys/bus/pci/devices/$function/driver_override
    ip link set card0 vf 3 mac 00:00:00:00:00:00
    ip netns delete measured-by-hand
    rm /run/no-agent'
}

measure_instructions() {
  local path round rounds=${ROUNDS:-9} figures server address
  [[ ${RACK_COUNTED:-} ]] || fail "this takes a rack whose guests' clocks go by their instructions: RACK_COUNTED=yes cluster/rack up"
  figures=$(mktemp -d) server=$(mktemp)
  (setsid ip netns exec "$emulated_namespace" iperf3 -s -B "$world" -D -I "$server")
  run_in n1 20 "ip address add 198.18.0.69/24 dev card0; ip netns add measured-direct"
  iov claim create measured-direct $(ask_for direct) --netns measured-direct --interface eth0 --wait >/dev/null 2>&1
  run_in n1 20 "ip -n measured-direct address add 198.18.0.71/24 dev eth0"
  take_by_hand
  for ((round = 0; round < rounds; round++)); do
    for path in card by-hand direct; do
      case $path in card) address=198.18.0.69 ;; direct) address=198.18.0.71 ;; by-hand) address=198.18.0.72 ;; esac
      cost "$path" echoes "$address" >>"$figures/$path.echoes"
      cost "$path" stream "$path" >>"$figures/$path.sent"
      cost "$path" stream "$path" -R >>"$figures/$path.received"
    done
  done
  echo "| instructions per packet | echoes | sending | receiving | rounds |"
  echo "|---|---|---|---|---|"
  for path in card by-hand direct; do
    echo "| $path | $(median <"$figures/$path.echoes") | $(median <"$figures/$path.sent") | $(median <"$figures/$path.received") | $rounds |"
  done
  give_back_by_hand
  run_in n1 20 "ip address delete 198.18.0.69/24 dev card0"
  wait_until 300 "iov host list | grep -q '^n1 .*connected'" || fail "n1's agent did not come back"
  iov claim delete measured-direct --wait >/dev/null 2>&1
  run_in n1 20 "ip netns delete measured-direct"
  kill "$(tr -d '\0' <"$server")"
  rm -rf "$server" "$figures"
}
