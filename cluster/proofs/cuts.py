"""Networks that lose packets: a host is cut off from the management network (the coordinator) or from the mediation
network (other hosts), both ways or one way, by rules that drop, or by its cable."""
import contextlib
import threading

import rack

INTERFACES = {"management": "eth0", "mediation": "med0"}


@contextlib.contextmanager
def cut(host, network="management", ways=("in", "out")):
    """Packets to ("in") and from ("out") the host are lost meanwhile."""
    lose(host, network, ways)
    try:
        yield
    finally:
        heal(host)


def lose(host, network="management", ways=("in", "out")):
    interface = INTERFACES[network]
    rules = []
    if "in" in ways:
        rules.append(f'chain in {{ type filter hook input priority -300; iifname "{interface}" drop; }}')
    if "out" in ways:
        rules.append(f'chain out {{ type filter hook output priority -300; oifname "{interface}" drop; }}')
    rack.run("nft", "table inet iovproof {\n" + "\n".join(rules) + "\n}", namespace=f"iov-{host}")


def heal(host):
    rack.run("nft", "delete", "table", "inet", "iovproof", namespace=f"iov-{host}", check=False)


@contextlib.contextmanager
def unplugged(host, network="management"):
    """The cable itself: the host sees that its carrier is gone."""
    _plug(host, network, "down")
    try:
        yield
    finally:
        _plug(host, network, "up")


def _plug(host, network, state):
    rack.run("ip", "-n", rack.RACK_NAMESPACE, "link", "set", f"{host}-{INTERFACES[network]}", state)


@contextlib.contextmanager
def flapping(host, network="management", seconds=(0.7, 0.7)):
    """Cut and whole in turns."""
    over = threading.Event()

    def flap():
        while not over.is_set():
            lose(host, network)
            over.wait(seconds[0])
            heal(host)
            over.wait(seconds[1])

    thread = threading.Thread(target=flap, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        heal(host)
