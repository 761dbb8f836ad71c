"""Claims that come and go, by the command line, while everything around them is being killed; and a list of
what has been acknowledged, against which the coordinator's word is held."""
import random
import threading
import time

import blocks
import rack


class Promises:
    """What the coordinator has acknowledged. A claim whose creation was answered is listed until its deletion is asked
    for; one that is gone never comes back."""

    def __init__(self):
        self._lock = threading.Lock()
        self._created, self._gone = {}, set()
        self.latest, self.listed_at = {}, 0.0
        self.broken = []
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def created(self, name, uid):
        with self._lock:
            self._created[name] = uid

    def deletion_is_asked(self, name):
        with self._lock:
            self._created.pop(name, None)

    def gone(self, uid):
        with self._lock:
            self._gone.add(uid)

    def stop(self):
        self._stopping.set()
        self._thread.join(15)

    def _watch(self):
        while not self._stopping.wait(0.2):
            with self._lock:
                promised, gone = dict(self._created), set(self._gone)
            begun = time.monotonic()
            listed = rack.claims(timeout=10)
            if listed is None:
                continue
            with self._lock:
                promised = {name: uid for name, uid in promised.items() if name in self._created}
            for name, uid in promised.items():
                if listed.get(name, {}).get("uid") != uid:
                    self.broken.append(f"claim {name} ({uid}) was acknowledged and is not listed")
            for name, claim in listed.items():
                if claim["uid"] in gone:
                    self.broken.append(f"claim {name} ({claim['uid']}) was gone and is listed again")
            self.latest, self.listed_at = listed, begun

    def phase_after(self, name, moment):
        """The claim's phase in a list begun after the moment: waits for it. "GONE" if it is not listed."""
        while not self._stopping.is_set():
            if self.listed_at > moment:
                claim = self.latest.get(name)
                return rack.phase(claim) if claim else "GONE"
            time.sleep(0.05)
        return ""


class Churn(threading.Thread):
    """One claim after the other, each from its creation until nothing is left of it."""

    KINDS = ("mediated", "mediated", "direct", "mediated-disk", "mediated-disk", "direct-disk")

    def __init__(self, number, seed, promises):
        super().__init__(daemon=True)
        self._number, self._promises = number, promises
        self._random = random.Random(f"{seed}/{number}")
        self._calm, self._stopping = threading.Event(), threading.Event()
        self.idle = threading.Event()
        self.doing, self.claims, self.broken = "", 0, []

    def rest(self):
        """Finish the claim at hand and begin no other."""
        self._calm.set()

    def go_on(self):
        self.idle.clear()
        self._calm.clear()

    def stop(self):
        self.rest()
        self._stopping.set()
        self.join(1)

    def run(self):
        while not self._stopping.is_set():
            if self._calm.is_set():
                self.idle.set()
                time.sleep(0.05)
                continue
            self.claims += 1
            try:
                self._one(f"c{self._number}x{self.claims}", self._random.choice(self.KINDS))
            except Exception as error:  # noqa: BLE001: whatever it is, the run has failed
                self.broken.append(f"{self.doing}: {error!r}")
                return

    def _one(self, name, kind):
        namespace = ""
        settings = ["--host", self._random.choice(("host-b", "host-c"))] if kind == "mediated" else ["--host", "host-a"]
        if kind.endswith("disk"):
            host = self._random.choice(("host-a", "host-b")) if kind == "mediated-disk" else "host-c"
            settings = ["--class", "sata", "--host", host, "--size", f"{self._random.randint(1, 8)}MiB"]
        else:
            settings += ["--class", "ethernet", "--interface", name]
            if self._random.random() < 0.5:
                namespace = f"iov-tenant-{name}"
                rack.run("ip", "netns", "add", namespace)
                settings += ["--netns", namespace]
            if self._random.random() < 0.5:
                settings += ["--max-transmit", "300mbit", "--max-receive", "200mbit"]
        try:
            self._live(name, kind, settings, namespace)
        finally:
            if namespace in rack.namespaces():
                rack.run("ip", "netns", "delete", namespace)

    def _live(self, name, kind, settings, namespace):
        uid = self._create(name, settings)
        if self._random.random() < 0.85:
            self._wait(name, "READY")
            if kind.endswith("disk"):
                self._use_disk(name, uid)
            else:
                self._use_interface(name, namespace)
        else:
            time.sleep(self._random.random() * 0.3)
        self._release(name)
        self._wait(name, "GONE")
        self._promises.gone(uid)

    # The command line, again and again until it is answered

    def _create(self, name, settings):
        self.doing = f"{name}: create {' '.join(settings)}"
        while True:
            answer = rack.iov("claim", "create", name, *settings, "-o", "json", timeout=15)
            if answer[0] == rack.DONE:
                uid = rack.json.loads(answer[1])["uid"]
                self._promises.created(name, uid)
                return uid
            self._try_again(answer)

    def _release(self, name):
        self.doing = f"{name}: delete"
        self._promises.deletion_is_asked(name)
        while True:
            answer = rack.iov("claim", "delete", name, timeout=15)
            # An earlier attempt whose answer was lost may have done it.
            if answer[0] in (rack.DONE, rack.NOT_FOUND):
                return
            self._try_again(answer)

    def _update(self, name):
        self.doing = f"{name}: update"
        rate = f"{self._random.randint(50, 900)}mbit"
        while (answer := rack.iov("claim", "update", name, "--max-transmit", rate, timeout=15))[0] != rack.DONE:
            self._try_again(answer)

    def _try_again(self, answer):
        code, _, message = answer
        if code != rack.UNREACHABLE:
            raise RuntimeError(f"exit code {code}: {message.strip()}")
        time.sleep(self._random.uniform(0.1, 0.4))

    def _wait(self, name, phase):
        self.doing = f"{name}: wait until {phase}"
        begun = time.monotonic()
        while self._promises.phase_after(name, begun) != phase:
            if self._stopping.is_set():
                raise RuntimeError("stopped")
            time.sleep(0.1)

    # What is ready can be used

    def _use_interface(self, name, namespace):
        if self._random.random() < 0.4:
            self._update(name)
        if namespace and self._random.random() < 0.15:
            # A tenant's namespace may go at any time, and its interface with it.
            rack.run("ip", "netns", "delete", namespace)
        elif namespace:
            self._ping(name, namespace)
        time.sleep(self._random.random())

    def _ping(self, name, namespace):
        self.doing = f"{name}: ping"
        rack.run("ip", "-n", namespace, "address", "replace", f"198.18.0.{100 + self._number}/24", "dev", name)
        # Where the address was used by an interface that is gone by now, the neighbour is learnt anew.
        rack.run("ip", "-n", rack.RACK_NAMESPACE, "neighbour", "flush", f"198.18.0.{100 + self._number}", check=False)
        end = time.monotonic() + 3
        while time.monotonic() < end:
            answer = rack.run("ping", "-c1", "-W1", "-q", "198.18.0.1", namespace=namespace, check=False)
            if " 1 received" in answer:
                return
        raise RuntimeError(f"{name} is ready, and no packet passes")

    def _use_disk(self, name, uid):
        self.doing = f"{name}: write"
        writer = None
        try:
            writer = self._writer(name, uid)
            for _ in range(self._random.randint(1, 4)):
                writer.write_some(3)
                time.sleep(self._random.random() * 0.2)
        except OSError:
            pass  # its daemons are killed, too; what was acknowledged before counts
        if writer:
            writer.device.close()
            self._check_disk(name, uid, writer)

    def _writer(self, name, uid):
        return blocks.Writer(f"/dev/iov/{name}", uid, self._random.random())

    def _check_disk(self, name, uid, former):
        """Through the device, as soon as it works again, whatever was killed in between."""
        while not self._stopping.is_set():
            self._wait(name, "READY")
            self.doing = f"{name}: read back"
            try:
                writer = self._writer(name, uid)
            except OSError:
                continue
            writer.continue_from(former)
            try:
                return writer.check_all()
            except OSError:
                time.sleep(0.2)
            finally:
                writer.device.close()
