"""Proofs about plugins that hang, and plugins that are replaced while their functions are in use."""
import signal
import time

import rack
from checks import phase_is


def a_plugin_hangs(checks, claims):
    """Its agent notices by itself, and starts it anew."""
    what = "a plugin that hangs"
    pids = rack.plugin_pids("host-b", "iov-plugin-ethernet")
    for pid in pids:
        rack.send(pid, signal.SIGSTOP)
    try:
        rack.iov("claim", "create", "hung", "--class", "ethernet", "--host", "host-b", "--interface", "hung")
        end_nodes = (rack.iov_json("endnode", "list") or {}).get("endNodes", [])
        checks.check(f"{what}: end nodes are still known", lambda: len(end_nodes) == 2)
        checks.check(f"{what} is replaced, and the claim ready", phase_is, "hung", "READY", within=90)
        checks.check(f"{what}: it does not run any more", lambda: not any(rack.is_alive(pid) for pid in pids),
                     within=30)
    finally:
        for pid in pids:
            rack.send(pid, signal.SIGCONT)
    rack.iov("claim", "delete", "hung")
    checks.check(f"{what}: the claim is released", phase_is, "hung", "GONE", within=30)
    del claims


def plugins_are_upgraded(checks, claims):
    """SIGHUP to the agent: new processes of plugins whose files have changed, with functions in use."""
    what = "an upgrade of plugins"
    for host in rack.HOSTS:
        former = plugin_processes(host)
        for name in ("ethernet.yaml", "sata.yaml"):
            with open(rack.RACK / host / name, "a") as configuration:
                configuration.write("# changed\n")
        rack.agent(host).kill(signal.SIGHUP)
        if not checks.check(f"{what} on {host}: every plugin is another process", another, former, host, within=20):
            return
        checks.check(f"{what} on {host}: the agent is the same", lambda: bool(rack.agent(host).pid))
        checks.check(f"{what} on {host}: everything is ready", not_ready, within=10)
        time.sleep(1)
        checks.check(f"{what} on {host}: traffic flows", claims.check)


def not_ready():
    claims = rack.claims() or {"no answer": {}}
    return [name for name, claim in claims.items() if rack.phase(claim) != "READY"]


def plugin_processes(host):
    return {program: rack.plugin_pids(host, program) for program in rack.PLUGINS}


def another(former, host):
    now = plugin_processes(host)
    return all(now[program] and not set(now[program]) & set(former[program]) for program in rack.PLUGINS)


PROOFS = [a_plugin_hangs, plugins_are_upgraded]
