"""A run of minutes that shows several promises at once: each has its line, the run happens once and has a time budget."""

from __future__ import annotations

import contextlib
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping

import pytest

from tests.cluster.paths import ClusterError
from tests.prove.proof import Proof, Shown


class OverBudgetError(ClusterError):
    """A run took longer than it may."""


class Part:
    """Args:
    budget: seconds that the run may take.
    run: what is shown, by a key for each line.
    """

    def __init__(self, budget: float, run: Callable[[], Mapping[str, Shown]]) -> None:
        self._budget = budget
        self._run = run
        self._shown: Mapping[str, Shown] | None = None
        self._error: BaseException | None = None

    def line(self, key: str, promise: str) -> Proof:
        """The proof whose figure the run gives under `key`."""
        return Proof(promise, lambda: self._once()[key])

    def _once(self) -> Mapping[str, Shown]:
        if self._error is not None:
            raise self._error
        if self._shown is None:
            try:
                with within(self._budget):
                    self._shown = self._run()
            except (Exception, pytest.fail.Exception) as error:
                # The other lines fail for the same reason, and do not run it again.
                self._error = error
                raise
        return self._shown


@contextlib.contextmanager
def within(seconds: float) -> Iterator[None]:
    """Raises OverBudgetError in the main thread when `seconds` are over, whatever it waits for."""

    def over(_number: int, _frame: object) -> None:
        raise OverBudgetError(f"its {seconds:.0f} s are over")

    before = signal.signal(signal.SIGALRM, over)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


BEGAN = time.monotonic()


def say(text: str) -> None:
    """What is being done, with the seconds since the start, on stderr: stdout has the lines."""
    print(f"[{time.monotonic() - BEGAN:6.1f} s] {text.strip()}", file=sys.stderr, flush=True)
