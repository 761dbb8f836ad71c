"""Proofs about the coordinator's store and the agents' state: full, read-only, damaged, outdated, lost."""
import contextlib
import os
import pathlib
import shutil
import signal
import subprocess

import rack
from checks import failed, phase_is, says

SMALL = rack.STATE / "small"
CONVERGE = 30


@contextlib.contextmanager
def on_small_disk(directory, daemon):
    """The daemon's directory lies on a file system of 16 MiB meanwhile. Yields what fills it to the last byte."""
    daemon.stop(signal.SIGTERM)
    aside = pathlib.Path(f"{directory}.aside")
    directory.rename(aside)
    directory.mkdir()
    rack.run("mount", "-t", "tmpfs", "-o", "size=16m", "iov-small", directory)
    shutil.copytree(aside, directory, dirs_exist_ok=True)
    daemon.start()
    rack.wait_until(rack.is_complete, CONVERGE)
    try:
        yield _fill
    finally:
        daemon.stop(signal.SIGTERM)
        (directory / "filler").unlink(missing_ok=True)
        shutil.copytree(directory, aside, dirs_exist_ok=True)
        rack.run("umount", directory)
        directory.rmdir()
        aside.rename(directory)
        daemon.start()


@contextlib.contextmanager
def _fill(directory):
    with open(directory / "filler", "wb", buffering=0) as filler:
        for size in (1 << 20, 4096, 1):
            with contextlib.suppress(OSError):
                while True:
                    filler.write(bytes(size))
    try:
        yield
    finally:
        (directory / "filler").unlink()


@contextlib.contextmanager
def store_in(directory):
    """The store lies in a directory of its own, so that it can be on a file system of its own."""
    coordinator, configuration = rack.coordinator(), rack.RACK / "coordinator.yaml"
    text = configuration.read_text()
    coordinator.stop(signal.SIGTERM)
    directory.mkdir()
    _move_store(rack.STATE, directory)
    configuration.write_text(text.replace(f"{rack.STATE}/coordinator.sqlite", f"{directory}/coordinator.sqlite"))
    try:
        yield coordinator
    finally:
        coordinator.stop(signal.SIGTERM)
        _move_store(directory, rack.STATE)
        configuration.write_text(text)
        shutil.rmtree(directory)
        coordinator.start()


def _move_store(source, target):
    for path in source.glob("coordinator.sqlite*"):
        shutil.move(path, target / path.name)


def start_again(coordinator):
    """As systemd does when it has ended by itself."""
    if coordinator.has_ended():
        coordinator.start()
    return rack.wait_until(lambda: rack.claims(timeout=5) is not None, 10)


def claim_arguments(name, host="host-b"):
    return ["claim", "create", name, "--class", "ethernet", "--host", host, "--interface", name]


def a_full_disk_under_the_store(checks, claims):
    what = "a full disk under the store"
    with store_in(SMALL) as coordinator, on_small_disk(SMALL, coordinator) as fill:
        before, size = set(rack.claims()), coordinator.log_size()
        with fill(SMALL):
            acknowledged = set()
            for number in range(40):
                if rack.iov(*claim_arguments(f"full{number}"), timeout=20)[0] != rack.DONE:
                    break
                acknowledged.add(f"full{number}")
            checks.check(f"{what}: a claim that cannot be kept is not acknowledged", lambda: len(acknowledged) < 40)
            checks.check(f"{what}: its log says why", lambda: "full" in coordinator.log_since(size))
            checks.check(f"{what}: traffic flows", claims.check)
        checks.check(f"{what}, with room again: it serves", start_again, coordinator, within=20)
        checks.check(f"{what}, with room again: what was acknowledged is there",
                     lambda: sorted((before | acknowledged) - set(rack.claims())))
        checks.commands(f"{what}, with room again: a claim is granted", *claim_arguments("room"), "--wait", timeout=70)
        release(checks, what, "room", *(name for name in rack.claims() if name.startswith("full")))


def a_full_disk_under_an_agent(checks, claims):
    what = "a full disk under an agent"
    directory, names = rack.STATE / "host-b", [f"full{number}" for number in range(20)]
    with on_small_disk(directory, rack.agent("host-b")) as fill:
        with fill(directory):
            # What is half a page of a file now still fits.
            for name in names:
                rack.iov(*claim_arguments(name))
            checks.check(f"{what}: a new claim waits and says why", says, names[-1], "No space", within=10)
            checks.check(f"{what}: traffic flows", claims.check)
        checks.check(f"{what}, with room again: the claim is ready", phase_is, names[-1], "READY", within=60)
        release(checks, what, *names)


def a_store_that_cannot_be_written(checks, claims):
    what = "a read-only store"
    with store_in(SMALL) as coordinator:
        rack.run("mount", "--bind", SMALL, SMALL)
        rack.run("mount", "-o", "remount,bind,ro", SMALL)
        refused_to_start(checks, what, coordinator, "read-only", "writable")
        checks.check(f"{what}: traffic flows", claims.check)
        rack.run("umount", SMALL)
        coordinator.start()
        checks.check(f"{what}, writable again: it serves", start_again, coordinator)


def refused_to_start(checks, what, coordinator, *texts):
    size = coordinator.log_size()
    coordinator.start()
    checks.check(f"{what}: the coordinator does not start with it", coordinator.has_ended, within=10)
    log = coordinator.log_since(size)
    checks.check(f"{what}: it says so, and what to do", lambda: "" if any(text in log for text in texts) else log)
    coordinator.stop()


def backup(checks, what, path):
    return checks.commands(f"{what}: a backup while it serves", "backup", path)


def restore_offline(path):
    command = [rack.PROGRAMS / "iov-coordinator", "--config", rack.RACK / "coordinator.yaml", "--restore", path]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30)
    return f"exit code {done.returncode}: {done.stdout}{done.stderr}" if done.returncode else ""


@contextlib.contextmanager
def scratch():
    path = rack.STATE / "scratch"
    path.mkdir()
    try:
        yield path
    finally:
        shutil.rmtree(path)
        for old in rack.STATE.glob("coordinator.sqlite.*"):
            old.unlink()


def a_damaged_store(checks, claims):
    what = "a damaged store"
    store, coordinator = rack.STATE / "coordinator.sqlite", rack.coordinator()
    with scratch() as directory:
        if not backup(checks, what, directory / "backup"):
            return
        coordinator.stop(signal.SIGTERM)
        size = store.stat().st_size
        with open(store, "r+b") as file:
            file.seek(size // 3)
            file.write(os.urandom(size // 3))
        refused_to_start(checks, what, coordinator, "--restore")
        checks.check(f"{what}: traffic flows", claims.check)
        checks.check(f"{what}: the backup is put in its place", restore_offline, directory / "backup")
        coordinator.start()
        checks.check(f"{what}, restored: every claim is ready again", all_ready, claims, within=CONVERGE)


def all_ready(claims):
    listed = rack.claims() or {}
    phases = {name: rack.phase(listed.get(name)) for name in claims.claims}
    return [f"{name}: {phase}" for name, phase in phases.items() if phase != "READY"]


def token(name):
    return int(rack.assignment(rack.claim(name)).get("token", {}).get("value", 0))


def an_older_backup(checks, claims):
    """Claims made after it are orphans; what was released after it comes back with another function."""
    what = "an older backup"
    with scratch() as directory:
        checks.commands(f"{what}: a claim before", *claim_arguments("released"), "--wait")
        if not backup(checks, what, directory / "backup"):
            return release(checks, what, "released")
        old = token("released")
        release(checks, what, "released")
        for name in ("adopted", "purged"):
            checks.commands(f"{what}: claim {name} after", *claim_arguments(name), "--wait")
        functions = {name: rack.assignment(rack.claim(name)).get("function") for name in ("adopted", "purged")}
        highest = token("purged")
        checks.commands(f"{what}: it is restored", "restore", directory / "backup", "--yes", timeout=60)
        checks.check(f"{what}: the untouched claims are ready again", all_ready, claims, within=CONVERGE)
        # It is READY in the backup, and stays so until its host says that the token is spent.
        checks.check(f"{what}: what was released gets another function, under a token above all",
                     lambda: "" if token("released") > max(old, highest) else
                     f"{token('released')}, {old} and {highest} were drawn", within=CONVERGE)
        checks.check(f"{what}: and is ready with it", phase_is, "released", "READY", within=CONVERGE)
        orphans_are_handled(checks, what, functions)
        release(checks, what, "released", "adopted")


def orphans():
    answer = rack.iov_json("orphan", "list") or {}
    return {orphan["status"]["function"]["id"] for orphan in answer.get("orphans", [])}


def orphans_are_handled(checks, what, functions):
    checks.check(f"{what}: the claims made after it are orphans",
                 lambda: "" if set(functions.values()) <= orphans() else f"orphans are {orphans()}, not {functions}",
                 within=CONVERGE)
    # What a function was set up for is known with the next observation of its host.
    checks.check(f"{what}: one is adopted",
                 lambda: failed(rack.iov("orphan", "adopt", functions["adopted"])), within=60)
    checks.check(f"{what}: and is a claim as before", phase_is, "adopted", "READY", within=CONVERGE)
    checks.check(f"{what}: with the same function",
                 lambda: rack.assignment(rack.claim("adopted")).get("function") == functions["adopted"])
    checks.commands(f"{what}: one is purged", "orphan", "purge", functions["purged"], "--yes")
    checks.check(f"{what}: and is gone from its hosts", lambda: not has_interface("host-b", "purged"), within=CONVERGE)
    checks.check(f"{what}: no orphan is left", lambda: sorted(orphans()), within=CONVERGE)


def has_interface(host, name):
    return bool(rack.run("ip", "-n", f"iov-{host}", "link", "show", name, check=False))


def a_lost_store(checks, claims):
    """An empty store is another cluster: nobody obeys it, and nothing is torn down. The backup brings
    everything back."""
    what = "a lost store"
    coordinator = rack.coordinator()
    with scratch() as directory:
        if not backup(checks, what, directory / "backup"):
            return
        coordinator.stop(signal.SIGTERM)
        remove_store()
        coordinator.start()
        checks.check(f"{what}: the hosts refuse to obey an empty one and say why",
                     lambda: "has joined cluster" in rack.agent("host-b").log_since(0)[-5000:], within=CONVERGE)
        checks.check(f"{what}: traffic flows", claims.check)
        coordinator.stop(signal.SIGTERM)
        checks.check(f"{what}: the empty one's cluster is not taken for the lost one",
                     lambda: "" if "cluster" in restore_offline(directory / "backup") else "it was")
        remove_store()
        checks.check(f"{what}: the backup is put in its place", restore_offline, directory / "backup")
        coordinator.start()
        checks.check(f"{what}, restored: every claim is ready again", all_ready, claims, within=CONVERGE)


def remove_store():
    for path in rack.STATE.glob("coordinator.sqlite*"):
        path.unlink()


def release(checks, what, *names):
    for name in names:
        rack.iov("claim", "delete", name)
    for name in names:
        checks.check(f"{what}: {name} is released", phase_is, name, "GONE", within=CONVERGE)


PROOFS = [
    a_full_disk_under_the_store, a_full_disk_under_an_agent, a_store_that_cannot_be_written, a_damaged_store,
    an_older_backup, a_lost_store,
]
