"""What puts keys on the queue beside the watches: overdue renewals, Roles that nobody owns any more, another policy, newly
read CAs, resync.

One thread with a pure step. Producers of keys, never a second path: whatever they find goes through the same reconcile.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from certmanager.domain.errors import PodcertError
from certmanager.domain.trust import Trust
from certmanager.engine.clock import Clock
from certmanager.engine.intake import Intake
from certmanager.engine.keys import RoleKey
from certmanager.engine.ports import CertificateAuthority, Reporter
from certmanager.engine.timers import Timers

STEP_SECONDS = 1.0
SWEEP_SECONDS = 15.0
"""How often what is due soon gets its job, and the wall clock is compared with the renewal times: the net under the timers."""
RESYNC_SECONDS = 600.0
RETRY_SECONDS = 5.0
POLICY_SECONDS = 2.0


def _never() -> bool:
    return False


@dataclass(frozen=True, slots=True)
class Cas:
    """What Vault says of the CAs.

    Attributes:
        mounts: those in use.
        authority: who asks Vault. May raise `NotYet`, `Refused`.
        seconds: how often that is done.
    """

    mounts: Callable[[], Iterable[str]]
    authority: CertificateAuthority
    seconds: float


@dataclass(frozen=True, slots=True)
class Sources:
    """What is asked.

    Attributes:
        roles: the ServiceAccounts, as (namespace, name), that have a Role of ours. May raise `NotYet`, `Refused`.
        cas: the mounts' CAs, compared with those read before.
        policy: looks whether another policy is in force, so that every pod is to be looked at again.
    """

    roles: Callable[[], Iterable[tuple[str, str]]]
    cas: Cas
    policy: Callable[[], bool] = _never


class Producers:
    """Driven by `step`, once a second, from its own thread between `start` and `stop`."""

    def __init__(self, intake: Intake, timers: Timers, sources: Sources, reporter: Reporter, clock: Clock) -> None:
        self._intake = intake
        self._timers = timers
        self._sources = sources
        self._reporter = reporter
        self._clock = clock
        self._next_sweep = 0.0
        self._next_roles = 0.0
        self._next_trust = 0.0
        self._next_policy = 0.0
        self._next_resync = 0.0
        self._trust: dict[str, Trust] = {}
        self._told: dict[str, tuple[str, str] | None] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="producers", daemon=True)

    def start(self) -> None:
        """Starts the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Ends the thread."""
        self._stop.set()
        if self._thread.ident is not None:
            self._thread.join(5)

    @property
    def alive(self) -> bool:
        """The thread runs."""
        return self._thread.is_alive()

    def step(self) -> None:
        """Whatever is due now."""
        now = self._clock.monotonic()
        if now >= self._next_trust:
            # Before the lists are complete too: then the first look at every pod judges by the CAs already.
            self._next_trust = now + self._read_trust()
        if not self._intake.synced:
            return
        if now >= self._next_policy:
            self._next_policy = now + POLICY_SECONDS
            if self._sources.policy():
                self._intake.resync()
        if now >= self._next_sweep:
            self._next_sweep = now + SWEEP_SECONDS
            self._timers.plan(self._clock.now())
            self._intake.add(self._timers.overdue(self._clock.now()))
        if now >= self._next_roles:
            self._next_roles = now + (RESYNC_SECONDS if self._look_at_roles() else RETRY_SECONDS)
        if now >= self._next_resync:
            if self._next_resync > 0:
                self._intake.resync()
            self._next_resync = now + RESYNC_SECONDS

    def _look_at_roles(self) -> bool:
        try:
            accounts = self._sources.roles()
        except PodcertError as error:
            self._reporter.problem("roles", error.reason, error.message)
            return False
        self._intake.add([RoleKey(namespace, name) for namespace, name in accounts])
        return True

    def _read_trust(self) -> float:
        """Seconds until the next time."""
        cas, found = self._sources.cas, {}
        pause = cas.seconds
        for mount in cas.mounts():
            try:
                found[mount] = cas.authority.trust(mount, 0)
                self._tell_of(mount, cas.authority.trust_problem(mount))
            except PodcertError:
                # Vault is away; the circuit says so elsewhere, and Secrets are kept as they are until it answers.
                pause = min(RETRY_SECONDS, cas.seconds)
                if mount in self._trust:
                    found[mount] = self._trust[mount]
        if found != self._trust and self._intake.synced:
            self._intake.resync()
        self._trust = found
        return pause

    def _tell_of(self, mount: str, problem: tuple[str, str] | None) -> None:
        """Once, until it is another one."""
        if problem is not None and self._told.get(mount) != problem:
            self._reporter.problem(mount, *problem)
        self._told[mount] = problem

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self.step()
            except Exception as error:  # noqa: BLE001 - a bug here must not end the net under the timers
                self._reporter.bug("producers", error)
            self._stop.wait(STEP_SECONDS)
