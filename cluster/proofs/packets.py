"""Streams of packets through claims' interfaces, both ways, all the time. Every packet says its number and when it was
sent, so that an outage is measured in what the sender sent and the receiver missed: a machine that is too busy to run
either of them is no outage."""
import multiprocessing
import os
import select
import socket
import struct
import time

import rack

INTERVAL = 0.02
_STAMP = struct.Struct("<Qd")


class _Way:
    """One direction of one claim."""

    def __init__(self):
        self.sent = self.received = self.lost = 0
        self.longest_outage = self.longest_delay = 0.0
        self._expected = 0
        self._last_heard = None  # when the last packet that arrived was sent

    def next_packet(self, now):
        self.sent += 1
        if self._last_heard is None:
            self._last_heard = now
        return _STAMP.pack(self.sent, now)

    def hear(self, packet, now):
        number, sent_at = _STAMP.unpack(packet)
        if number < self._expected:
            return
        self.lost += number - self._expected if self._expected else 0
        if number > self._expected and self._expected:
            self.longest_outage = max(self.longest_outage, sent_at - self._last_heard)
        self.received += 1
        self.longest_delay = max(self.longest_delay, now - sent_at)
        self._expected, self._last_heard = number + 1, sent_at

    def report(self, now):
        """An outage that lasts counts, too."""
        silent = now - self._last_heard if self._last_heard and self.sent >= self._expected else 0
        return {
            "sent": self.sent, "lost": self.lost,
            "gap": max(self.longest_outage, self.longest_delay, silent if silent > 10 * INTERVAL else 0),
        }


class PacketStreams(multiprocessing.Process):
    """streams: {name: (namespace, interface, its address, peer's address)}; the peer is in the rack's namespace."""

    def __init__(self, streams):
        super().__init__(daemon=True)
        self._streams = streams
        self._questions, self._answers = multiprocessing.Pipe()

    def gaps(self):
        """{claim: {way: {sent, lost, gap}}} since the last time it was asked."""
        self._questions.send("report")
        return self._questions.recv()

    def finish(self):
        self._questions.send("stop")
        self.join(5)

    def run(self):
        try:
            os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(10))
        except OSError:
            pass  # where it is not allowed, gaps are a little longer
        ends = self._open()
        sockets = [end for end, _, _, _, _ in ends] + [self._answers.fileno()]
        ways = {(name, way): _Way() for _, _, name, way, _ in ends}
        due = time.monotonic()
        while True:
            readable, _, _ = select.select(sockets, [], [], max(0, due - time.monotonic()))
            for end, _, name, _, heard in ends:
                if end in readable:
                    self._hear(end, ways[name, heard])
            if self._answers.fileno() in readable:
                if self._answers.recv() == "stop":
                    return
                ways = self._report(ways)
            now = time.monotonic()
            if now >= due:
                due = max(due + INTERVAL, now)
                for end, address, name, way, _ in ends:
                    self._send(end, ways[name, way].next_packet(now), address)

    def _report(self, ways):
        now = time.monotonic()
        answer = {}
        for (name, way), state in ways.items():
            answer.setdefault(name, {})[way] = state.report(now)
            state.longest_outage = state.longest_delay = 0.0
        self._answers.send(answer)
        return ways

    def _open(self):
        """(socket, to, claim, the way it sends, the way it hears)"""
        ends = []
        for port, (name, (namespace, interface, own, peer)) in enumerate(sorted(self._streams.items()), 7200):
            inside = rack.socket_in(namespace, socket.AF_INET, socket.SOCK_DGRAM)
            inside.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, interface.encode())
            inside.bind((own, port))
            outside = rack.socket_in(rack.RACK_NAMESPACE, socket.AF_INET, socket.SOCK_DGRAM)
            outside.bind((peer, port))
            ends.append((inside, (peer, port), name, "out", "in"))
            ends.append((outside, (own, port), name, "in", "out"))
        for end, *_ in ends:
            end.setblocking(False)
        return ends

    @staticmethod
    def _hear(end, way):
        while True:
            try:
                packet = end.recv(64)
            except OSError:
                return
            way.hear(packet, time.monotonic())

    @staticmethod
    def _send(end, packet, address):
        try:
            end.sendto(packet, address)
        except OSError:
            pass  # counted by the receiver: it does not hear the packet
