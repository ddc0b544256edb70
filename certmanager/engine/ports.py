"""What the engine needs from the outside, as Protocols: `kube`, `vault` and `observe` fit them, and so do the tests' fakes.

Every method may raise `NotYet` (retry later) or `Refused` (no until something changes) from `certmanager.domain.errors`;
further errors are named at the method. All of them are called from several worker threads at once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import inf
from typing import Protocol

from certmanager.domain.advice import Advice
from certmanager.domain.model import (
    Bundle,
    Material,
    Names,
    Owner,
    Pod,
    Request,
    SecretWrite,
    Signed,
    StoredSecret,
    Workload,
)
from certmanager.domain.trust import Trust


class CertificateAuthority(Protocol):
    """Vault's PKI mount."""

    def sign(self, mount: str, role: str, csr: str, ttl: int | None, issuer: str | None = None) -> Signed:
        """`POST /v1/<mount>/sign/<role>`. `csr` is PEM, `ttl` seconds or None for the role's default.

        With an issuer (name or id) `POST /v1/<mount>/issuer/<issuer>/sign/<role>`, which passes over the role's own.
        """
        ...

    def issue(self, mount: str, role: str, names: Names, ttl: int | None, issuer: str | None = None) -> Signed:
        """`POST /v1/<mount>/issue/<role>`: Vault makes the key. With an issuer as for `sign`."""
        ...

    def trust(self, mount: str, max_age: float = inf) -> Trust:
        """What Vault says of the mount's CAs; read anew when it was never read, or more than `max_age` seconds ago.

        A read that fails raises, and leaves what is known as it was.
        """
        ...

    def known_trust(self, mount: str) -> Trust | None:
        """What `trust` last read, without any call; None when it was never read."""
        ...

    def trust_problem(self, mount: str) -> tuple[str, str] | None:
        """Reason and message, when less was read than there is; no call."""
        ...


class Preflight(Protocol):
    """What the Vault role will say, before a key is made and Vault is asked."""

    def check(self, request: Request) -> None:
        """Raises `Refused` when Vault would certainly refuse. Needs no call, but for one a minute and role."""
        ...

    def advice(self, request: Request) -> Sequence[Advice]:
        """Warnings about what the role changes; no call."""
        ...


class KeyMaker(Protocol):
    """Private keys, CSRs and the judgement of what Vault returned (x509)."""

    def request(self, request: Request) -> tuple[str, str]:
        """A new key and its CSR: (PKCS#8 PEM, CSR PEM). The CSR carries every name of `request.names`."""
        ...

    def bundle(
        self, request: Request, key: str, signed: Signed, anchors: Sequence[str], now: float
    ) -> tuple[Material, Bundle]:
        """The verified material. Raises `Refused` when key, chain, names or validity are not what was decided."""
        ...


class SecretStore(Protocol):
    """Secrets in the API server."""

    def create(self, write: SecretWrite) -> StoredSecret:
        """POST. Raises `AlreadyExists`."""
        ...

    def replace(self, write: SecretWrite, old: StoredSecret) -> StoredSecret:
        """PUT with `old`'s resourceVersion and uid. Raises `Conflict`, `NotFound`."""
        ...

    def read(self, namespace: str, name: str) -> StoredSecret | None:
        """GET; None when it is not there."""
        ...

    def delete(self, secret: StoredSecret) -> None:
        """DELETE with uid and resourceVersion as preconditions; not being there is success. Raises `Conflict`."""
        ...

    def amend(
        self, secret: StoredSecret, annotations: Mapping[str, str | None], finalizers: tuple[str, ...]
    ) -> StoredSecret:
        """Exactly this version with these annotations (None: removed) and finalizers. Raises `Conflict`, `NotFound`."""
        ...

    def certificate(self, secret: StoredSecret) -> str:
        """The leaf alone (PEM) of exactly this version. Raises `Conflict`, `NotFound`."""
        ...

    def retire(self, secret: StoredSecret) -> tuple[str, str]:
        """The leaf of exactly this version, and the proof that its key is there (`x509.possession`). Raises as `certificate`."""
        ...


class Revoker(Protocol):
    """Vault's PKI mounts, where certificates are taken back."""

    def revoke(self, mount: str, certificate: str) -> None:
        """`POST /v1/<mount>/revoke` with the certificate (PEM). One that is revoked or expired is success."""
        ...


class PodReader(Protocol):
    """Pods in the API server, one by one."""

    def read(self, namespace: str, name: str) -> Pod | None:
        """GET, labelled or not; None when it is not there."""
        ...


class Workloads(Protocol):
    """What makes pods: Deployments, StatefulSets, DaemonSets; and the Eviction API."""

    def read(self, namespace: str, kind: str, name: str) -> Workload | None:
        """GET; None when it is not there or of another kind than the three."""
        ...

    def controller(self, namespace: str, owner: Owner) -> Owner | None:
        """The controlling owner of a ReplicaSet (`owner`), if the live ReplicaSet has `owner`'s uid; else None."""
        ...

    def restart(self, workload: Workload, value: str) -> None:
        """Sets the template's annotation `podcert.io/restarted-for` to `value`, as `kubectl rollout restart` sets its own.

        Names `workload`'s uid and resourceVersion. Raises `Conflict`, `NotFound`.
        """
        ...

    def evict(self, pod: Pod) -> None:
        """`POST …/pods/<name>/eviction` with the pod's uid as precondition; a pod that is gone is success.

        Raises `NotYet` (`DisruptionBudget`) when a PodDisruptionBudget says no.
        """
        ...


class RoleStore(Protocol):
    """Roles and RoleBindings that let a ServiceAccount read the Secrets of its own pods."""

    def reconcile(self, namespace: str, service_account: str, secret_names: Sequence[str]) -> int:
        """Makes Roles and bindings say exactly `secret_names` (sorted, unique; empty removes them).

        At most 500 names in one Role, then a further one. Returns the number of writes, 0 when nothing differed.
        """
        ...


class Reporter(Protocol):
    """Events, metrics and logs of what was decided."""

    def normal(self, pod: Pod, reason: str, message: str) -> None:
        """A Normal Event, low priority: may be dropped under load."""
        ...

    def warning(self, pod: Pod, reason: str, message: str) -> None:
        """A Warning Event, merged by pod and reason, never dropped."""
        ...

    def issued(self, seconds: float) -> None:
        """A pod's first certificate is stored, so many seconds after the pod's creation (which has whole seconds)."""
        ...

    def renewed(self, result: str) -> None:
        """A Secret's certificate was to be replaced in place: `renewed`, `failed` (tried again) or `refused`."""
        ...

    def restarted(self, strategy: str, result: str) -> None:
        """A workload's pods are to be replaced (`restart`, `evict`): `started`, `completed`, `stuck` or `blocked`."""
        ...

    def revoked(self, subject: str, result: str, message: str) -> None:
        """A certificate was to be revoked: `revoked`, `failed` (tried again), `refused`, `skipped`, `unproven` or `dropped`.

        `subject` is the Secret's `<namespace>/<name>`.
        """
        ...

    def problem(self, subject: str, reason: str, message: str) -> None:
        """Something that is not a pod's: logged, and counted by reason. `subject` is `<namespace>/<name>`."""
        ...

    def outcome(self, kind: str, reason: str, seconds: float) -> None:
        """One reconcile ended: kind of key, reason, duration in seconds."""
        ...

    def bug(self, key: object, error: BaseException) -> None:
        """An unexpected error: logged by type and place, never with its text's secrets."""
        ...
