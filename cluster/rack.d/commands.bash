# Commands in the guests: through a virtio port of QEMU, which needs neither network nor keys and works whatever was cut.

# Runs a command in a node; its output, errors and exit code are the command's. 124: it took longer than allowed; 125: the node
# does not answer.   run_in NODE SECONDS COMMAND
run_in() {
  local node=$1 seconds=$2 command=$3 directory=$place/$1
  [[ $(node_pid "$node") ]] || { say "$node is off"; return 125; }
  local port lock input output id=$RANDOM$RANDOM$RANDOM line status=125 length errors
  take_port "$directory" "$seconds" || { say "$node is busy with other commands"; return 125; }
  exec {input}<>"$directory/command$port.out" {output}<>"$directory/command$port.in"
  echo "$id $seconds $(base64 -w 0 <<<"$command")" >&"$output"
  # Whoever asked before may have left without waiting: what is not ours is passed over.
  while read -rt $((seconds + 5)) line <&"$input"; do
    [[ $line != *"=$id "* ]] || break
  done
  if [[ $line == *"=$id "* ]]; then
    read -r status length errors <<<"${line#*"=$id "}"
    head -c "$length" <&"$input"
    head -c "$errors" <&"$input" >&2
  else
    say "$node does not answer"
  fi
  exec {lock}>&- {input}<&- {output}>&-
  return "$status"
}

# Sets port to a free one of four, and lock to what keeps it ours.
take_port() {
  for port in 0 1 2 3; do
    exec {lock}>"$1/command$port.lock"
    if flock -n "$lock"; then return; fi
    exec {lock}>&-
  done
  port=0
  exec {lock}>"$1/command0.lock"
  flock -w "$2" "$lock"
}
