# Scenarios: files of checks, and the words that their steps are made of. `cluster/scenarios/README.md` is their manual.

# What the steps of a check can say. Some words hide programs and builtins of the same name, so that they are defined only
# where steps are taken.
speak() {
  # on NODE COMMAND...: in a node or the shelf, as bash there understands it.
  on() { need_guest "$1" && run_in "$1" 60 "${*:2}"; }
  # expect PATTERN COMMAND...: it succeeds, and what it says matches.
  expect() {
    local pattern=$1 said
    shift
    said=$("$@" 2>&1) || { echo "$said"; return 1; }
    grep -qE -- "$pattern" <<<"$said" || { printf "it does not say '%s':\n%s\n" "$pattern" "$said"; return 1; }
  }
  # refused PATTERN COMMAND...: it fails, and what it says matches.
  refused() {
    local pattern=$1 said
    shift
    if said=$("$@" 2>&1); then
      printf 'it was not refused:\n%s\n' "$said"
      return 1
    fi
    grep -qiE -- "$pattern" <<<"$said" || { printf "it does not say '%s':\n%s\n" "$pattern" "$said"; return 1; }
  }
  # lacks PATTERN COMMAND...: it succeeds, and what it says does not match.
  lacks() { never expect "$@" && "${@:2}" >/dev/null; }
  # never COMMAND...: it fails, whatever it says.
  never() { if "$@"; then echo "it succeeded: $*"; return 1; fi; }
  # within SECONDS COMMAND...: it succeeds at the latest then.
  within() {
    local end=$((SECONDS + $1)) said
    shift
    until said=$("$@" 2>&1); do
      ((SECONDS < end)) || { echo "$said"; return 1; }
      sleep 0.3
    done
  }
  # holds CLAIM FILTER VALUE: what jq's filter finds in it.
  holds() {
    local found
    found=$(iov claim get "$1" -o json | jq -r "$2")
    [[ $found == "$3" ]] || { echo "$1: $2 is '$found', not '$3'"; return 1; }
  }
  # server_of CLAIM: the node that has its device.
  server_of() { iov claim get "$1" -o json | jq -r .status.assignment.controllingHost; }
  # others NODE: all but it.
  others() { printf "%s\n" "${nodes[@]}" | grep -vx "$1" | paste -sd " "; }
  # disconnected: the nodes that the coordinator does not hear of.
  disconnected() { iov host list -o json | jq -r '.hosts[] | select(.state != "HOST_STATE_CONNECTED") | .name'; }
  claim() { iov claim create "$@" --wait --timeout 40; }
  release() { local name; for name; do iov claim delete "$name" --wait --timeout 60 || return; done; }

  # copy NODE FILE NODE: a file of some hundred kilobytes at most.
  copy() {
    local text
    text=$(on "$1" base64 -w 0 "$2") && on "$3" "base64 -d <<<'$text' >'$2'"
  }

  kill() {
    case $1 in
      node) need_node "$2" && kill_node "$2" ;;
      shelf) kill_node "$shelf" ;;
      *) need_node "$2" && kill_program "$@" ;;
    esac
  }
  start() {
    case $1 in
      node) need_node "$2" && start_node "$2" ;;
      shelf) start_node "$shelf" ;;
      *) fail "a node or the shelf is started, not '$1'" ;;
    esac
  }
  cut() { faulty "$@" && "cut_$1" "$2"; }
  mend() { faulty "$@" && "mend_$1" "$2"; }
  freeze() { [[ $1 == agent ]] && need_node "$2" && freeze_agent "$2"; }
  thaw() { [[ $1 == agent ]] && need_node "$2" && thaw_agent "$2"; }
  disk() {
    need_guest "$2"
    case $1 in
      error) disk_errors "$2" "$3" ;;
      mended) mend_disk "$2" "$3" ;;
      *) fail "a disk has an 'error' or is 'mended', not '$1'" ;;
    esac
  }
}
faulty() {
  [[ $1 == network || $1 == path ]] || fail "a node's network or path is cut or mended, not its '$1'"
  need_node "$2"
}

# One step, or several lines of them.
take_step() {
  . "$place/made-of"
  speak
  eval "$*"
}

run_scenarios() {
  local made_here= name begun passed=0 failed=0 skipped=0
  (($#)) || fail "which scenarios? 'all', 'short', or some of: $(scenarios)"
  case $1 in
    all) set -- $(scenarios) ;;
    short) set -- $(scenarios | tr ' ' '\n' | grep -vxF "$(printf '%s\n' "${long_scenarios[@]}")") ;;
  esac
  for name; do [[ -r $cluster_directory/scenarios/$name ]] || fail "there is no scenario '$name': there are $(scenarios)"; done
  if [[ ! -e $place ]]; then
    made_here=yes
    set +e
    (set -e; up)
    case $? in
      0) set -e ;;
      75) echo "0 passed, 0 failed, 1 skipped" && exit ;;
      *) echo "0 passed, 1 failed, 0 skipped" && exit 1 ;;
    esac
    trap down EXIT
  fi
  step_output=$(mktemp)
  for name; do
    begun=$EPOCHREALTIME
    say "-- $name"
    run_scenario "$cluster_directory/scenarios/$name"
    if settle >"$step_output" 2>&1; then name=passed; else name=failed; fi
    count $name "afterwards nothing is left, and the rack is as it was"
    say "   $(elapsed "$begun") s"
  done
  rm -f "$step_output"
  ((failed == 0)) || say "logs: $(keep_logs)"
  if [[ $made_here ]]; then
    trap - EXIT
    down
  fi
  echo "$passed passed, $failed failed, $skipped skipped"
  ((failed == 0))
}

# Long ones, of which others, or `cluster/acceptance`, try the greater part, too.
readonly long_scenarios=(file-servers file-servers-on-shared-disks interface-kept sas-failover sas-pulled shared-lun sriov-faults storage-rounds)
scenarios() { (cd "$cluster_directory/scenarios" && ls | grep -v '\.md$' | tr '\n' ' '); }

# A line `check SENTENCE` begins a check, whose steps are the indented lines after it; `needs REASON: COMMAND` skips the rest
# of the scenario if the command fails.
run_scenario() {
  local line sentence= steps=
  while IFS= read -r line; do
    case $line in
      check\ *)
        take_check
        sentence=${line#check } steps=
        ;;
      needs\ *)
        take_check
        sentence= steps=
        if ! (take_step "${line#*: }") >"$step_output" 2>&1; then
          line=${line#needs } skipped=$((skipped + 1))
          say "skipped the rest: it needs ${line%%: *}"
          return
        fi
        ;;
      ' '*) steps+=$line$'\n' ;;
    esac
  done <"$1"
  take_check
}

take_check() {
  [[ $sentence ]] || return 0
  set +e
  (
    set -eE
    trap 'echo "at: $BASH_COMMAND"' ERR
    take_step "$steps"
  ) >"$step_output" 2>&1
  local status=$?
  set -e
  if ((status == 0)); then count passed "$sentence"; else count failed "$sentence"; fi
}

count() {
  if [[ $1 == passed ]]; then
    passed=$((passed + 1))
    say "ok      $2"
  else
    failed=$((failed + 1))
    say "FAILED  $2"
    head -n 40 "$step_output" | sed 's/^/        /' >&2
  fi
}

# Faults end, claims go, nodes come back: the next scenario begins as the first did.
settle() {
  local node disk name
  . "$place/made-of"
  [[ $(node_pid "$shelf") ]] || start_node "$shelf"
  [[ ! -e $place/$shelf/lun.broken ]] || mend_disk "$shelf" lun
  for node in "${nodes[@]}"; do
    [[ $(node_pid "$node") ]] || start_node "$node"
    mend_network "$node"
    mend_path "$node"
    [[ ! -e $place/$node/frozen ]] || thaw_agent "$node"
    has_device "$node" card || replug "$node" card
    has_device "$node" sas || replug "$node" sas
    replug "$node" nvme
    link up "$node"
    for disk in sas sata nvme; do [[ ! -e $place/$node/$disk.broken ]] || mend_disk "$node" "$disk"; done
  done
  wait_until 900 all_joined || { iov host list; iov endnode list; return 1; }
  # A source takes what is from it along.
  iov claim list | awk 'NR > 1 {print $1}' | while read -r name; do
    iov claim delete "$name" --cascade --wait --timeout 60 || (($? == 2))
  done
  for node in "${nodes[@]}"; do
    wait_until 200 "[[ ! \$(left_on $node) ]]" || { echo "$node has without any claim:"; left_on "$node"; return 1; }
  done
  wait_until 50 "[[ ! \$(registered_with_lun) ]]" || { echo "still registered with the shelf's LUN:"; registered_with_lun; return 1; }
}

# What a node has beside its own interfaces that the product could have made: nothing, when there are no claims.
left_on() {
  run_in "$1" 20 '
    ls /sys/class/net | grep -vxE "lo|mgmt0|storage0|card0"
    ls /run/netns /dev/iov /run/cdi 2>/dev/null | grep -v :$
    losetup --list --noheadings
    pgrep -l qemu-storage
    pgrep -l "nbdfuse|iov-nbd"
    grep -s . /sys/block/nbd*/backend
    grep " fuse" /proc/mounts
    tc qdisc show dev card0 | grep -E "ingress|htb|tbf"
    ip link show card0 | grep -oE "vf .*(vlan|link-state disable).*"' || true
}
