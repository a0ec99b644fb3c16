"""Tells what programs do, from their logs, as it happens."""

import datetime
import re
import sys
import time

from lab import LabError

LINE = re.compile(r"^(\d{4}-\d\d-\d\dT[\d:.]+Z) (\w+) ([\w-]+): (.*)$")
FIELD = re.compile(r"(\w+)=(\S+)")

# (subsystem, beginning of the message) -> what to tell; {fields} come from the log line.
PLOT = {
    ("discovery", "colony registered"): "registered with the server, for {ttl_s} s at a time",
    ("discovery", "agent registered"): "registered with the server",
    ("nat", "mapped by a NAT"): "is behind a NAT, which maps it to {public}",
    ("nat", "no NAT"): "has no NAT before it: {public}",
    ("colony", "punching towards an agent"): "opens its own NAT towards the agent",
    ("agent", "punching: the colony has opened the way"): "hears that the way is open, and knocks",
    ("wireguard", "initiation sent"): "sends a WireGuard handshake",
    ("wireguard", "response opened"): "has the answer: handshake in {handshake_ms:.0f} ms",
    ("colony", "agent enrolled"): "knows {agent} now: it knew the secret. Its address: {address}",
    ("agent", "tunnel is up"): "tunnel is up: {address}, to the colony at {colony}",
}


class Paint:
    """Colour on a terminal, nothing elsewhere."""

    CODES = {"bold": "1", "dim": "2", "green": "32", "red": "31", "yellow": "33", "blue": "34",
             "magenta": "35", "cyan": "36"}

    def __init__(self, stream=sys.stdout):
        self._on = stream.isatty()

    def __getattr__(self, style):
        code = self.CODES[style]
        return lambda text: f"\033[{code}m{text}\033[0m" if self._on else str(text)


class Story:
    """Follows the logs of processes and prints a line for each event of the plot."""

    def __init__(self, paint):
        self._paint, self._followed = paint, []
        self._handshake_began = {}
        self._told = set()
        self.handshake_ms = None
        self.start = time.time()

    def follow(self, process, actor, style):
        self._followed.append([process, actor, style, 0])

    def until(self, condition, timeout, what):
        """Tells on until CONDITION holds. LabError at the timeout or when a program ends."""
        deadline = time.monotonic() + timeout
        while True:
            holds = condition()
            self._tell()
            if holds:
                return holds
            for process, actor, _, _ in self._followed:
                if not process.running():
                    raise LabError(f"the {actor} ended\n{process.tail()}")
            if time.monotonic() > deadline:
                raise LabError(f"waited {timeout} s in vain for {what}\n" + "\n".join(
                    p.tail() for p, *_ in self._followed))
            time.sleep(0.02)

    def note(self, when, actor, style, text):
        colour = getattr(self._paint, style)
        print(f"  {max(0, when - self.start):7.3f} s  {colour(f'{actor:<8}')} {text}", flush=True)

    def _tell(self):
        """What is new in the logs, in the order in which it happened."""
        news = []
        for entry in self._followed:
            process, actor, style, at = entry
            text = process.log()
            end = text.rfind("\n") + 1
            news += [(line, actor, style) for line in text[at:end].splitlines()]
            entry[3] = end
        for line, actor, style in sorted(news, key=lambda n: n[0][:24]):
            self._tell_line(line, actor, style)

    def _tell_line(self, line, actor, style):
        match = LINE.match(line)
        if not match:
            return
        stamp, level, subsystem, rest = match.groups()
        when = datetime.datetime.fromisoformat(stamp.replace("Z", "+00:00")).timestamp()
        for (wanted, beginning), template in PLOT.items():
            if subsystem == wanted and rest.startswith(beginning):
                self._tell_event(when, actor, style, beginning, template, rest)
                return
        if level in ("warn", "error"):
            self.note(when, actor, style, self._paint.yellow(rest))

    def _tell_event(self, when, actor, style, event, template, rest):
        fields = dict(FIELD.findall(rest))
        if event == "initiation sent":
            self._handshake_began.setdefault(actor, when)
        elif event == "response opened":
            began = self._handshake_began.pop(actor, when)
            fields["handshake_ms"] = self.handshake_ms = (when - began) * 1000
        if (actor, event) in self._told:
            return
        self._told.add((actor, event))
        self.note(when, actor, style, template.format_map(Fields(fields)))


class Fields(dict):
    """A field that the log line lacks reads as a dash."""

    def __missing__(self, key):
        return "-"
