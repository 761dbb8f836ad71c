# Figures of the emulated rack: how long a claim takes on each path, and what its function then carries. Paths are compared with
# each other and with the card itself in one run, in turns: emulated processors are slow and uneven.

median() { sort -n | awk '{v[NR] = $1} END {if (NR) print (NR % 2) ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2}'; }

# Milliseconds that a command takes.
milliseconds() {
  local begun=$EPOCHREALTIME
  "$@" >/dev/null 2>&1 || fail "$* failed"
  awk -v from="$begun" -v to="$EPOCHREALTIME" 'BEGIN {printf "%.0f\n", (to - from) * 1000}'
}

# Where a path of n1's card is used: the node and what to ask for.
measured_node() { if [[ $1 == mediated ]]; then echo n2; else echo n1; fi; }
ask_for() { echo "--class ethernet --end-node n1/card0 --host $(measured_node "$1") --path $1"; }

# The paths that this card has.
measured_paths() {
  local path
  for path in direct direct-software mediated; do
    if iov claim create probe $(ask_for "$path") --interface probe0 --wait --timeout 20 >/dev/null 2>&1; then echo "$path"; fi
    iov claim delete probe --wait --timeout 60 >/dev/null 2>&1 || true
  done
}

measure_claims() {
  local path round
  echo "| path | claim to ready, median ms | release to gone, median ms | rounds |"
  echo "|---|---|---|---|"
  for path in $paths; do
    : >"$figures/create" && : >"$figures/delete"
    for ((round = 0; round < rounds; round++)); do
      milliseconds iov claim create probe $(ask_for "$path") --interface probe0 --wait >>"$figures/create"
      milliseconds iov claim delete probe --wait >>"$figures/delete"
    done
    echo "| $path | $(median <"$figures/create") | $(median <"$figures/delete") | $rounds |"
  done
}

# Each path's function in a namespace of its own, and the card itself in the node's.
measure_traffic() {
  local path number=70 round node address server
  server=$(mktemp)
  (setsid ip netns exec "$emulated_namespace" iperf3 -s -B "$world" -D -I "$server")
  run_in n1 20 "ip address add 198.18.0.69/24 dev card0"
  for path in $paths; do
    node=$(measured_node "$path") number=$((number + 1))
    run_in "$node" 20 "ip netns add measured-$path"
    iov claim create "measured-$path" $(ask_for "$path") --netns "measured-$path" --interface eth0 --wait >/dev/null 2>&1
    run_in "$node" 20 "ip -n measured-$path address add 198.18.0.$number/24 dev eth0"
  done
  for ((round = 0; round < rounds; round++)); do
    for path in card $paths; do
      sent "$path" >>"$figures/$path.sent"
      sent "$path" -R >>"$figures/$path.received"
      answered "$path" >>"$figures/$path.answered"
    done
  done
  echo "| path | to the network, Mb/s | from it, Mb/s | round trip, ms | rounds |"
  echo "|---|---|---|---|---|"
  for path in card $paths; do
    echo "| $path | $(median <"$figures/$path.sent") | $(median <"$figures/$path.received") | $(median <"$figures/$path.answered") | $rounds |"
  done
  run_in n1 20 "ip address delete 198.18.0.69/24 dev card0"
  for path in $paths; do
    iov claim delete "measured-$path" --wait >/dev/null 2>&1
    run_in "$(measured_node "$path")" 20 "ip netns delete measured-$path"
  done
  kill "$(tr -d '\0' <"$server")"
  rm -f "$server"
}

in_path() { if [[ $1 == card ]]; then run_in n1 60 "${*:2}"; else run_in "$(measured_node "$1")" 60 "ip netns exec measured-$1 ${*:2}"; fi; }
sent() { in_path "$1" "iperf3 -J -t 2 -c $world ${2:-}" | jq '.end.sum_received.bits_per_second / 1e6 | round'; }
# The median of a round's answers: some wait for a processor of the machine.
answered() { in_path "$1" "ping -c 40 -i 0.05 $world" | sed -n 's/.*time=\([0-9.]*\) ms/\1/p' | median; }

measure() {
  need_root
  need_rack
  install_packages iperf3
  local rounds=${ROUNDS:-9} figures paths
  figures=$(mktemp -d)
  paths=$(measured_paths | xargs)
  echo "### A claim on each path"
  echo
  measure_claims
  echo
  echo "### What it carries, TCP in one stream"
  echo
  measure_traffic
  rm -rf "$figures"
}
