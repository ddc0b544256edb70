"""Bad annotations, as their user meets them: `kubectl describe pod` names field, value, rule and remedy.

Vault is not asked for any of them, and a corrected pod has its certificate at once.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.integration.manager import Manager, running
from tests.integration.world import World

pytestmark = pytest.mark.cluster

# annotations, reason, and what the user has to read: field, value, rule, remedy
CASES: dict[str, tuple[dict[str, str], str, tuple[str, ...]]] = {
    "unknown": (
        {"dns-name": "a.b"},
        "InvalidAnnotation",
        ("podcert.io/dns-name", "is not known", "did you mean podcert.io/dns-names?"),
    ),
    "far-from-known": (
        {"qqqqqqqq": "1"},
        "InvalidAnnotation",
        ("podcert.io/qqqqqqqq", "is not known", "remove it; known are mode, key-type"),
    ),
    "a-label": ({"enroll": "true"}, "InvalidAnnotation", ("podcert.io/enroll", "is a label", "set the label")),
    "mode": ({"mode": "Sign"}, "InvalidAnnotation", ('podcert.io/mode="Sign"', "must be one of sign, issue", "change")),
    "ttl": ({"ttl": "5 parsecs"}, "InvalidAnnotation", ('podcert.io/ttl="5 parsecs"', "must be a duration", "change")),
    "ttl-zero": ({"ttl": "0s"}, "InvalidAnnotation", ('podcert.io/ttl="0s"', "longer than zero", "change")),
    "name": (
        {"dns-names": "bank.example.com"},
        "NameNotAllowed",
        ('podcert.io/dns-names="bank.example.com"', "must be one of the pod's own names", "choose one of these"),
    ),
    "wildcard": (
        {"dns-names": "*.svc.cluster.local"},
        "NameNotAllowed",
        ('podcert.io/dns-names="*.svc.cluster.local"', "wildcards", "choose one of these"),
    ),
    "common-name": (
        {"common-name": "kubernetes.default.svc"},
        "NameNotAllowed",
        (
            'podcert.io/common-name="kubernetes.default.svc"',
            "must be one of the pod's own names",
            "choose one of these",
        ),
    ),
    "spiffe": (
        {"uri-sans": "spiffe"},
        "NoTrustDomain",
        ('podcert.io/uri-sans="spiffe"', "must not be set without a trust domain", "remove the annotation"),
    ),
    "role": (
        {"role": "admin"},
        "RoleNotAllowed",
        ('podcert.io/role="admin"', "must be one of the configured roles (pods, pods-issue)", "choose one of them"),
    ),
    "role-path": ({"role": "../sys/seal"}, "InvalidAnnotation", ('podcert.io/role="../sys/seal"', "must", "change")),
    "key-type": (
        {"mode": "issue", "key-type": "rsa-2048"},
        "KeyTypeWithIssue",
        ('podcert.io/key-type="rsa-2048"', "must not be set in mode issue", "remove the annotation, or use mode sign"),
    ),
    "key-type-unknown": (
        {"key-type": "rsa-1024"},
        "InvalidAnnotation",
        ('podcert.io/key-type="rsa-1024"', "must be one of ec-256, ec-384", "change the annotation"),
    ),
    "renew-before": (
        {"ttl": "1h", "renew-before": "2h"},
        "InvalidAnnotation",
        ('podcert.io/renew-before="2h"', "must be shorter than the TTL (3600s)", "change"),
    ),
    "secret-name": (
        {"secret-name": "Not_A_Name"},
        "InvalidAnnotation",
        ('podcert.io/secret-name="Not_A_Name"', "must", "change"),
    ),
    "huge": (
        {"dns-names": "a" * 65536},
        "InvalidAnnotation",
        ('podcert.io/dns-names="aaaaaaaa', "must have at most 4096 bytes", "shorten the annotation"),
    ),
    "control-characters": (
        {"role": "pods\n\x1b[31mroot\u202e"},
        "InvalidAnnotation",
        (r'podcert.io/role="pods\n\x1b[31mroot\u202e"', "must", "change the annotation"),
    ),
    "many": (
        {f"unknown-{number}": "" for number in range(300)},
        "InvalidAnnotation",
        ("podcert.io/unknown-0: is not known", "more problems"),
    ),
    "several": (
        {"mode": "x", "ttl": "y", "rotation": "z"},
        "InvalidAnnotation",
        ('podcert.io/mode="x"', 'podcert.io/rotation="z"', 'podcert.io/ttl="y"', " | "),
    ),
}


@pytest.fixture(scope="module")
def manager(shared_world: World) -> Iterator[Manager]:
    with running(shared_world.launch()) as started:
        yield started


@pytest.mark.parametrize("case", sorted(CASES))
def test_a_refused_pod_tells_field_value_rule_and_remedy_and_is_served_once_corrected(
    shared_world: World, manager: Manager, case: str
) -> None:
    annotations, reason, parts = CASES[case]
    world, name = shared_world, f"bad-{case}"
    signs = manager.signs()
    world.pod(name, annotations)
    message = world.warned(name, reason)
    print(f"{case}: {reason}: {message}")
    for part in parts:
        assert part in message
    assert len(message.encode()) <= 1024
    assert message.isprintable()
    assert world.secret_of(name) is None
    assert manager.signs() == signs, "Vault was asked"
    world.annotate(name, **{key.replace("-", "_"): None for key in annotations})
    world.enrolled(name)
    assert manager.signs() == signs + 1


def test_a_label_that_is_neither_true_nor_false_is_told(shared_world: World, manager: Manager) -> None:
    shared_world.pod("bad-label", label="yes")
    message = shared_world.warned("bad-label", "InvalidLabel")
    assert message == 'label podcert.io/enroll="yes": must be "true" or "false"; change the label'
    shared_world.patch("pod/bad-label", {"metadata": {"labels": {"podcert.io/enroll": "true"}}})
    shared_world.enrolled("bad-label")


def test_a_pod_that_cannot_have_a_name_is_told_how_to_get_one(shared_world: World, manager: Manager) -> None:
    shared_world.pod("dotted.name")
    message = shared_world.warned("dotted.name", "NoName")
    assert "its name has a dot" in message
    assert "have a Service select the pod" in message
    shared_world.service("dotted", "dotted.name")
    shared_world.enrolled("dotted.name")
