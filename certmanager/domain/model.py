"""The small frozen views that every other module speaks in.

Times are seconds since the epoch (float, UTC), durations seconds. A view holds what a decision needs and nothing more:
10,000 pods have to fit in memory beside the rest.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

PREFIX: Final = "podcert.io/"
ENROLL_LABEL: Final = PREFIX + "enroll"
MANAGED_LABEL: Final = PREFIX + "managed"
"""On every Secret, Role and RoleBinding that Podcert made; its value is "true"."""

FETCHER_CONTAINER: Final = "certificate-fetcher"


class Mode(StrEnum):
    """Who makes the private key: `sign` the manager, `issue` Vault."""

    SIGN = "sign"
    ISSUE = "issue"


class KeyType(StrEnum):
    """Key algorithms and sizes that a pod may ask for."""

    EC_256 = "ec-256"
    EC_384 = "ec-384"
    ED25519 = "ed25519"
    RSA_2048 = "rsa-2048"
    RSA_3072 = "rsa-3072"
    RSA_4096 = "rsa-4096"


class Rotation(StrEnum):
    """How a new certificate reaches a running application."""

    RESTART = "restart"
    EVICT = "evict"
    REFRESH = "refresh"
    NONE = "none"


class RevokeWhen(StrEnum):
    """Which certificates the administrator wants revoked before their end."""

    DELETED = "deleted"
    ROTATED = "rotated"


@dataclass(frozen=True, slots=True)
class Names:
    """The identities in a certificate.

    Attributes:
        dns: DNS SANs, lower case, in order of preference: the first one that fits becomes the common name.
        ips: IP SANs in canonical text form (RFC 5952 for IPv6).
        uris: URI SANs.
        common_name: subject common name, one of `dns`, at most 64 characters (RFC 5280, ub-common-name), or None.
    """

    dns: tuple[str, ...] = ()
    ips: tuple[str, ...] = ()
    uris: tuple[str, ...] = ()
    common_name: str | None = None

    def sans(self) -> frozenset[str]:
        """All SANs as one set, each with its kind before it (`dns:`, `ip:`, `uri:`): order is not identity."""
        return frozenset(
            [f"dns:{name}" for name in self.dns]
            + [f"ip:{address}" for address in self.ips]
            + [f"uri:{uri}" for uri in self.uris]
        )


@dataclass(frozen=True, slots=True)
class Owner:
    """The controlling ownerReference of an object."""

    api_version: str
    kind: str
    name: str
    uid: str


@dataclass(frozen=True, slots=True)
class Delivery:
    """How a pod gets its certificate, as its spec and status tell.

    Attributes:
        fetcher: it has an init container named `certificate-fetcher`.
        mounts: names of the Secrets that its volumes (also projected ones) mount.
        served_serial: serial of the certificate that the files hold, from the fetcher's termination message, or None.
        served_not_after: that certificate's end, or None.
        sidecar: the fetcher stays beside the application (an init container with restartPolicy Always) and follows the Secret.
        reload_problem: why the sidecar could not make the application reload, by its last termination message, or None.
    """

    fetcher: bool = False
    sidecar: bool = False
    reload_problem: str | None = None
    mounts: frozenset[str] = frozenset()
    served_serial: str | None = None
    served_not_after: float | None = None


@dataclass(frozen=True, slots=True)
class Pod:
    """A pod that carries the label `podcert.io/enroll`, with whatever value.

    `annotations` holds only `podcert.io/…` ones, without the prefix. `finished` is phase Succeeded or Failed;
    `deleting` means that it has a deletionTimestamp. With `host_network` its `ips` are the node's, not its own.
    `ready` is its condition Ready.
    """

    namespace: str
    name: str
    uid: str
    resource_version: int
    service_account: str
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    created_at: float
    finished: bool = False
    deleting: bool = False
    hostname: str | None = None
    subdomain: str | None = None
    ips: tuple[str, ...] = ()
    owner: Owner | None = None
    delivery: Delivery = field(default_factory=Delivery)
    host_network: bool = False
    ready: bool = False

    @property
    def key(self) -> tuple[str, str]:
        """(namespace, name)."""
        return (self.namespace, self.name)


@dataclass(frozen=True, slots=True)
class Workload:
    """A Deployment, StatefulSet or DaemonSet, as rolling it needs.

    Attributes:
        selector: its matchLabels; `selector_is_simple` is False when there are matchExpressions beside them.
        template_labels, template_annotations: of its pod template; the annotations only `podcert.io/…`, without the prefix.
        paused: a paused Deployment.
        on_delete: update strategy OnDelete: pods are replaced when somebody deletes them.
        partition: a StatefulSet's; pods with a lower ordinal are not updated.
        replicas: wanted.
        settled: the controller has seen the newest template, and every pod that it updates is updated and available.
        restarted_for: the template's annotation `podcert.io/restarted-for`, or None.
    """

    namespace: str
    kind: str
    name: str
    uid: str
    resource_version: int
    selector: Mapping[str, str]
    selector_is_simple: bool
    template_labels: Mapping[str, str]
    template_annotations: Mapping[str, str]
    paused: bool
    on_delete: bool
    partition: int
    replicas: int
    settled: bool
    restarted_for: str | None


@dataclass(frozen=True, slots=True)
class Service:
    """A Service: what it selects, and under which name.

    `selector` is empty for a Service without one; `external` is type ExternalName.
    """

    namespace: str
    name: str
    resource_version: int
    selector: Mapping[str, str]
    external: bool = False
    headless: bool = False


@dataclass(frozen=True, slots=True)
class Leaf:
    """What a certificate says of itself.

    `serial` is lower-case hex with colons, as Vault and openssl print it; `spki_sha256` the SHA-256 of its
    SubjectPublicKeyInfo in hex.
    """

    serial: str
    not_before: float
    not_after: float
    names: Names
    key_type: str
    spki_sha256: str


@dataclass(frozen=True, slots=True)
class Bundle:
    """Facts of a Secret's three files, without the key.

    Attributes:
        leaf: the first certificate of `tls.crt`.
        key_fits: `tls.key` is the leaf's private key.
        chain_ok: leaf, intermediates and one anchor of `ca.crt` form a chain of valid signatures.
        anchors: SHA-256 fingerprints (hex) of the certificates in `ca.crt`.
        anchor: SHA-256 fingerprint (hex) of the anchor that the chain ends at, or None when `chain_ok` is False.
        issuer: the same of the CA certificate that signed the leaf itself: the anchor, or an intermediate.
    """

    leaf: Leaf
    key_fits: bool
    chain_ok: bool
    anchors: frozenset[str]
    anchor: str | None
    issuer: str | None = None


@dataclass(frozen=True, slots=True)
class StoredSecret:
    """A Secret as the API server has it.

    Attributes:
        managed: it carries our label (`podcert.io/managed: "true"`).
        pod_name, pod_uid: annotations `podcert.io/pod` and `podcert.io/pod-uid`; empty when absent.
        owner_uids: uids in its ownerReferences.
        annotations: the `podcert.io/…` ones, without the prefix.
        bundle: facts of its files, or None when they could not be read; `problem` then says why, without any content.
        finalizers: who has to do something before it may vanish.
        deleting_since: when it was deleted, seconds since the epoch; finalizers alone keep it. None while it was not.
    """

    namespace: str
    name: str
    uid: str
    resource_version: int
    managed: bool
    pod_name: str
    pod_uid: str
    owner_uids: frozenset[str]
    annotations: Mapping[str, str]
    bundle: Bundle | None
    problem: str | None = None
    finalizers: tuple[str, ...] = ()
    deleting_since: float | None = None

    @property
    def key(self) -> tuple[str, str]:
        """(namespace, name)."""
        return (self.namespace, self.name)


@dataclass(frozen=True, slots=True)
class Request:
    """A certificate that was decided for one pod: everything that Vault and the Secret need.

    `ttl` is in seconds, None for the role's own default. `renew_before` is the fraction of the lifetime (0 to 1) or the
    number of seconds that is left when the renewal is due; exactly one of the two is set.
    `issuer` is the name or id of the mount's issuer that is to sign, None where the Vault role says it.
    `fixed_name` is True when the Secret's name came from the annotation `secret-name`: such a Secret never enters a
    Role. `selected` tells that a Service selects the pod: without one, a pod that has just come waits a moment for it.
    """

    mode: Mode
    key_type: KeyType | None
    mount: str
    role: str
    ttl: int | None
    names: Names
    secret_name: str
    fixed_name: bool
    rotation: Rotation
    renew_before_fraction: float | None = None
    renew_before_seconds: int | None = None
    selected: bool = True
    issuer: str | None = None


@dataclass(frozen=True, slots=True)
class Material:
    """What goes into the Secret. Its repr shows nothing: `key` is a private key.

    All three are PEM: `certificate` is the leaf, then the intermediates; `key` is PKCS#8; `ca` the trust anchors.
    """

    certificate: str = field(repr=False)
    key: str = field(repr=False)
    ca: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Signed:
    """Vault's answer. PEM texts: the leaf, and the chain from its issuer upwards as Vault gave it.

    `private_key` is set only in mode `issue` (PEM, whatever encoding Vault used).
    """

    certificate: str
    chain: tuple[str, ...]
    private_key: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class SecretWrite:
    """A Secret to be created or replaced. Labels, type and ownerReference follow from the pod.

    `annotations` is without the prefix `podcert.io/`; `pod` and `pod-uid` are added by the store. `finalizers` are all that
    it is to have.
    """

    pod: Pod
    name: str
    annotations: Mapping[str, str]
    material: Material
    bundle: Bundle
    finalizers: tuple[str, ...] = ()
