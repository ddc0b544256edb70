"""A whole engine on fake ports, driven step by step."""

from __future__ import annotations

from certmanager.domain.model import Pod
from certmanager.domain.rotation import CertificateFact
from certmanager.engine.intake import Intake
from certmanager.engine.keys import Key, PodKey
from certmanager.engine.queue import WorkQueue
from certmanager.engine.reconcile_pod import REFUSAL_SECONDS, PodPorts, PodReconciler, Policy
from certmanager.engine.reconcile_revocation import RevocationPolicy, RevocationPorts, RevocationReconciler
from certmanager.engine.reconcile_role import RoleReconciler
from certmanager.engine.reconcile_workload import RollPolicy, WorkloadReconciler
from certmanager.engine.served import served_certificates
from certmanager.engine.slots import Slots
from certmanager.engine.store import Store
from certmanager.engine.timers import Timers
from certmanager.engine.windows import Window
from certmanager.engine.workers import Reconcilers, Workers
from tests.unit.domain.builders import DEFAULTS
from tests.unit.engine.builders import pod, service
from tests.unit.engine.fakes import (
    FakeApi,
    FakeClock,
    FakeMaker,
    FakePods,
    FakePreflight,
    FakeReporter,
    FakeRevoker,
    FakeVault,
    FakeWorkloads,
)

SECRET = ("default", "web-cert-12345678")
"""Where the Secret of the builders' pod is stored."""


class Engine:
    """Everything between the watches and the clients; `run` works off what is ready now."""

    def __init__(
        self, api: FakeApi | None = None, *, synced: bool = True, refusal_seconds: float = REFUSAL_SECONDS
    ) -> None:
        self.clock = FakeClock()
        self.api = api or FakeApi()
        self.vault = FakeVault()
        self.preflight = FakePreflight()
        self.maker = FakeMaker()
        self.reporter = FakeReporter()
        queue = WorkQueue[Key](self.clock.monotonic)
        self.defaults = DEFAULTS
        self.api.now = self.clock.now
        self.revoker = FakeRevoker()
        self.intake = Intake(Store(), queue, self.clock, lambda _namespace: self.defaults.revoke)
        self.timers = Timers(queue.add)
        ports = PodPorts(self.vault, self.maker, self.api, FakePods(self.api.pods), self.reporter, self.preflight)
        policy = Policy(lambda _namespace: self.defaults, refusal_seconds)
        self.pods = PodReconciler(self.intake, ports, self.timers, self.clock, policy)
        self.roles = RoleReconciler(self.intake.store, self.api, self.clock)
        self.cluster = FakeWorkloads()
        self.slots = Slots(total=2, per_namespace=2)
        self.windows: list[Window] = []
        rolls = RollPolicy(lambda _namespace: DEFAULTS, self.slots, self.windows, self.vault.known_trust)
        self.workloads = WorkloadReconciler(self.intake.store, self.cluster, self.reporter, self.clock, rolls)
        revocation = RevocationPorts(self.revoker, self.api, FakePods(self.api.pods), self.reporter)
        terms = RevocationPolicy(lambda _namespace: self.defaults, self.vault.known_trust)
        self.revocations = RevocationReconciler(self.intake, revocation, self.pods.retiring, self.clock, terms)
        reconcilers = Reconcilers(self.pods, self.roles, self.workloads, self.revocations)
        self.workers = Workers(self.intake, reconcilers, self.reporter, self.clock)
        if synced:
            self.sync()

    def sync(self) -> None:
        """The three lists, as the API server has them."""
        self.intake.services.replace(self.api.services, 1)
        self.intake.pods.replace(list(self.api.pods.values()), 2000)
        self.intake.secrets.replace(list(self.api.secrets.values()), 2000)

    def watch_secrets(self) -> None:
        """What the watch on Secrets says, once: others have changed or deleted some, or finalizers keep them."""
        for there in self.intake.store.secrets():
            if there.key not in self.api.secrets:
                self.intake.secrets.delete(there)
        for secret in list(self.api.secrets.values()):
            self.intake.secrets.upsert(secret)

    def run(self, seconds: float = 0.0) -> None:
        """Works off every key that is ready, and those that become ready within `seconds`."""
        end = self.clock.monotonic() + seconds
        for _ in range(100_000):
            while self.workers.step(0):
                pass
            if self.clock.monotonic() >= end:
                return
            self.clock.advance(min(0.05, end - self.clock.monotonic()))
            for key in self.timers.overdue(self.clock.now()):
                self.intake.queue.add(key)

    def due(self, name: str = "web") -> float | None:
        """When the pod's certificate is due."""
        return self.timers.due(PodKey("default", name))

    def certificates(self) -> list[CertificateFact]:
        """What the metrics say."""
        return list(served_certificates(self.intake.store, DEFAULTS))


def enrolled(engine: Engine, of: Pod | None = None) -> None:
    """A pod comes with its Service `web`, and a second passes: time for its certificate."""
    engine.intake.services.upsert(service())
    engine.intake.pods.upsert(of or pod())
    engine.run(1)
