"""Time as an argument: the engine never calls `time` itself, so a test moves its clock instead of waiting."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """Two clocks: what a certificate's dates are compared with, and what delays are measured by."""

    def now(self) -> float:
        """Wall clock: seconds since the epoch, UTC; may jump."""
        ...

    def monotonic(self) -> float:
        """Seconds since some start; never jumps, stands still while the machine is suspended (CLOCK_MONOTONIC)."""
        ...


class SystemClock:
    """The machine's own clocks."""

    def now(self) -> float:
        """See `Clock.now`."""
        return time.time()

    def monotonic(self) -> float:
        """See `Clock.monotonic`."""
        return time.monotonic()
