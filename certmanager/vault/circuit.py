"""One shared probe: while Vault is away nobody calls it but one prober, every 3 s, for all.

A call that fails because the whole service is away opens the circuit; `check` then refuses every caller at once. The
first probe is due immediately (one broken connection is no outage), the next ones every 3 s. When Vault answers, the circuit
closes and `on_recovered` fires: the engine lets the waiting keys go. A service whose health is well and whose calls fail
anyway is let through ever more rarely, up to once a minute.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Final

from certmanager.domain.errors import NotYet

PROBE_SECONDS: Final = 3.0
BUSY_SECONDS: Final = 1.0
MAX_PROBE_SECONDS: Final = 60.0
BUSY: Final = "VaultBusy"

Clock = Callable[[], float]
"""Seconds that never go back: `time.monotonic`."""


class Circuit:
    """Closed: calls pass. Open: `check` raises. Safe for threads; it starts none itself."""

    def __init__(
        self,
        probe: Callable[[str], NotYet | None],
        monotonic: Clock,
        on_recovered: Callable[[], None],
        on_opened: Callable[[], None] = lambda: None,
    ) -> None:
        """`probe` gets the reason why the circuit is open and returns what it found, None when Vault is well."""
        self._probe = probe
        self._now = monotonic
        self._on_recovered = on_recovered
        self._on_opened = on_opened
        self._lock = threading.Lock()
        self._error: NotYet | None = None
        self._due = 0.0
        self._generation = 0
        self._closed_at: float | None = None
        self._in_a_row = 0

    def check(self) -> int:
        """A ticket for one call, to be shown when it fails. Raises `NotYet`, shared, while Vault is away."""
        with self._lock:
            if self._error is not None:
                raise _again(self._error)
            return self._generation

    @property
    def error(self) -> NotYet | None:
        """Why calls are refused now, None when they pass."""
        with self._lock:
            return None if self._error is None else _again(self._error)

    def failed(self, error: NotYet, ticket: int) -> NotYet:
        """Tells of a failed call; returns the error to raise. Only a shared one opens the circuit.

        A call that began before Vault came back says nothing of it: its key tries again for itself.
        """
        if not error.shared:
            return error
        with self._lock:
            if ticket != self._generation:
                return NotYet(error.reason, error.message, retry_after=error.retry_after)
            if self._error is not None:
                return error
            self._error = error
            self._due = self._now() + self._first_delay(error)
        self._on_opened()
        return error

    def _first_delay(self, error: NotYet) -> float:
        if error.reason == BUSY:
            return max(BUSY_SECONDS, error.retry_after or 0.0)
        soon = self._closed_at is not None and self._now() - self._closed_at < 2 * PROBE_SECONDS
        self._in_a_row = self._in_a_row + 1 if soon else 0
        delay = PROBE_SECONDS * 2.0 ** min(self._in_a_row - 1, 10) if soon else 0.0
        return min(max(delay, error.retry_after or 0.0), MAX_PROBE_SECONDS)

    def step(self) -> float:
        """Probes when it is due; returns the seconds until the next step. Called by one thread at a time."""
        with self._lock:
            error = self._error
            wait = self._due - self._now()
        if error is None:
            return PROBE_SECONDS
        if wait > 0:
            return min(wait, PROBE_SECONDS)
        found = self._probe(error.reason)
        with self._lock:
            self._error = found
            self._due = self._now() + PROBE_SECONDS
            if found is None:
                self._generation += 1
                self._closed_at = self._now()
        if found is None:
            self._on_recovered()
        return PROBE_SECONDS


class Heartbeat:
    """The thread that drives the steps: the circuit's and the session's. `start` once, `stop` waits for its end."""

    def __init__(self, on_bug: Callable[[BaseException], None]) -> None:
        """What a step raises goes to `on_bug`."""
        self._steps: tuple[Callable[[], float], ...] = ()
        self._on_bug = on_bug
        self._wake = threading.Event()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="vault-heartbeat", daemon=True)

    def drive(self, *steps: Callable[[], float]) -> None:
        """What to call, before `start`. Each step returns the seconds until it wants to be called again."""
        self._steps = steps

    def start(self) -> None:
        """Starts the thread."""
        self._thread.start()

    def wake(self) -> None:
        """Makes the next round begin now."""
        self._wake.set()

    def stop(self, timeout: float = 15.0) -> None:
        """Ends the thread; a probe under way is waited for, at most `timeout` seconds."""
        self._stopping = True
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join(timeout)

    def round(self) -> float:
        """Every step once; returns the seconds until the next round, at least 0.1. A step's bug ends no other step."""
        waits = []
        for step in self._steps:
            try:
                waits.append(step())
            except Exception as error:  # noqa: BLE001 # the heartbeat must not end: reported, and tried again
                self._on_bug(error)
        return max(0.1, min(waits, default=PROBE_SECONDS))

    def _run(self) -> None:
        while not self._stopping:
            self._wake.clear()
            wait = self.round()
            self._wake.wait(wait)


def _again(error: NotYet) -> NotYet:
    """A copy: an exception that several threads raise would collect all their tracebacks."""
    return NotYet(error.reason, error.message, retry_after=error.retry_after, shared=True)
