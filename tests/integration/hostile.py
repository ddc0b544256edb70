"""Pods whose owner wants what is not theirs: generated from a seed, the same ones in every run.

Each says what its refusal has to name, or that it is no refusal: a lie that nobody falls for leaves a pod with its own name.
What the policy grants here is written down a second time, in `permitted`, with nothing of the manager's own code.
"""

from __future__ import annotations

import itertools
import random
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

SEED = 20261122
GRANTED = "shop.example.com"
POLICY = """
rules:
  - name: shop
    namespaces: [{shop}]
    roles: []
    modes: [sign]
    key_types: [ec-256]
    rotations: [none]
    max_ttl: 24h
    dns_names: [shop.example.com, "*.shop.example.com"]
    ip_ranges: [10.20.0.0/16]
    uris: ["https://shop.example.com/*"]
  - name: bank
    namespaces: [{bank}]
    dns_names: [bank.example.com]
"""
SERVICES = ("payments", "headless", "outside", "manual")
"""In the pods' own namespace; none of them selects a hostile pod."""
HUGE = 65536
PLAIN = (
    ("dns-names", "api.bank.svc.cluster.local kubernetes.default.svc vault.vault.svc.cluster.local web.kube-system"),
    (
        "dns-names",
        "payments.{ns}.svc.cluster.local headless.{ns}.svc outside.{ns} manual.{ns}.svc payments.headless.{ns}.svc",
    ),
    ("dns-names", "*.{ns}.svc.cluster.local * *.com *.shop.example.com w*.shop.example.com *.*.shop.example.com"),
    (
        "dns-names",
        "shop.example.com.evil.org evilshop.example.com shop.example.com:443 shop.example.com. a_b.shop.example.com",
    ),
    (
        "common-name",
        "api.bank.svc root admin@example.com CN=root,O=system:masters aaaaaaaaaaaaaaaaaaaaaaaaaaa" + "a" * 40,
    ),
    ("ip-sans", "10.21.0.1 169.254.169.254 127.0.0.1 ::1 224.0.0.1 ::ffff:10.20.0.1 10.20.0.1/16 167772161"),
    ("uri-sans", "spiffe://cluster.local/ns/bank/sa/api spiffe urn:other https://bank.example.com/"),
    (
        "uri-sans",
        "https://shop.example.com/../admin https://shop.example.com/%2e%2e/x https://shop.example.com@evil.org/",
    ),
    ("uri-sans", "https://shop.example.com.evil.org/x https://shop.example.com/a/./b https://shop.example.com//x"),
    ("role", "admin root pods-issue other/role"),
    ("role", "../../sys/seal pods/../admin pods%2f..%2fadmin pods?ttl=1 pods#x /pods pods/"),
    ("mount", "pki-other ../../sys sys/mounts"),
    ("secret-name", "victim ../victim victim/tls.key web-cert-deadbeef Victim"),
    ("mode", "issue Sign sign;issue"),
    ("key-type", "rsa-4096 rsa-1024 none"),
    ("ttl", "87600h 25h -1h 999999999999999999999999999999999999 1e9"),
    ("rotation", "restart evict refresh"),
    ("anchors", "0000000000000000000000000000000000000000000000000000000000000000"),
    ("serial", "00:01"),
    ("issuer", "default ../root"),
)
"""Annotations, and values with spaces between them."""
STRANGE = (
    (
        "dns-names",
        [GRANTED + end for end in ("\nrole: admin", "\r\n\r\n{}", "\x1b[31mred", "\x00", "\u202egnp", "\u2028x")],
    ),
    ("dns-names", [f"b\u0430nk.{GRANTED}", f"shop\u3002{GRANTED}", f"x\uff0e{GRANTED}", f"shop\U0001f4a9.{GRANTED}"]),
    ("dns-names", ["a" * HUGE, ",".join([f"a.{GRANTED}"] * 3500), f"{GRANTED}," * 3800]),
    ("role", ["pods\x1b]0;x\x07", "pods\u200b", "pods\x7f", "pods admin", "pods\t", "pods\nadmin", "r" * 300]),
    ("role", ["pods" * (HUGE // 4)]),
    ("secret-name", ["victim\n", "victim\x00", "victim\u00ad"]),
)
"""The same for values that have spaces, control characters, letters that look like others, or no end."""


@dataclass(frozen=True)
class Hostile:
    """One pod.

    Attributes:
        names: what the Event has to contain, beside a rule: the value as far as it can be shown, or the field; empty
            when the pod is not refused.
        owned: it says that a Deployment owns it that never made it.
    """

    name: str
    annotations: dict[str, str] = field(default_factory=dict)
    labels: dict[str, str] = field(default_factory=dict)
    spec: dict[str, str] = field(default_factory=dict)
    names: tuple[str, ...] = ()
    owned: bool = False

    def body(self, owner: dict[str, Any]) -> dict[str, Any]:
        """For the API server; no node will run it."""
        mounts = [{"name": "certs", "mountPath": "/var/run/secrets/certs"}]
        meta: dict[str, Any] = {"name": self.name, "annotations": self.annotations}
        meta["labels"] = {"app": "hostile", "podcert.io/enroll": "true", **self.labels}
        if self.owned:
            meta["ownerReferences"] = [owner]
        spec = {
            "serviceAccountName": "web",
            "automountServiceAccountToken": False,
            "initContainers": [{"name": "certificate-fetcher", "image": "none", "volumeMounts": mounts}],
            "containers": [{"name": "application", "image": "none", "volumeMounts": mounts}],
            "volumes": [{"name": "certs", "emptyDir": {"medium": "Memory"}}],
            **self.spec,
        }
        return {"metadata": meta, "spec": spec}


def permitted(kind: str, value: str, own: str) -> bool:
    """Whether a certificate of the pod with the DNS name `own` may have this name; `kind` is dns, ip or uri."""
    if kind == "dns":
        return value == own or re.fullmatch(r"([a-z0-9-]+\.)*shop\.example\.com", value) is not None
    if kind == "ip":
        return re.fullmatch(r"10\.20\.\d+\.\d+", value) is not None
    return re.fullmatch(r"https://shop\.example\.com/[a-z0-9/]+", value) is not None


def hostile_pods(count: int, namespace: str, seed: int = SEED) -> list[Hostile]:
    """So many of them, every kind in turn."""
    chance = random.Random(seed)
    kinds = itertools.cycle(_kinds(namespace, chance))
    return [make(f"hostile-{number}") for number, make in zip(range(count), kinds, strict=False)]


def _kinds(namespace: str, chance: random.Random) -> Iterator[Callable[[str], Hostile]]:
    plain = [(annotation, text.format(ns=namespace).split()) for annotation, text in PLAIN]
    for annotation, choices in (*plain, *STRANGE):
        yield _asking(annotation, itertools.cycle(chance.sample(choices, len(choices))))
    yield _addressed(chance)
    yield _lying(namespace)
    yield _owned()
    yield _hosted()
    yield _labelled(itertools.cycle(("yes", "TRUE", "1", "")))


def _asking(annotation: str, values: Iterator[str]) -> Callable[[str], Hostile]:
    def make(name: str) -> Hostile:
        value = next(values)
        known = annotation not in ("mount", "anchors", "serial", "issuer")
        named = (
            (f"podcert.io/{annotation}", shown_part(value)) if known else (f"podcert.io/{annotation}", "is not known")
        )
        return Hostile(name, {f"podcert.io/{annotation}": value}, names=named)

    return make


def _addressed(chance: random.Random) -> Callable[[str], Hostile]:
    def make(name: str) -> Hostile:
        address = f"{chance.choice([9, 11, 172, 192])}.{chance.randrange(256)}.{chance.randrange(256)}.{chance.randrange(256)}"
        return Hostile(name, {"podcert.io/ip-sans": f"10.20.0.1,{address}"}, names=("podcert.io/ip-sans", address))

    return make


def _lying(namespace: str) -> Callable[[str], Hostile]:
    """Labels and annotations that look like ours, or like another pod's."""
    labels = {"podcert.io/managed": "true", "podcert.io/pod": "payments", "kubernetes.io/metadata.name": "bank"}
    annotations = {"podcert.io.evil.org/dns-names": "bank.example.com", "restarted-for": f"payments.{namespace}"}
    return lambda name: Hostile(name, annotations, labels)


def _owned() -> Callable[[str], Hostile]:
    return lambda name: Hostile(name, owned=True)


def _hosted() -> Callable[[str], Hostile]:
    return lambda name: Hostile(name, spec={"hostname": "payments", "subdomain": "headless"})


def _labelled(values: Iterator[str]) -> Callable[[str], Hostile]:
    def make(name: str) -> Hostile:
        value = next(values)
        return Hostile(name, labels={"podcert.io/enroll": value}, names=(f'podcert.io/enroll="{value}"',))

    return make


def shown_part(value: str) -> str:
    """The beginning of a value that any message has to show as it is."""
    found = re.match(r"[A-Za-z0-9.:/?#%@;=*_-]{0,40}", value)
    return found[0] if found else ""
