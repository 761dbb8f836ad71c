"""Stamped blocks: each says whose it is, where it belongs, and of which generation it is, under a checksum.
What was written and synced must be found, through the claim's device and on the disk itself; and no block may
be anywhere else."""
import mmap
import multiprocessing
import os
import random
import struct
import time
import zlib

BLOCK = 4096
MAGIC = b"iov-stamped-block"
_STAMP = struct.Struct("<17s36sQQ")


def stamp(uid, offset, generation):
    head = _STAMP.pack(MAGIC, uid.encode(), offset, generation)
    body = (head * (BLOCK // len(head) + 1))[:BLOCK - 4]
    return body + struct.pack("<I", zlib.crc32(body))


def read_stamp(block):
    """(uid, offset, generation); None: no stamp; ValueError: a damaged one."""
    if not block.startswith(MAGIC):
        return None
    if zlib.crc32(block[:-4]) != struct.unpack("<I", block[-4:])[0]:
        raise ValueError("its checksum is wrong")
    _, uid, offset, generation = _STAMP.unpack(block[:_STAMP.size])
    return uid.decode(), offset, generation


class Device:
    """A block device past the page cache."""

    def __init__(self, path, writable=True):
        self._file = os.open(path, (os.O_RDWR if writable else os.O_RDONLY) | os.O_DIRECT)
        self._buffer = mmap.mmap(-1, 1 << 20)  # aligned
        self.size = os.lseek(self._file, 0, os.SEEK_END)

    def write(self, offset, block):
        self._buffer[:BLOCK] = block
        os.pwritev(self._file, [memoryview(self._buffer)[:BLOCK]], offset)

    def sync(self):
        os.fsync(self._file)

    def read(self, offset, size=BLOCK):
        count = os.preadv(self._file, [memoryview(self._buffer)[:size]], offset)
        return self._buffer[:count]

    def close(self):
        os.close(self._file)


class Writer:
    """Writes a claim's device at random and knows what is acknowledged: written and synced."""

    def __init__(self, path, uid, seed):
        self.device, self.uid = Device(path), uid
        self.acknowledged = {}  # offset: generation
        self._unsure = {}  # written, but no sync was answered: may be of any of these generations
        self._generation = 0
        self._random = random.Random(seed)

    def write_some(self, count=4):
        """Seconds from the first write to the end of the sync."""
        begin = time.monotonic()
        written = {}
        for _ in range(count):
            offset = self._random.randrange(self.device.size // BLOCK) * BLOCK
            self._generation += 1
            self._unsure.setdefault(offset, set()).add(self._generation)
            self.device.write(offset, stamp(self.uid, offset, self._generation))
            written[offset] = self._generation
        self.device.sync()
        self.acknowledged |= written
        for offset in written:
            del self._unsure[offset]
        return time.monotonic() - begin

    def check_some(self, count=4):
        offsets = list(self.acknowledged)
        for offset in self._random.sample(offsets, min(count, len(offsets))):
            self._check(offset, self.device.read(offset), "through its device")

    def continue_from(self, other):
        """What another writer of this claim has written."""
        self.acknowledged, self._unsure = other.acknowledged, other._unsure

    def check_all(self, disk=None, start=0):
        """Every acknowledged block, through the device or where the disk has the claim's extent."""
        where = "through its device" if disk is None else "on the disk"
        for offset in list(self.acknowledged):
            self._check(offset, (disk or self.device).read(start + offset), where)

    def _check(self, offset, block, where):
        good = {self.acknowledged[offset]} | self._unsure.get(offset, set())
        try:
            found = read_stamp(block)
        except ValueError as error:
            found = str(error)
        if found not in {(self.uid, offset, generation) for generation in good}:
            raise Misplaced(f"block {offset} of {self.uid} {where}: {sorted(good)} was acknowledged, found {found}")


class Misplaced(Exception):
    pass


class StampedWriter(multiprocessing.Process):
    """A writer at work all the time; says how long its longest write took, and what it found wrong."""

    def __init__(self, path, uid, seed):
        super().__init__(daemon=True)
        self._arguments = path, uid, seed
        self._questions, self._answers = multiprocessing.Pipe()

    def run(self):
        writer = Writer(*self._arguments)
        longest, blocks, wrong = 0.0, 0, ""
        while True:
            try:
                longest = max(longest, writer.write_some())
                blocks += 4
                writer.check_some()
            except (OSError, Misplaced) as error:
                wrong = wrong or str(error)
            if self._answers.poll(0.02):
                question = self._answers.recv()
                if question == "stop":
                    return
                wrong = wrong or self._check(writer, question)
                self._answers.send({"gap": longest, "blocks": blocks, "wrong": wrong})
                longest = 0.0

    @staticmethod
    def _check(writer, question):
        if question == "report":
            return ""
        path, start = question
        try:
            writer.check_all()
            disk = Device(path, writable=False)
            writer.check_all(disk, start)
            disk.close()
        except (OSError, Misplaced) as error:
            return str(error)
        return ""

    def report(self, disk=None, start=0, seconds=30):
        """With a disk: checks every acknowledged block as well, between two writes."""
        self._questions.send((disk, start) if disk else "report")
        if not self._questions.poll(seconds):
            return {"gap": seconds, "blocks": 0, "wrong": f"no write has ended in {seconds} s"}
        return self._questions.recv()

    def finish(self):
        self._questions.send("stop")
        self.join(5)


def misplaced(disk, extents):
    """Stamps on a disk that are not where they belong. extents: {uid: (offset, size)} of the claims that have
    one. The blocks of a claim that is gone are overwritten before its extent is given away, so its stamps are
    wrong everywhere."""
    device = Device(disk, writable=False)
    wrong = []
    for start in range(0, device.size, 1 << 20):
        data = device.read(start, min(1 << 20, device.size - start))
        position = data.find(MAGIC)
        while position >= 0:
            if position % BLOCK == 0:
                wrong += _fault(data[position:position + BLOCK], start + position, extents)
            position = data.find(MAGIC, position // BLOCK * BLOCK + BLOCK)
    device.close()
    return wrong


def _fault(block, position, extents):
    try:
        uid, offset, _ = read_stamp(block)
    except ValueError as error:
        return [f"the block at {position}: {error}"]
    begin, size = extents.get(uid, (None, 0))
    if begin is not None and offset < size and position == begin + offset:
        return []
    return [f"the block at {position} is block {offset} of {uid}, whose extent is {(begin, size) if size else 'gone'}"]
