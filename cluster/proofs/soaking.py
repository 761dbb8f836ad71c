"""The kill loop behind cluster/soak."""
import collections
import os
import random
import signal
import time

import base
import churn
import device
import leftovers
import rack

CALM_EVERY = 15  # rounds
CONVERGE_WITHIN = 30  # seconds after everything is back
CHURNS = 5


class Violated(Exception):
    pass


class Soak:
    def __init__(self, seed):
        self._random = random.Random(seed)
        self._seed = seed
        self._daemons = {"coordinator": rack.coordinator()} | {host: rack.agent(host) for host in rack.HOSTS}
        self._down = set()  # daemons that we ended
        self._stopped = []  # (pid, until when) of processes under SIGSTOP
        self._strikes = collections.Counter()
        self._round = 0

    def run(self, rounds):
        """What was violated, or nothing."""
        begun = time.monotonic()
        before = leftovers.listed()
        self._base = base.Base(self._seed)
        self._base.make()
        at_rest = leftovers.listed()
        self._base.watch()
        self._promises = churn.Promises()
        for name, claim in self._base.claims.items():
            self._promises.created(name, claim["uid"])
        self._churns = [churn.Churn(number, self._seed, self._promises) for number in range(CHURNS)]
        for worker in self._churns:
            worker.start()
        failure = ""
        try:
            for self._round in range(1, rounds + 1):
                self._one_round()
                if self._round % CALM_EVERY == 0 or self._round == rounds:
                    self._calm(at_rest)
                    self._go_on(rounds)
        except Violated as error:
            failure = str(error)
            self._report(failure)
        failure = self._end(before, failure)
        self._print_counts(failure, time.monotonic() - begun)
        return failure

    def _one_round(self):
        for _ in range(self._random.choice((1, 1, 1, 2, 2, 3))):
            self._strike()
            time.sleep(self._random.random() * 0.2)
        time.sleep(self._random.random() * 0.4)
        self._revive(everything=False)
        time.sleep(self._random.random() * 0.3)
        self._check(device.faults() + self._base.check() + self._promises.broken)
        self._check([fault for worker in self._churns for fault in worker.broken])
        self._check([f"{name} has ended by itself" for name, daemon in self._daemons.items()
                     if name not in self._down and not daemon.pid])

    def _check(self, faults):
        if faults:
            raise Violated("; ".join(faults[:5]))

    # Who is struck

    def _strike(self):
        number = self._random.choices((signal.SIGKILL, signal.SIGSTOP, signal.SIGTERM), (70, 20, 10))[0]
        what = self._random.choices(("agent", "plugin", "coordinator", "storage"), (30, 30, 20, 20))[0]
        host = self._random.choice(rack.HOSTS)
        program = self._random.choice(rack.PLUGINS)
        if what in ("agent", "coordinator"):
            self._strike_daemon(what if what == "coordinator" else host, number)
        else:
            pids = rack.plugin_pids(host, program) if what == "plugin" else self._base.churned_daemons()
            if pids:
                self._send(self._random.choice(pids), number, what)

    def _strike_daemon(self, name, number):
        daemon = self._daemons[name]
        if name in self._down or not daemon.pid:
            return
        if number != signal.SIGSTOP:
            self._down.add(name)
        self._send(daemon.pid, number, "coordinator" if name == "coordinator" else "agent")

    def _send(self, pid, number, what):
        if rack.send(pid, number):
            self._strikes[what] += 1
            if number == signal.SIGSTOP:
                self._stopped.append((pid, time.monotonic() + self._random.uniform(0.2, 3)))

    def _revive(self, everything):
        now = time.monotonic()
        # Who is to end is let go on first, as systemd does: SIGTERM does not reach a stopped process.
        ending = {self._daemons[name].pid for name in self._down}
        for pid, until in list(self._stopped):
            if everything or now > until or pid in ending:
                rack.send(pid, signal.SIGCONT)
                self._stopped.remove((pid, until))
        for name in self._random.sample(sorted(self._down), len(self._down)):
            if everything or self._random.random() < 0.7:
                daemon = self._daemons[name]
                if not rack.wait_until(daemon.has_ended, 15, every=0.01):
                    raise Violated(f"{name} has not ended 15 s after SIGTERM")
                daemon.start()
                self._down.remove(name)

    # Peace

    def _calm(self, at_rest):
        """Everything is back, churned claims run to their end; then the machine is as it was."""
        for worker in self._churns:
            worker.rest()
        self._revive(everything=True)
        idle = lambda: all(worker.idle.is_set() or worker.broken for worker in self._churns)  # noqa: E731
        if not rack.wait_until(idle, CONVERGE_WITHIN):
            stuck = [f"{worker.doing} ({self._said_of(worker)})" for worker in self._churns if not worker.idle.is_set()]
            raise Violated(f"not done {CONVERGE_WITHIN} s after everything is back: " + "; ".join(stuck))
        self._check([fault for worker in self._churns for fault in worker.broken])
        if not rack.wait_until(rack.is_complete, CONVERGE_WITHIN, every=0.2):
            raise Violated(f"the hosts are not back after {CONVERGE_WITHIN} s: {rack.iov('host', 'list')[1]}")
        self._check(self._base.check() + self._base.check_disks() + self._promises.broken)
        self._compare(at_rest, "with the untouched claims alone")
        rack.say(f"round {self._round}: {sum(self._strikes.values())} strikes, {self._claims()} claims")

    def _go_on(self, rounds):
        for worker in self._churns:
            if self._round < rounds:
                worker.go_on()

    def _said_of(self, worker):
        claim = self._promises.latest.get(worker.doing.split(":")[0], {})
        return rack.json.dumps(claim.get("status", {}))[:1500]

    def _compare(self, wanted, when):
        differs = lambda: leftovers.difference(wanted, leftovers.listed())  # noqa: E731
        # What has just been released may be on its way out of the kernel.
        if not rack.wait_until(lambda: not differs(), 5, every=0.3):
            raise Violated(f"{when} the machine differs: " + " | ".join(differs()[:8]))

    def _claims(self):
        return sum(worker.claims for worker in self._churns)

    # The end

    def _end(self, before, failure):
        for worker in self._churns:
            worker.stop()
        self._promises.stop()
        self._base.end_traffic()
        if failure:
            for pid, _ in self._stopped:
                rack.send(pid, signal.SIGCONT)
            return failure
        try:
            self._check(self._base.release())
            self._compare(before, "after everything was released")
            self._check(rack.crashes())
        except Violated as error:
            self._report(str(error))
            return str(error)
        return ""

    def _report(self, failure):
        kept = rack.keep_logs()
        rack.say(f"round {self._round}, seed {self._seed}: {failure}\nlogs and the machine as it is: {kept}")

    def _print_counts(self, failure, seconds):
        strikes = ", ".join(f"{self._strikes[what]} {what}" for what in ("agent", "plugin", "coordinator", "storage"))
        gaps = " and ".join(f"{gap * 1000:.0f} ms ({what})" for what, gap in self._base.longest.items())
        print(
            f"{self._round} rounds, {strikes} strikes, {self._claims()} claims, {self._base.written} stamped blocks, "
            f"longest gap {gaps}, {seconds:.0f} s, {1 if failure else 0} violated", flush=True)
