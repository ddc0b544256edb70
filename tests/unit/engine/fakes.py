"""An injected clock and in-memory ports for the engine's tests."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import inf

from certmanager.domain.advice import Advice
from certmanager.domain.errors import AlreadyExists, Conflict, NotFound, NotYet, Refused
from certmanager.domain.model import (
    Bundle,
    Leaf,
    Material,
    Names,
    Owner,
    Pod,
    Request,
    SecretWrite,
    Service,
    Signed,
    StoredSecret,
    Workload,
)
from certmanager.domain.trust import Trust


class FakeClock:
    """A clock that moves only when it is told to."""

    def __init__(self, now: float = 1_800_000_000.0) -> None:
        self._now = now
        self._monotonic = 0.0

    def now(self) -> float:
        return self._now

    def monotonic(self) -> float:
        return self._monotonic

    def advance(self, seconds: float) -> None:
        self._now += seconds
        self._monotonic += seconds

    def jump(self, seconds: float) -> None:
        """The wall clock is set; the monotonic one is not."""
        self._now += seconds


@dataclass
class FakeVault:
    """The port `CertificateAuthority`: counts calls; `errors` are raised first, one per call."""

    signs: list[str] = field(default_factory=list)
    by: list[str | None] = field(default_factory=list)
    issues: list[Names] = field(default_factory=list)
    errors: list[Exception] = field(default_factory=list)
    known: Trust | None = None
    reads: list[float] = field(default_factory=list)
    during: Callable[[], None] = lambda: None

    def sign(self, mount: str, role: str, csr: str, ttl: int | None, issuer: str | None = None) -> Signed:
        self.signs.append(role)
        self.by.append(issuer)
        self.during()
        if self.errors:
            raise self.errors.pop(0)
        return Signed("certificate", ("root",))

    def issue(self, mount: str, role: str, names: Names, ttl: int | None, issuer: str | None = None) -> Signed:
        self.issues.append(names)
        return Signed("certificate", ("root",), private_key="vault's key")

    def trust(self, mount: str, max_age: float = inf) -> Trust:
        self.reads.append(max_age)
        return self.known or Trust()

    def known_trust(self, mount: str) -> Trust | None:
        return self.known

    def trust_problem(self, mount: str) -> tuple[str, str] | None:
        return None


@dataclass
class FakeRevoker:
    """The port `Revoker`: remembers what was revoked; `errors` are raised first, one per call."""

    revoked: list[tuple[str, str]] = field(default_factory=list)
    errors: list[Exception] = field(default_factory=list)

    def revoke(self, mount: str, certificate: str) -> None:
        if self.errors:
            raise self.errors.pop(0)
        self.revoked.append((mount, certificate))


@dataclass
class FakePreflight:
    """The port `Preflight`: `refusal` is raised as long as it is there."""

    refusal: Refused | None = None
    advices: list[Advice] = field(default_factory=list)

    def check(self, request: Request) -> None:
        if self.refusal is not None:
            raise self.refusal

    def advice(self, request: Request) -> Sequence[Advice]:
        return self.advices


@dataclass
class FakeMaker:
    """The port `KeyMaker`: certificates that live for `lifetime` seconds and hold what was asked."""

    lifetime: float = 86400.0
    serial: int = 0
    root: str = "aa"
    keys_used: list[str] = field(default_factory=list)

    def request(self, request: Request) -> tuple[str, str]:
        return "our key", "csr"

    def bundle(
        self, request: Request, key: str, signed: Signed, anchors: Sequence[str], now: float
    ) -> tuple[Material, Bundle]:
        self.serial += 1
        self.keys_used.append(key)
        leaf = Leaf(
            f"{self.serial:02x}", now - 30, now + self.lifetime, request.names, str(request.key_type or "ec-256"), "00"
        )
        # In the tests an anchor's PEM text is its fingerprint. The real maker takes Vault's set when the root is in it.
        found = frozenset(anchors if self.root in anchors else {self.root, *anchors})
        facts = Bundle(leaf, key_fits=True, chain_ok=True, anchors=found, anchor=self.root, issuer=self.root)
        return Material("certificate", key, "root"), facts


class FakeApi:
    """The ports `SecretStore`, `RoleStore` and `PodReader`: one API server in memory, with versions, uids and 409s."""

    def __init__(self) -> None:
        self.secrets: dict[tuple[str, str], StoredSecret] = {}
        self.pods: dict[tuple[str, str], Pod] = {}
        self.services: list[Service] = []
        self.roles: list[tuple[str, str, list[str]]] = []
        self.writes = 0
        self.reads = 0
        self.now: Callable[[], float] = lambda: 0.0
        self.proofs = ("", "")
        self._version = 1000

    def _stored(self, write: SecretWrite, uid: str) -> StoredSecret:
        self.writes += 1
        self._version += 1
        pod = write.pod
        made = StoredSecret(
            namespace=pod.namespace,
            name=write.name,
            uid=uid,
            resource_version=self._version,
            managed=True,
            pod_name=pod.name,
            pod_uid=pod.uid,
            owner_uids=frozenset({pod.uid}),
            annotations=dict(write.annotations),
            bundle=write.bundle,
            finalizers=write.finalizers,
        )
        self.secrets[made.key] = made
        return made

    def create(self, write: SecretWrite) -> StoredSecret:
        if (write.pod.namespace, write.name) in self.secrets:
            raise AlreadyExists("AlreadyExists", "there is one")
        return self._stored(write, uid=f"uid-{self._version}")

    def replace(self, write: SecretWrite, old: StoredSecret) -> StoredSecret:
        there = self.secrets.get(old.key)
        if there is None:
            raise NotFound("NotFound", "it is gone")
        if (there.uid, there.resource_version) != (old.uid, old.resource_version):
            raise Conflict("Conflict", "it has changed")
        return self._stored(write, uid=old.uid)

    def read(self, namespace: str, name: str) -> StoredSecret | None:
        self.reads += 1
        return self.secrets.get((namespace, name))

    def delete(self, secret: StoredSecret) -> None:
        self.writes += 1
        there = self.secrets.get(secret.key)
        if there is None or not there.finalizers:
            self.secrets.pop(secret.key, None)
        elif there.deleting_since is None:
            self.changed(replace(there, deleting_since=self.now()))

    def changed(self, secret: StoredSecret) -> StoredSecret:
        """A write of anybody: it has another version now."""
        self._version += 1
        made = self.secrets[secret.key] = replace(secret, resource_version=self._version)
        return made

    def amend(
        self, secret: StoredSecret, annotations: Mapping[str, str | None], finalizers: tuple[str, ...]
    ) -> StoredSecret:
        there = self._exactly(secret)
        self.writes += 1
        notes = {name: value for name, value in {**there.annotations, **annotations}.items() if value is not None}
        made = self.changed(replace(there, annotations=notes, finalizers=finalizers))
        if made.deleting_since is not None and not finalizers:
            del self.secrets[made.key]
        return made

    def certificate(self, secret: StoredSecret) -> str:
        there = self._exactly(secret)
        return f"PEM of {there.bundle.leaf.serial if there.bundle else None}"

    def retire(self, secret: StoredSecret) -> tuple[str, str]:
        self._exactly(secret)
        return self.proofs

    def _exactly(self, secret: StoredSecret) -> StoredSecret:
        self.reads += 1
        there = self.secrets.get(secret.key)
        if there is None:
            raise NotFound("NotFound", "it is gone")
        if there.resource_version != secret.resource_version:
            raise Conflict("Conflict", "it has changed")
        return there

    def reconcile(self, namespace: str, service_account: str, secret_names: Sequence[str]) -> int:
        self.roles.append((namespace, service_account, list(secret_names)))
        return 1


class FakePods:
    """The port `PodReader`."""

    def __init__(self, pods: dict[tuple[str, str], Pod]) -> None:
        self._pods = pods

    def read(self, namespace: str, name: str) -> Pod | None:
        return self._pods.get((namespace, name))


@dataclass
class FakeReporter:
    """The port `Reporter`: remembers what was said."""

    normals: list[tuple[str, str]] = field(default_factory=list)
    warnings: list[tuple[str, str, str]] = field(default_factory=list)
    outcomes: list[tuple[str, str]] = field(default_factory=list)
    problems: list[tuple[str, str]] = field(default_factory=list)
    bugs: list[type[BaseException]] = field(default_factory=list)
    first_certificates: int = 0
    renewals: list[str] = field(default_factory=list)
    revocations: list[tuple[str, str]] = field(default_factory=list)
    restarts: list[tuple[str, str]] = field(default_factory=list)

    def normal(self, pod: Pod, reason: str, message: str) -> None:
        self.normals.append((pod.name, reason))

    def warning(self, pod: Pod, reason: str, message: str) -> None:
        self.warnings.append((pod.name, reason, message))

    def issued(self, seconds: float) -> None:
        self.first_certificates += 1

    def renewed(self, result: str) -> None:
        self.renewals.append(result)

    def restarted(self, strategy: str, result: str) -> None:
        self.restarts.append((strategy, result))

    def revoked(self, subject: str, result: str, message: str) -> None:
        self.revocations.append((subject, result))

    def problem(self, subject: str, reason: str, message: str) -> None:
        self.problems.append((subject, reason))

    def outcome(self, kind: str, reason: str, seconds: float) -> None:
        self.outcomes.append((kind, reason))

    def bug(self, key: object, error: BaseException) -> None:
        self.bugs.append(type(error))


class FakeWorkloads:
    """The port `Workloads`: remembers rolls and evictions; `blocked` evictions are refused by a PodDisruptionBudget."""

    def __init__(self) -> None:
        self.workloads: dict[tuple[str, str, str], Workload] = {}
        self.controllers: dict[str, Owner] = {}
        self.restarts: list[tuple[str, str]] = []
        self.evicted: list[str] = []
        self.blocked = False

    def read(self, namespace: str, kind: str, name: str) -> Workload | None:
        return self.workloads.get((namespace, kind, name))

    def controller(self, namespace: str, owner: Owner) -> Owner | None:
        return self.controllers.get(owner.uid)

    def restart(self, workload: Workload, value: str) -> None:
        self.restarts.append((workload.name, value))
        key = (workload.namespace, workload.kind, workload.name)
        self.workloads[key] = replace(workload, restarted_for=value, settled=False)

    def evict(self, pod: Pod) -> None:
        if self.blocked:
            raise NotYet("DisruptionBudget", "the budget `all` allows no disruption")
        self.evicted.append(pod.name)
