"""Proofs about two of what there may be one of: coordinators on a store, machines with a host's name."""
import shutil
import signal
import subprocess

import rack


def a_second_coordinator_on_the_store(checks, claims):
    what = "a second coordinator on the store"
    configuration = rack.RACK / "second.yaml"
    text = (rack.RACK / "coordinator.yaml").read_text()
    configuration.write_text(text.replace("7100", "7199").replace("coordinator.sock", "second.sock"))
    command = ["ip", "netns", "exec", rack.RACK_NAMESPACE, rack.PROGRAMS / "iov-coordinator", "--config", configuration]
    done = subprocess.run(command, capture_output=True, text=True, timeout=20)
    checks.check(f"{what} is refused", lambda: done.returncode == 1)
    checks.check(f"{what}: it says who has it", lambda: "" if "another coordinator" in done.stderr else done.stderr)
    checks.check(f"{what}: the first one serves on", lambda: rack.claims() is not None)
    configuration.unlink()
    del claims


def a_second_machine_with_a_hosts_name(checks, claims):
    what = "a second machine with a host's name"
    agent, directories = second_machine()
    instance = rack.hosts()["host-b"]["instanceId"]
    agent.start()
    try:
        checks.check(f"{what} is refused and told why", lambda: "belongs to instance" in agent.log_since(0), within=15)
        first = rack.hosts()["host-b"]
        checks.check(f"{what}: the first one is undisturbed", lambda: first["state"] == "HOST_STATE_CONNECTED")
        checks.check(f"{what}: and still the one", lambda: first["instanceId"] == instance)
        checks.check(f"{what}: its functions are where they were", claims.check)
    finally:
        agent.stop(signal.SIGTERM)
        for directory in directories:
            shutil.rmtree(directory)
        for suffix in ("pid", "log"):
            (rack.RACK / f"second.{suffix}").unlink()


def second_machine():
    """An agent that calls itself host-b, in host-c's network, with a state of its own."""
    directories = [rack.RACK / "second", rack.STATE / "second"]
    for directory in directories:
        directory.mkdir()
    # It has even got hold of the host's certificate.
    shutil.copytree(rack.RACK / "host-b/tls", rack.RACK / "second/tls")
    text = (rack.RACK / "host-b/agent.yaml").read_text()
    for place in (rack.RACK, rack.STATE):
        text = text.replace(f"{place}/host-b", f"{place}/second")
    (directories[0] / "agent.yaml").write_text(text)
    for name in ("ethernet.yaml", "sata.yaml"):
        (directories[0] / name).write_text("endNodes: []\n")
    command = [rack.PROGRAMS / "iov-agent", "--config", directories[0] / "agent.yaml"]
    return rack.Daemon("second", "iov-host-c", command), directories


PROOFS = [a_second_coordinator_on_the_store, a_second_machine_with_a_hosts_name]
