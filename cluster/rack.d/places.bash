# The emulated rack: its nodes, and where everything of it lies. Beside the rack of `cluster/up`, not instead of it: no name is
# shared with that one.
readonly place=/run/iov-emulated${IOV_RACK_SUFFIX:-}   # images, pipes, logs, process ids
readonly cache=${IOV_RACK_CACHE:-/var/cache/iov-rack} # packages and images, named by what they were made from
# Not iov-…: `cluster/leftovers` lists those.
readonly emulated_namespace=emulated-rack${IOV_RACK_SUFFIX:-}
# As many as the rack that is up has, or as the next one is to have: up to nine.
if [[ -r $place/nodes ]]; then read -ra nodes <"$place/nodes"; else nodes=($(seq -f 'n%g' "${RACK_NODES:-3}")); fi
readonly nodes
readonly world=198.18.0.1                           # who answers on the data network
export IOV_COORDINATOR=unix:$place/coordinator.sock

number_of() { if [[ $1 == shelf ]]; then echo 0; else echo "${1#n}"; fi; }
management_address() { echo "10.87.0.1$(number_of "$1")"; }
storage_address() { echo "10.88.0.1$(number_of "$1")"; }

is_node() {
  local node
  for node in "${nodes[@]}"; do [[ $node != "$1" ]] || return 0; done
  return 1
}

need_node() { is_node "$1" || fail "there is no node '$1': the nodes are ${nodes[*]}"; }
need_guest() { [[ $1 == shelf ]] || need_node "$1"; }
need_rack() { [[ -e $place/coordinator.pid ]] || fail "there is no emulated rack: make one with cluster/rack up"; }

# Ends the script: this machine cannot have an emulated rack, which is nobody's fault.
cannot() {
  say "there can be no emulated rack here: $*"
  exit 75
}

# A key for what is made from these words.
key_of() { printf '%s\n' "$@" | sha256sum | cut -c -16; }

# made NAME FUNCTION ARGUMENT...: the path of $cache/NAME, which `FUNCTION DIRECTORY-OR-FILE ARGUMENT...` makes if it is not
# there. NAME ends in -KEY; what was made under other keys and is in no rack's use goes, so that the cache does not grow.
made() {
  local name=$1 path=$cache/$1 old
  shift
  if [[ ! -e $path ]]; then
    for old in "$cache/${name%-*}"-*; do
      grep -qsF "\"$old\"" /run/iov-emulated*/made-of || rm -rf "$old"
    done
    "$1" "$path.new" "${@:2}"
    mv "$path.new" "$path"
  fi
  echo "$path"
}
