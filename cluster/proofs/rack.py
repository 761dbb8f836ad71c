"""The rack that `cluster/up` made, as the proofs see it: where its files are, its processes, its command line, its
namespaces. common.bash says the same to the scripts."""
import contextlib
import ctypes
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

CLUSTER = pathlib.Path(__file__).resolve().parent.parent
PROGRAMS = pathlib.Path(os.environ.get("IOV_PROGRAMS", CLUSTER.parent / ".build/release"))
RACK = pathlib.Path("/run/iov-rack")
STATE = pathlib.Path("/var/lib/iov-rack")
PACE = STATE / "pace"  # a file that the proofs write to, to know how fast the machine's own disk is
HOSTS = ("host-a", "host-b", "host-c")
RACK_NAMESPACE = "iov-rack"
ENDPOINT = f"unix:{RACK}/coordinator.sock"
PLUGINS = ("iov-plugin-ethernet", "iov-plugin-sata")

# What `iov` exits with; its help lists them.
DONE, REFUSED, NOT_FOUND, UNREACHABLE, TIMED_OUT = 0, 1, 2, 3, 4


def say(text):
    print(text, file=sys.stderr, flush=True)


def wait_until(condition, seconds, every=0.05):
    """Whether the condition came true in time."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(every)
    return True


# The command line


def iov(*arguments, timeout=30, endpoint=ENDPOINT):
    """(exit code, standard output, standard error) of the iov command. A command that hangs counts as unreachable."""
    command = [PROGRAMS / "iov", *map(str, arguments)]
    environment = os.environ | {"IOV_COORDINATOR": endpoint}
    try:
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=timeout)
    except subprocess.TimeoutExpired:
        return UNREACHABLE, "", f"no answer in {timeout} s"
    return done.returncode, done.stdout, done.stderr


def iov_json(*arguments, **options):
    """The answer as JSON; None if there was none."""
    code, output, _ = iov(*arguments, "-o", "json", **options)
    return json.loads(output) if code == DONE and output else None


def claims(**options):
    """Every claim by name; None if the coordinator does not answer."""
    answer = iov_json("claim", "list", **options)
    return None if answer is None else {claim["name"]: claim for claim in answer.get("claims", [])}


def claim(name):
    return iov_json("claim", "get", name)


def phase(claim):
    return (claim or {}).get("status", {}).get("phase", "").removeprefix("CLAIM_PHASE_")


def assignment(claim):
    return (claim or {}).get("status", {}).get("assignment", {})


def hosts():
    answer = iov_json("host", "list")
    return {} if answer is None else {host["name"]: host for host in answer.get("hosts", [])}


def is_complete():
    """Whether every host is there with its plugins, and both end nodes are known."""
    found = hosts()
    for name in HOSTS:
        host = found.get(name, {})
        plugins = [plugin.get("state") for plugin in host.get("plugins", [])]
        if host.get("state") != "HOST_STATE_CONNECTED" or plugins != ["PLUGIN_STATE_SERVING"] * len(PLUGINS):
            return False
    return len((iov_json("endnode", "list") or {}).get("endNodes", [])) >= 2


# The rack as a whole


@contextlib.contextmanager
def standing():
    """Uses the rack that is up, or makes one and removes it again."""
    was_there = RACK.exists()
    if not was_there:
        subprocess.run([CLUSTER / "up", "--no-proof"], check=True, stdout=sys.stderr)
    try:
        yield
    finally:
        if not was_there:
            subprocess.run([CLUSTER / "down"], check=True)


def keep_logs():
    """Copies what helps to understand a failure to a directory that stays."""
    kept = pathlib.Path(tempfile.mkdtemp(prefix="iov-rack-logs."))
    for path in [*RACK.glob("*.log"), *STATE.rglob("*.ledger"), *STATE.rglob("*.extents")]:
        shutil.copyfile(path, kept / "-".join(path.parts[3:]))
    listing = subprocess.run([CLUSTER / "leftovers"], capture_output=True, text=True).stdout
    (kept / "leftovers").write_text(listing)
    for what in ("claim", "host", "function", "endnode"):
        (kept / f"{what}.json").write_text(iov(what, "list", "-o", "json", timeout=10)[1])
    return kept


def crashes():
    """What daemons said when they broke."""
    lines = [line for path in RACK.glob("*.log") for line in path.read_text(errors="replace").splitlines()]
    return [line for line in lines if "Fatal error" in line or "Crash" in line]


# Processes


def processes():
    """(pid, arguments) of everything that runs. What is ending has no arguments any more, and is left out."""
    for directory in pathlib.Path("/proc").iterdir():
        if not directory.name.isdigit():
            continue
        try:
            arguments = (directory / "cmdline").read_bytes().rstrip(b"\0").split(b"\0")
        except OSError:
            continue
        if arguments != [b""]:
            yield int(directory.name), [argument.decode(errors="replace") for argument in arguments]


def is_ours(arguments):
    """Other racks and hosts may be on this machine: ours have their files in our places."""
    return any(str(place) in word for place in (RACK, STATE) for word in arguments)


def storage_daemons():
    """(pid, arguments) of what serves and connects the rack's disk."""
    for pid, arguments in processes():
        if os.path.basename(arguments[0]) in ("qemu-storage-daemon", "nbdfuse", "iov-nbd-client") and is_ours(arguments):
            yield pid, arguments


def is_alive(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] not in "ZX"
    except OSError:
        return False


def send(pid, number):
    try:
        os.kill(pid, number)
        return True
    except ProcessLookupError:
        return False


def plugin_pids(host, program):
    configuration = f"{RACK}/{host}/"
    return [
        pid
        for pid, arguments in processes()
        if arguments[0].endswith("/" + program) and any(word.startswith(configuration) for word in arguments)
    ]


class Daemon:
    """The coordinator or an agent: started as `cluster/up` does, found again by its pid file."""

    def __init__(self, name, namespace, command):
        self.name, self.namespace, self.command = name, namespace, [str(word) for word in command]
        self.wrapper = ()  # what it is run under, such as env
        self._child = None

    @property
    def pid(self):
        """0 when it does not run."""
        try:
            pid = int((RACK / f"{self.name}.pid").read_text())
            arguments = pathlib.Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0")
        except (OSError, ValueError):
            return 0
        # A process has none for a moment when it begins with a program, and when it ends: it is there meanwhile.
        is_ours = arguments == [""] or self.command[-1] in arguments
        return pid if is_ours and is_alive(pid) else 0

    def start(self):
        command = ["ip", "netns", "exec", self.namespace, *self.wrapper, *self.command]
        with open(RACK / f"{self.name}.log", "ab") as log:
            self._child = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
        (RACK / f"{self.name}.pid").write_text(f"{self._child.pid}\n")

    def kill(self, number=signal.SIGKILL):
        pid = self.pid
        return bool(pid) and send(pid, number)

    def has_ended(self):
        if self._child:
            self._child.poll()  # or it stays as a zombie
        return not self.pid

    def stop(self, number=signal.SIGKILL, seconds=10):
        """Whether it ended in time."""
        self.kill(number)
        return wait_until(self.has_ended, seconds, every=0.01)

    def restart(self, number=signal.SIGKILL):
        self.stop(number)
        self.start()

    def log_size(self):
        return (RACK / f"{self.name}.log").stat().st_size

    def log_since(self, size):
        with open(RACK / f"{self.name}.log", errors="replace") as log:
            log.seek(size)
            return log.read()


def coordinator():
    return Daemon("coordinator", RACK_NAMESPACE, [PROGRAMS / "iov-coordinator", "--config", RACK / "coordinator.yaml"])


def agent(host):
    return Daemon(host, f"iov-{host}", [PROGRAMS / "iov-agent", "--config", RACK / host / "agent.yaml"])


# Namespaces


def run(*command, check=True, namespace=None):
    """Standard output of a command."""
    prefix = ("ip", "netns", "exec", namespace) if namespace else ()
    done = subprocess.run([*prefix, *map(str, command)], capture_output=True, text=True)
    if check and done.returncode:
        raise RuntimeError(f"{' '.join(map(str, command))}: {done.stderr.strip()}")
    return done.stdout


def namespaces():
    return sorted(path.name for path in pathlib.Path("/run/netns").glob("iov-*"))


_libc = ctypes.CDLL(None, use_errno=True)


def socket_in(namespace, *arguments):
    """A socket of a network namespace. os.setns is younger than the oldest Python that this has to run on."""
    with open("/proc/thread-self/ns/net") as home, open(f"/run/netns/{namespace}") as there:
        _enter(there)
        try:
            return socket.socket(*arguments)
        finally:
            _enter(home)


def _enter(namespace):
    if _libc.setns(namespace.fileno(), 0x40000000) < 0:  # CLONE_NEWNET
        raise OSError(ctypes.get_errno(), f"enter {namespace.name}")


def disk():
    return (RACK / "disk").read_text().strip()


def extents():
    """{function: (offset, size)} of the disk, from the map that its plugin keeps; None while there is none."""
    for path in STATE.glob("*/plugins/*/*.extents"):
        lines = re.findall(r"^extent (\d+) (\d+) (\S+)$", path.read_text(), re.M)
        return {function: (int(offset), int(size)) for offset, size, function in lines}
    return None
