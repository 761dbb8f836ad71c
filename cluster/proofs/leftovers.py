"""Everything that the product could leave on a machine, one line each, without what changes by itself. Two
lists of a rack at rest are equal; where they differ, something was left, or was taken that was not ours."""
import os
import pathlib
import re
import subprocess

import rack

# Counters, timers, and numbers that the kernel draws anew.
VOLATILE = re.compile(
    r"@if\d+|state [A-Z]+|[a-z_]+_timer +[\d.]+|usedbcqueuelen \d+|direct_packets_stat \d+|refcnt \d+|expires \d+sec")


def network(namespace):
    commands = [
        ("ip", "-o", "-d", "link"), ("tc", "qdisc"), ("ip", "-o", "rule"),
        ("ip", "-o", "route", "show", "table", "all"), ("nft", "list", "ruleset"),
    ]
    for command in commands:
        for line in _lines(namespace, command):
            if "route" in command and "proto kernel" in line:
                continue  # the kernel's own, for addresses that whoever uses an interface gives it
            yield f"{namespace} {' '.join(command[:3])}: {_stable(line)}"
    for link in _links(namespace):
        for parent in ("root", "ingress"):
            for line in _lines(namespace, ("tc", "filter", "show", "dev", link, parent)):
                yield f"{namespace} filter {link}: {_stable(line)}"


def _lines(namespace, command):
    try:
        done = subprocess.run(["ip", "netns", "exec", namespace, *command], capture_output=True, text=True)
    except OSError:
        return []
    return [line for line in done.stdout.splitlines() if line.strip()]


def _links(namespace):
    return [re.split(r"[:@]", line.split(": ")[1])[0] for line in _lines(namespace, ("ip", "-o", "link"))]


def _stable(line):
    return re.sub(r"\s+", " ", VOLATILE.sub("", re.sub(r"^\d+: ", "", line))).strip()


def loop_devices():
    for line in rack.run("losetup", "--list", "--noheadings", "--output", "BACK-FILE,OFFSET,SIZELIMIT,RO").splitlines():
        file = line.split()[0]
        if file == _disk() or rack.is_ours([file]):
            yield "loop: " + " ".join(line.split())


def network_block_devices():
    for path in pathlib.Path("/sys/block").glob("nbd*/backend"):
        if _text(path).startswith("iov-"):
            yield f"nbd: {path.parent.name}"


def mounts():
    """In every mount namespace: those of `ip netns exec` hold what the plugins mount."""
    seen = set()
    for pid, _ in rack.processes():
        try:
            namespace = os.readlink(f"/proc/{pid}/ns/mnt")
            if namespace in seen:
                continue
            seen.add(namespace)
            lines = pathlib.Path(f"/proc/{pid}/mounts").read_text().splitlines()
        except OSError:
            continue
        for line in lines:
            device, place, kind = line.split()[:3]
            if rack.is_ours([place]):
                yield f"mount: {kind} {device if device[0] == '/' else '-'} {place}"


def daemons():
    """The rack's own processes by what they are, and whatever serves or connects its disk."""
    for pid, arguments in rack.processes():
        program = os.path.basename(arguments[0])
        if not rack.is_ours(arguments):
            continue
        if program in ("qemu-storage-daemon", "nbdfuse", "iov-nbd-client"):
            yield "daemon: " + " ".join(arguments)
        elif program.startswith("iov-"):
            yield f"daemon: {program} " + next((word for word in arguments if word.endswith(".yaml")), "")
        yield from zombies(pid, program)


def zombies(parent, program):
    """Children that have ended and that nobody has asked how."""
    for path in pathlib.Path(f"/proc/{parent}/task").glob("*/children"):
        for child in _text(path).split():
            if _text(f"/proc/{child}/stat").rpartition(") ")[2].startswith("Z"):
                yield f"zombie: of {program}: {_text(f'/proc/{child}/comm').strip()}"


def _text(path):
    try:
        return pathlib.Path(path).read_text()
    except OSError:
        return ""


def files():
    for root in (rack.RACK, rack.STATE):
        for path in sorted(root.rglob("*")):
            if not _comes_and_goes(path):
                yield f"file: {path}"


def _comes_and_goes(path):
    """The store's companions do with the coordinator; a disk's map is made at its first use and stays, and so is the
    directory in which cleanings are kept, empty; logs and pid files are the rack's."""
    return (path.name == "scrubs" or path.suffix in (".log", ".pid", ".extents") or path == rack.PACE
            or path.name.startswith("coordinator.sqlite-"))


def device_links():
    """Those that lead to others' devices are not ours; those that lead nowhere are if younger than the rack."""
    began = (rack.RACK / "disk").stat().st_mtime if _disk() else 0
    for path in pathlib.Path("/dev/iov").glob("*"):
        loop = os.path.basename(os.path.realpath(path))
        file = _text(f"/sys/block/{loop}/loop/backing_file").strip()
        if rack.is_ours([file]) or file == _disk() or not file and path.lstat().st_mtime >= began:
            yield f"link: {path}"


def device_notes():
    """What tells udev of those links: one of a loop device that is attached still, or by now to something else."""
    for path in pathlib.Path("/run/iov/names").glob("loop*-*"):
        device, _, sequence = path.name.partition("-")
        file = _text(f"/sys/block/{device}/loop/backing_file").strip()
        if rack.is_ours([file]) or file == _disk() or _text(f"/sys/block/{device}/diskseq").strip() != sequence:
            yield f"note for udev: {path}"


def _disk():
    return rack.disk() if (rack.RACK / "disk").exists() else ""


def locks():
    """Locks on the rack's files, by file."""
    inodes = {}
    for root in (rack.RACK, rack.STATE):
        for path in root.rglob("*"):
            try:
                inodes[path.lstat().st_ino] = path
            except OSError:
                pass
    for line in pathlib.Path("/proc/locks").read_text().splitlines():
        words = line.split()
        path = inodes.get(int(words[-3].split(":")[-1])) if words[1] != "->" else None
        if path and not path.name.startswith("coordinator.sqlite-") and path.suffix != ".img":
            yield f"lock: {words[1]} {path}"


def listed():
    """The lists, sorted; a line that is there twice counts twice."""
    lines = []
    for namespace in rack.namespaces():
        lines.append(f"namespace: {namespace}")
        lines += network(namespace)
    for part in (loop_devices, network_block_devices, mounts, daemons, files, device_links, device_notes, locks):
        lines += part()
    return sorted(lines)


def difference(before, after):
    """What is there that was not, and what is not there that was."""
    rest = list(before)
    added = []
    for line in after:
        if line in rest:
            rest.remove(line)
        else:
            added.append(line)
    return [f"+ {line}" for line in added] + [f"- {line}" for line in rest]
