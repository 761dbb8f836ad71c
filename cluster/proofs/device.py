"""Who holds what, as the kernel and the processes say, whatever the product believes: no part of a disk, no network and
no address may be somebody's twice.

What is looked at moves meanwhile, so a fault counts only if it is there in two looks, a moment apart."""
import collections
import json
import os
import time

import rack


def faults():
    seen = set(_faults())
    if not seen:
        return []
    time.sleep(0.1)
    return sorted(seen & set(_faults()))


def _faults():
    return [*_disk_faults(), *_extent_faults(), *_consumer_faults(), *_network_faults()]


# Disks


def disk_users():
    """(offset, size, who) of everything that can write to the disk now."""
    disk = rack.disk()
    for pid, arguments in rack.processes():
        if os.path.basename(arguments[0]) == "qemu-storage-daemon" and rack.is_alive(pid):
            nodes = [json.loads(word) for word in arguments if word.startswith("{")]
            if any(node.get("filename") == disk for node in nodes):
                part = next(node for node in nodes if node.get("driver") == "raw")
                export = next(node["name"] for node in nodes if node.get("type") == "nbd")
                yield part["offset"], part["size"], f"storage daemon {pid} for {export}"
    columns = "NAME,OFFSET,SIZELIMIT,BACK-FILE"
    for line in rack.run("losetup", "--list", "--noheadings", "--output", columns).splitlines():
        fields = line.split(None, 3)
        # One that goes while it is listed has a name and nothing else.
        if len(fields) == 4 and fields[3] == disk:
            yield int(fields[1]), int(fields[2]), fields[0]


def _disk_faults():
    """Two that overlap are two holders of one function, or of two that overlap."""
    end, holder = 0, ""
    for offset, size, who in sorted(disk_users()):
        if offset < end:
            yield f"{who} and {holder} both hold the disk's bytes from {offset}"
        if offset + size > end:
            end, holder = offset + size, who


def _extent_faults():
    extents = sorted((offset, size, function) for function, (offset, size) in (rack.extents() or {}).items())
    for (offset, size, function), (next_offset, _, following) in zip(extents, extents[1:]):
        if offset + size > next_offset:
            yield f"the extents of {function} and {following} overlap"


def _exports_used(arguments):
    """By the client that a process is."""
    program = os.path.basename(arguments[0])
    if program == "nbdfuse":
        yield arguments[-1]
    elif program == "iov-nbd-client" and "--export" in arguments:
        yield arguments[arguments.index("--export") + 1]


def _consumer_faults():
    """An export has one consumer, a consumer's file one loop device."""
    exports = [export for _, arguments in rack.processes() for export in _exports_used(arguments)]
    backing = rack.run("losetup", "--list", "--noheadings", "--output", "BACK-FILE").splitlines()
    files = [file for file in backing if file.endswith("/disk")]
    for what, counted in (("the export", exports), ("the file", files)):
        for name, count in collections.Counter(counted).items():
            if count > 1:
                yield f"{what} {name} is used {count} times"


# Networks


def links():
    """(namespace, link) of everything that a function is made of."""
    for namespace in rack.namespaces():
        answer = rack.run("ip", "-n", namespace, "-j", "-d", "link", check=False)
        for link in json.loads(answer) if answer else []:
            if link.get("linkinfo", {}).get("info_kind") in ("macvlan", "vxlan"):
                yield namespace, link


def _network_faults():
    """On the card's side an address is one macvlan's, on the consumers' side one VXLAN device's; of a network
    there is one device on each side, and they mean each other."""
    addresses, networks = collections.defaultdict(list), collections.defaultdict(list)
    for namespace, link in links():
        kind = link["linkinfo"]["info_kind"]
        name = f"{namespace}/{link['ifname']}"
        if link["address"].startswith("02:") and (kind == "macvlan" or not link["ifname"].endswith("v")):
            addresses[kind, link["address"]].append(name)
        if kind == "vxlan":
            data = link["linkinfo"]["info_data"]
            networks[data["id"]].append((name, data.get("local"), data.get("remote")))
    for (kind, address), names in addresses.items():
        if len(names) > 1:
            yield f"{address} is the address of {' and '.join(sorted(names))}"
    for number, ends in networks.items():
        yield from _tunnel_faults(number, sorted(ends))


def _tunnel_faults(number, ends):
    names = " and ".join(name for name, _, _ in ends)
    if len(ends) > 2:
        yield f"network {number} is used by {names}"
    elif len(ends) == 2 and (ends[0][1], ends[0][2]) != (ends[1][2], ends[1][1]):
        yield f"network {number} is used by {names}, which do not mean each other"
