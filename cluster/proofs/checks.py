"""Checks that are counted, and printed as they pass or fail; the scripts beside it count theirs in the same words."""
import sys
import time
import traceback

import rack


class Checks:
    def __init__(self):
        self.passed = self.failed = self.skipped = 0

    def check(self, description, condition, *arguments, within=0):
        """condition: a function that answers whether it holds, or what is wrong as text or list ("" and [] are
        good), or throws. within: seconds in which it may come true."""
        end = time.monotonic() + within
        while True:
            wrong = self._wrong(condition, arguments)
            if not wrong or time.monotonic() > end:
                break
            time.sleep(0.1)
        self._count(description, wrong)
        return not wrong

    @staticmethod
    def _wrong(condition, arguments):
        try:
            answer = condition(*arguments)
        except Exception:  # noqa: BLE001: whatever it is, the check has failed
            return traceback.format_exc().strip()
        if isinstance(answer, bool):
            return "" if answer else "it does not hold"
        return "\n".join(map(str, answer)) if isinstance(answer, list) else answer or ""

    def _count(self, description, wrong):
        if wrong:
            self.failed += 1
            rack.say(f"FAILED  {description}")
            rack.say("\n".join("        " + line for line in wrong.splitlines()[:30]))
        else:
            self.passed += 1
            rack.say(f"ok      {description}")

    def commands(self, description, *arguments, **options):
        """An iov command that must succeed."""
        return self.check(description, lambda: failed(rack.iov(*arguments, **options)))

    def refused(self, description, text, *arguments, code=rack.REFUSED, **options):
        """An iov command that must be refused, in words that hold the text."""
        def condition():
            got, output, message = rack.iov(*arguments, **options)
            if got != code:
                return f"exit code {got}, not {code}: {output}{message}"
            return "" if text.lower() in message.lower() else f"does not say '{text}': {message}"
        return self.check(description, condition)

    def skip(self, description, reason):
        self.skipped += 1
        rack.say(f"skipped {description}: {reason}")

    def finish(self):
        """Prints the counts and ends the program."""
        if self.failed:
            rack.say(f"logs and the machine as it is: {rack.keep_logs()}")
        print(f"{self.passed} passed, {self.failed} failed, {self.skipped} skipped", flush=True)
        return self.failed > 0


def failed(answer):
    code, output, message = answer
    return "" if code == rack.DONE else f"exit code {code}: {output}{message}"


def phase_is(name, phase):
    """For `Checks.check`: whether a claim is in a phase; "GONE": whether there is none."""
    code, output, message = rack.iov("claim", "get", name, "-o", "json")
    if code == rack.NOT_FOUND:
        return "" if phase == "GONE" else f"there is no claim {name}"
    if code != rack.DONE:
        return f"exit code {code}: {message}"
    claim = rack.json.loads(output)
    if rack.phase(claim) == phase:
        return ""
    return f"{rack.phase(claim)}: {rack.json.dumps(claim.get('status', {}))[:800]}"


def says(name, *texts):
    """Whether what a claim waits for, or its last error, holds one of the texts."""
    _, output, message = rack.iov("claim", "get", name)
    return "" if any(text in output for text in texts) else f"says none of {texts}: {output}{message}"


def main(prove):
    """Runs the proof on the rack that is up, or on one made for it."""
    checks = Checks()
    with rack.standing():
        try:
            prove(checks)
        except Exception:  # noqa: BLE001
            checks.check("the proof runs to its end", lambda text=traceback.format_exc(): text)
        result = checks.finish()
    sys.exit(result)
