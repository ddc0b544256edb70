"""Says on stderr what is being built and how long is left; one line that rewrites itself on a terminal."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from typing import TextIO

PLAIN_EVERY_SECONDS = 15.0


def seconds_left(done: int, total: int, elapsed: float, last: float | None) -> float | None:
    """Estimate the seconds left.

    Args:
        done: steps finished, 0 to `total`.
        total: steps in all.
        elapsed: seconds since the start.
        last: seconds that the same work took before, or None.

    Returns:
        None while there is nothing to go by: no earlier run, and under 2 % or 3 s of this one. The first steps are the
        small packages, so with an earlier run at hand the estimate moves from that to this run's own rate as it goes.
    """
    if total <= 0 or done >= total:
        return 0.0 if total > 0 else None
    share = done / total
    own = elapsed / share - elapsed if share >= 0.02 and elapsed >= 3 else None
    if last is None:
        return own
    before = max(0.0, last - elapsed)
    return before if own is None else (1 - share) * before + share * own


def duration(seconds: float) -> str:
    """Return seconds as a person says them: `45 s`, `3 min 20 s`."""
    whole = round(seconds)
    return f"{whole} s" if whole < 60 else f"{whole // 60} min {whole % 60:02d} s"


@dataclass
class Progress:
    """A counted piece of work; `now` in its methods is any clock's seconds."""

    what: str
    total: int
    last: float | None
    started: float
    stream: TextIO = field(default_factory=lambda: sys.stderr)
    done: int = 0
    _said: float = -PLAIN_EVERY_SECONDS

    def step(self, now: float) -> None:
        """Count one step and show where things are, at most once in 15 s where lines cannot be rewritten."""
        self.done = min(self.done + 1, self.total)
        elapsed = now - self.started
        terminal = self.stream.isatty()
        if not terminal and elapsed - self._said < PLAIN_EVERY_SECONDS:
            return
        self._said = elapsed
        self.stream.write(f"\r\x1b[K{self.line(elapsed)}" if terminal else f"{self.line(elapsed)}\n")
        self.stream.flush()

    def line(self, elapsed: float) -> str:
        """Return the line after `elapsed` seconds."""
        left = seconds_left(self.done, self.total, elapsed, self.last)
        when = "" if left is None else f", about {duration(left)} left"
        return f"{self.what}: {self.done} of {self.total}{when}"

    def end(self, now: float) -> None:
        """Say how long it took."""
        start = "\r\x1b[K" if self.stream.isatty() else ""
        self.stream.write(f"{start}{self.what}: done in {duration(now - self.started)}\n")
        self.stream.flush()


def say(text: str) -> None:
    """Write one line to stderr."""
    sys.stderr.write(text + "\n")
    sys.stderr.flush()
