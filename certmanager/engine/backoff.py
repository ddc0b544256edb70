"""How long to wait before the next try: pure, so that the queue can hold the key instead of a worker sleeping."""

from __future__ import annotations

from dataclasses import dataclass

FLOOR = 1.0
"""Seconds; no failed key is ever tried again sooner."""


@dataclass(frozen=True, slots=True)
class Backoff:
    """Exponential back-off with full jitter above a floor (seconds).

    Source of the shape: "Exponential Backoff And Jitter", AWS Architecture Blog, 2015. The floor keeps a single failing
    key from hammering a server that has just come back.
    """

    base: float = 1.0
    ceiling: float = 60.0

    def delay(self, failures: int, fraction: float, remaining: float | None = None) -> float:
        """Seconds until the next try.

        Args:
            failures: how often the key has failed in a row, from 1.
            fraction: a random number from 0 to 1.
            remaining: seconds until the certificate in use ends, or None when there is none in use; the ceiling is then
                at most a tenth of it, so that a certificate near its end is tried more often.

        Returns:
            Between `FLOOR` and `ceiling`.
        """
        ceiling = self.ceiling
        if remaining is not None:
            ceiling = min(ceiling, max(FLOOR, remaining / 10))
        # 2.0**64 already exceeds every ceiling; without the bound a week of failures overflows a float.
        step = min(ceiling, self.base * 2.0 ** min(failures - 1, 64))
        return FLOOR + (step - FLOOR) * fraction if step > FLOOR else FLOOR
