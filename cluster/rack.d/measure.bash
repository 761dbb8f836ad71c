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

# How long the network hears from a function after its release was asked for: replies to a ping from outside, one every 20 ms.
measure_silence() {
  local path round begun last
  echo "| path | release to silence, median ms | rounds |"
  echo "|---|---|---|"
  for path in $paths; do
    : >"$figures/silence"
    for ((round = 0; round < rounds; round++)); do
      iov claim create probe $(ask_for "$path") --interface probe0 --wait >/dev/null 2>&1
      run_in "$(measured_node "$path")" 20 "ip address add 198.18.0.68/24 dev probe0; ping -c 1 -W 2 $world >/dev/null"
      ip netns exec "$emulated_namespace" ping -D -n -i 0.02 -w 4 198.18.0.68 >"$figures/replies" &
      sleep 1
      begun=$EPOCHREALTIME
      iov claim delete probe --wait >/dev/null 2>&1
      wait $! || true
      last=$(sed -n 's/^\[\([0-9.]*\)\] .* bytes from .*/\1/p' "$figures/replies" | tail -1)
      awk -v from="$begun" -v to="$last" 'BEGIN {printf "%.0f\n", (to - from) * 1000}' >>"$figures/silence"
    done
    echo "| $path | $(median <"$figures/silence") | $rounds |"
  done
}

# The count of the second card's functions, by the kernel alone, with the agent aside.
measure_count() {
  local to
  run_in n2 20 'touch /run/no-agent; pkill -TERM iov-agent; sleep 2'
  : >"$figures/count-0" && : >"$figures/count-4"
  for ((round = 0; round < rounds; round++)); do
    for to in 0 4; do
      run_in n2 30 "begun=\${EPOCHREALTIME/./}; echo $to >/sys/class/net/card0/device/sriov_numvfs; echo \$(((\${EPOCHREALTIME/./} - begun) / 1000))" >>"$figures/count-$to"
    done
  done
  run_in n2 20 'rm /run/no-agent'
  echo "| change | median ms | rounds |"
  echo "|---|---|---|"
  echo "| 0 to 4 functions | $(median <"$figures/count-4") | $rounds |"
  echo "| 4 to 0 functions | $(median <"$figures/count-0") | $rounds |"
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
  echo
  plot
  run_in n1 20 "ip address delete 198.18.0.69/24 dev card0"
  for path in $paths; do
    iov claim delete "measured-$path" --wait >/dev/null 2>&1
    run_in "$(measured_node "$path")" 20 "ip netns delete measured-$path"
  done
  kill "$(tr -d '\0' <"$server")"
  rm -f "$server"
}

# The same as bars, to the network.
plot() {
  local path
  echo '```'
  for path in card $paths; do echo "$path $(median <"$figures/$path.sent")"; done | awk '
    { name[NR] = $1; value[NR] = $2; if ($2 > most) most = $2 }
    END {
      for (row = 1; row <= NR; row++) {
        bar = ""
        for (column = 1; column <= 50 * value[row] / most; column++) bar = bar "█"
        printf "%-16s %s %s Mb/s\n", name[row], bar, value[row]
      }
    }'
  echo '```'
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
  measure_silence
  echo
  echo "### The number of functions"
  echo
  measure_count
  echo
  echo "### What it carries, TCP in one stream"
  echo
  measure_traffic
  rm -rf "$figures"
}
