"""Claims that nobody touches, with traffic through them all the time: a mediated and a direct interface, a
mediated and a direct disk. Whatever else happens, no gap in it is longer than a second, and no block is
anywhere but where it belongs."""
import contextlib

import blocks
import device
import packets
import rack

LONGEST_GAP = 1.0
TENANT = "iov-tenant"
PEER = "198.18.0.1"
INTERFACES = {
    "base-mediated": ("iov-host-b", "base0", "198.18.0.11", ["--host", "host-b"]),
    "base-direct": (TENANT, "base1", "198.18.0.12", ["--host", "host-a", "--netns", TENANT]),
}
DISKS = {"base-mediated-disk": "host-a", "base-direct-disk": "host-c"}


class Base:
    def __init__(self, seed, interface_options=(), disk_options=()):
        self._seed = seed
        self._options = list(interface_options), list(disk_options)
        self.claims, self.faults = {}, []
        self.longest = {"packets": 0.0, "blocks": 0.0}
        self.written = 0

    @contextlib.contextmanager
    def working(self):
        """Made, and with traffic meanwhile."""
        self.make()
        self.watch()
        try:
            yield self
        finally:
            self.end_traffic()

    def make(self):
        rack.run("ip", "netns", "add", TENANT)
        for name, (_, interface, _, settings) in INTERFACES.items():
            self._create(name, "--class", "ethernet", "--interface", interface, "--max-transmit", "1gbit",
                         "--max-receive", "1gbit", *settings, *self._options[0])
        for name, host in DISKS.items():
            self._create(name, "--class", "sata", "--size", "16MiB", "--host", host, *self._options[1])
        self.claims = {name: claim for name, claim in rack.claims().items() if name.startswith("base-")}
        for name in INTERFACES:
            self._address(name)

    def _create(self, name, *settings):
        code, _, message = rack.iov("claim", "create", name, *settings, "--wait", "--timeout", "30", timeout=40)
        if code:
            raise RuntimeError(f"{name}: {message}")

    def _address(self, name):
        """Neighbours are told, not asked for: on a host with several interfaces on one network any of them answers."""
        namespace, interface, own, _ = INTERFACES[name]
        rack.run("ip", "-n", namespace, "address", "add", f"{own}/24", "dev", interface)
        ends = [(namespace, interface, PEER, rack.RACK_NAMESPACE, "network"),
                (rack.RACK_NAMESPACE, "network", own, namespace, interface)]
        for where, through, address, other, link in ends:
            mac = rack.run("cat", f"/sys/class/net/{link}/address", namespace=other).strip()
            rack.run("ip", "-n", where, "neighbour", "replace", address, "lladdr", mac, "dev", through,
                     "nud", "permanent")

    def watch(self):
        self._packets = packets.PacketStreams(
            {name: (namespace, interface, own, PEER) for name, (namespace, interface, own, _) in INTERFACES.items()})
        self._writers = {
            name: blocks.StampedWriter(f"/dev/iov/{name}", self.claims[name]["uid"], f"{self._seed}/{name}")
            for name in DISKS}
        # The machine's own disk, below all others: where it stalls, so do they.
        self._own_disk = rack.PACE
        self._own_disk.write_bytes(bytes(1 << 20))
        self._pace = blocks.StampedWriter(str(self._own_disk), "0" * 36, self._seed)
        for process in (self._packets, self._pace, *self._writers.values()):
            process.start()
        self._daemons = set(self.daemon_pids())

    @staticmethod
    def daemon_pids():
        return [pid for pid, _ in rack.storage_daemons()]

    def churned_daemons(self):
        return sorted(set(self.daemon_pids()) - self._daemons)

    def check(self):
        """What was violated since the last check; [] if nothing."""
        faults = [f"daemon {pid} of an untouched claim has ended" for pid in self._daemons if not rack.is_alive(pid)]
        for name, ways in self._packets.gaps().items():
            for way, state in ways.items():
                self.longest["packets"] = max(self.longest["packets"], state["gap"])
                if state["gap"] > LONGEST_GAP:
                    faults.append(f"{name}: {state['gap']:.2f} s without packets ({way}; {state['lost']} lost in all)")
        return faults + self._blocks(lambda writer, _: writer.report())

    def check_disks(self, others=()):
        """Every acknowledged block where it belongs, and no stamp anywhere else. others: claims that may have
        extents."""
        known = rack.extents()
        extents = {
            claim["uid"]: known[rack.assignment(claim)["function"]]
            for claim in [*self.claims.values(), *others] if rack.assignment(claim).get("function") in known}
        faults = self._blocks(
            lambda writer, name: writer.report(rack.disk(), extents[self.claims[name]["uid"]][0]))
        return faults + blocks.misplaced(rack.disk(), extents) + device.faults()

    def _blocks(self, ask):
        faults = []
        reports = {name: ask(writer, name) for name, writer in self._writers.items()}
        own = self._pace.report()["gap"]
        for name, report in reports.items():
            if report["wrong"]:
                faults.append(f"{name}: {report['wrong']}")
            gap = report["gap"] - own
            self.longest["blocks"] = max(self.longest["blocks"], gap)
            if gap > LONGEST_GAP:
                faults.append(f"{name}: {report['gap']:.2f} s for a write (on the machine's own disk {own:.2f} s)")
        self.written = sum(report["blocks"] for report in reports.values())
        return faults

    def end_traffic(self):
        for process in (self._packets, self._pace, *self._writers.values()):
            process.finish()
        self._own_disk.unlink()

    def release(self):
        """What did not go in time."""
        faults = []
        for name in (*INTERFACES, *DISKS):
            code, _, message = rack.iov("claim", "delete", name, "--wait", "--timeout", "30", timeout=40)
            if code:
                faults.append(f"release of {name}: {message}")
        rack.run("ip", "netns", "delete", TENANT)
        for _, _, own, _ in INTERFACES.values():
            rack.run("ip", "-n", rack.RACK_NAMESPACE, "neighbour", "delete", own, "dev", "network", check=False)
        return faults
