# Shared by the scripts beside it: where things are, how they are built, how the rack's processes are found again.
# Source it; it changes nothing by itself.
set -euo pipefail
shopt -s inherit_errexit nullglob

readonly cluster_directory=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
readonly checkout=$(dirname "$cluster_directory")

# One rack per machine. Everything it makes lies in these places, so that `cluster/down` can remove every trace.
readonly rack=/run/iov-rack           # sockets, logs, process ids
readonly rack_state=/var/lib/iov-rack # store, state of agents and plugins, the disk's image
readonly rack_hosts=(host-a host-b host-c)
readonly rack_namespace=iov-rack
readonly coordinator_socket=$rack/coordinator.sock
readonly authority=$rack_state/pki    # who signs the rack's certificates
readonly operator_certificate=$rack/operator
# Programs that are built already can be named, and are used as they are.
readonly programs=${IOV_PROGRAMS:-$checkout/.build/release}

say() { printf '%s\n' "$*" >&2; }
fail() { say "error: $*"; exit 1; }

need_root() {
  [[ $EUID -eq 0 ]] || fail "network namespaces and loop devices need root: run 'sudo $0 $*'"
}

need_swift() {
  command -v swift >/dev/null || fail "no Swift toolchain found. Install Swift 6.2 or later (https://www.swift.org/install/linux), put its usr/bin into PATH, and run this again."
  local version
  version=$(swift --version 2>/dev/null | sed -n 's/.*Swift version \([0-9]*\)\.\([0-9]*\).*/\1 \2/p' | head -1)
  local major=${version% *} minor=${version#* }
  ((major > 6 || (major == 6 && minor >= 2))) || fail "Swift $major.$minor is too old: iovmesh needs 6.2 or later."
}

# What the product links to and calls at run time.
readonly product_packages=(
  libnghttp2-dev libprotobuf-c-dev zlib1g-dev libyaml-dev libsqlite3-dev libblkid-dev libgnutls28-dev pkg-config
  iproute2 fuse3 procps iputils-ping util-linux mount
)
# What the tests and benchmarks use beside it.
readonly test_packages=(
  protobuf-compiler libprotobuf-dev protobuf-c-compiler python3-venv python3-pip iperf3 fio nghttp2-client jq
  python3 nftables g++ libgrpc++-dev protobuf-compiler-grpc openssl
  spin gcc
)
# What the emulated rack is made of and what its guests run: unpacked beside the machine's own packages, not installed.
readonly emulated_rack_packages=(
  qemu-system-x86 qemu-utils zstd e2fsprogs kmod busybox-static
  bash coreutils diffutils findutils grep sed gawk util-linux mount procps pciutils iproute2 iputils-ping ethtool tcpdump iperf3
  sg3-utils nvme-cli open-iscsi fio fuse3 libnghttp2-14 libprotobuf-c1 libyaml-0-2 libblkid1 libstdc++6
)
# What it is made with.
readonly emulated_rack_tools=(python3 jq gcc libc6-dev binutils xz-utils)

# Two programs changed their packages between Debian releases, so they are looked for by name.
readonly product_programs=(qemu-storage-daemon nbdfuse)

# Installs those of the named Debian packages, and of the programs above, that are missing.
install_packages() {
  local missing=() package program
  for package; do
    [[ $(dpkg-query -W -f '${Status}' "$package" 2>/dev/null) == *'ok installed' ]] || missing+=("$package")
  done
  if ((${#missing[@]} == 0)) && [[ -z $(missing_programs) ]]; then return; fi
  # A fresh machine has no lists of packages, or old ones.
  apt-get update -qq
  if ! command -v qemu-storage-daemon >/dev/null; then
    missing+=(qemu-utils)
    [[ $(. /etc/os-release && echo "${VERSION_ID:-99}") -gt 12 ]] || missing+=(qemu-system-common)
  fi
  if ! command -v nbdfuse >/dev/null; then
    if [[ $(apt-cache show nbdfuse 2>/dev/null) ]]; then missing+=(nbdfuse); else missing+=(libnbd-bin); fi
  fi
  say "installing: ${missing[*]}"
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null ||
    fail "apt-get could not install: ${missing[*]}"
  program=$(missing_programs)
  [[ -z $program ]] || fail "no package of this Debian release brings ${program//$'\n'/, }"
}

missing_programs() {
  local program
  for program in "${product_programs[@]}"; do command -v "$program" >/dev/null || echo "$program"; done
}

# Builds the named programs, or all: together, for what they have in common is a queue otherwise. What disks need beside them
# comes with their plugins.
build_release() {
  [[ -z ${IOV_PROGRAMS:-} ]] || return 0
  say "building (release; some minutes the first time)"
  local names=("$@")
  (($#)) || names=(iov iov-agent iov-coordinator iov-plugin-ethernet iov-plugin-sata iov-plugin-sas iov-plugin-nvme iov-bench)
  (cd "$checkout" && IOV_TARGETS=$(IFS=,; echo "${names[*]}") swift build -c release --static-swift-stdlib >"$rack_build_log" 2>&1) || {
    tail -n 40 "$rack_build_log" >&2
    fail "the build of ${names[*]} failed; all of its output: $rack_build_log"
  }
}
readonly rack_build_log=${TMPDIR:-/tmp}/iovmesh-build.log

in_host() { ip netns exec "iov-$1" "${@:2}"; }
iov() { "$programs/iov" "$@"; }
export IOV_COORDINATOR=unix:$coordinator_socket

# A certificate of the rack's authority: issue ROLE [NAME] --out DIRECTORY ...
issue() { iov pki issue "$@" --ca "$authority" >&2; }

# Starts a daemon of the rack in a namespace, detached from this terminal: start NAME NAMESPACE COMMAND...
start() {
  local name=$1 namespace=$2
  shift 2
  setsid ip netns exec "$namespace" "$@" </dev/null >>"$rack/$name.log" 2>&1 &
  echo $! >"$rack/$name.pid"
}

# Ends a daemon that `start` began, if the process is still that one: stop NAME [SIGNAL]
stop() {
  local name=$1 signal=${2:-TERM} pid
  [[ -f $rack/$name.pid ]] || return 0
  pid=$(<"$rack/$name.pid")
  if [[ -r /proc/$pid/cmdline ]] && [[ $(tr '\0' ' ' </proc/"$pid"/cmdline) == *iov-rack* ]]; then
    kill -"$signal" "$pid" 2>/dev/null || true
    wait_until 100 "! kill -0 $pid 2>/dev/null" || kill -KILL "$pid" 2>/dev/null || true
  fi
  rm -f "$rack/$name.pid"
}

start_coordinator() {
  start coordinator "$rack_namespace" "$programs/iov-coordinator" --config "$rack/coordinator.yaml"
  wait_until 100 "[[ -S $coordinator_socket ]] && '$programs/iov' version >/dev/null 2>&1" || {
    tail -n 20 "$rack/coordinator.log" >&2
    fail "the coordinator did not start; its log: $rack/coordinator.log"
  }
}

start_agent() {
  start "$1" "iov-$1" "$programs/iov-agent" --config "$rack/$1/agent.yaml"
}

# wait_until TENTHS-OF-SECONDS CONDITION
wait_until() {
  local left=$1
  while ! eval "$2"; do
    ((left-- > 0)) || return 1
    sleep 0.1
  done
}
