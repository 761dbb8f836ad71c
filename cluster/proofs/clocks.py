"""Proofs about wall clocks that jump while a daemon runs: leases are kept by clocks that do not."""
import contextlib
import pathlib
import signal
import subprocess
import time

import rack
from checks import phase_is


@contextlib.contextmanager
def false_clock(daemon):
    """The daemon's wall clock can be set meanwhile: yields a function of the offset in seconds."""
    file, library = rack.RACK / "offset", rack.RACK / "wall-clock.so"
    set_to(file, 0)
    source = pathlib.Path(__file__).resolve().parent.parent / "wall-clock.c"
    subprocess.run(["cc", "-shared", "-fPIC", "-O2", "-o", library, source], check=True)
    daemon.wrapper = ("env", f"LD_PRELOAD={library}", f"WALL_CLOCK_OFFSET={file}")
    daemon.restart(signal.SIGTERM)
    rack.wait_until(rack.is_complete, 30)
    try:
        yield lambda offset: set_to(file, offset)
    finally:
        daemon.wrapper = ()
        daemon.restart(signal.SIGTERM)
        file.unlink()
        library.unlink()


def set_to(file, offset):
    """Replaced as a whole: it is read all the time."""
    new = file.with_suffix(".new")
    new.write_text(f"{offset}\n")
    new.rename(file)


def the_coordinators_clock_jumps(checks, claims):
    jumps(checks, claims, "the coordinator's clock", rack.coordinator(), skew)


def an_agents_clock_jumps(checks, claims):
    jumps(checks, claims, "an agent's clock", rack.agent("host-b"), None)


def skew():
    """Seconds by which the coordinator's clock is ahead of ours."""
    text = (rack.iov_json("status") or {}).get("now", "1970-01-01T00:00:00Z")
    return time.mktime(time.strptime(text[:19], "%Y-%m-%dT%H:%M:%S")) - time.timezone - time.time()


def jumps(checks, claims, clock, daemon, seen):
    with false_clock(daemon) as jump:
        size = rack.coordinator().log_size()
        tokens = {name: rack.assignment(claim).get("token") for name, claim in rack.claims().items()}
        for offset, name in ((86400, "forward"), (-86400, "back")):
            jump(offset)
            if seen and (rack.iov_json("status") or {}).get("now"):
                checks.check(f"{clock} goes a day {name}", lambda: abs(seen()) > 80000, within=5)
            time.sleep(4)
            checks.check(f"{clock} a day {name}: no host is lost",
                         lambda: "disconnected" not in rack.coordinator().log_since(size))
            checks.commands(f"{clock} a day {name}: a claim is granted", "claim", "create", "tick", "--class",
                            "ethernet", "--host", "host-b", "--interface", "tick", "--wait")
            rack.iov("claim", "delete", "tick")
            checks.check(f"{clock} a day {name}: and released", phase_is, "tick", "GONE", within=20)
            checks.check(f"{clock} a day {name}: the others have what they had", lambda: tokens == {
                name: rack.assignment(claim).get("token") for name, claim in rack.claims().items()})
            checks.check(f"{clock} a day {name}: traffic flows", claims.check)


PROOFS = [the_coordinators_clock_jumps, an_agents_clock_jumps]
