"""Our own Secrets with lies in their annotations: whoever may write Secrets in a namespace may write these too.

Nothing but the pod's own certificate may suffer: no bug, no endless signing, no line of the log that a terminal obeys, no
path in Vault that is not the mount's, and no Secret that cannot go.
"""

from __future__ import annotations

import base64
import itertools
import json
import re
import time
from typing import Any

import pytest
from cryptography import x509

from tests.integration.besiege import EVERYTHING
from tests.integration.manager import Manager, running
from tests.integration.world import World, eventually

pytestmark = pytest.mark.cluster

NOTES = (
    *(
        "anchors",
        "issued-at",
        "issuer",
        "key-type",
        "mode",
        "mount",
        "names",
        "not-after",
        "pod",
        "pod-uid",
        "renewal-at",
    ),
    *("renew", "renewals", "revoke", "revoked", "role", "serial", "superseded", "ttl"),
)
LIES = (None, "\x1b[31m" + "A\n\u202e" * 3000, "../../sys/seal", "sys/leases", "9999-12-31T23:59:59Z", "1e400/")
SETTLED = 5.0
"""Seconds in which a loop would sign many times: a certificate is made in a tenth of one."""


def lie(world: World) -> dict[str, str]:
    """A pod for each annotation and each lie, whose Secret tells it; by pod, the annotation."""
    told = {f"lie-{number}": each for number, each in enumerate(itertools.product(NOTES, LIES))}
    world.pods(len(told), "lie")
    world.enrolled(*told, seconds=120)
    for secret in world.secrets():
        note, value = told[secret["metadata"]["annotations"]["podcert.io/pod"]]
        changed = {key: text for key, text in secret["metadata"]["annotations"].items() if key != f"podcert.io/{note}"}
        changed |= {} if value is None else {f"podcert.io/{note}": value}
        secret["metadata"]["annotations"] = changed
        status, answer = world.cluster.api.call("PUT", f"{world.core}/secrets/{secret['metadata']['name']}", secret)
        assert status == 200, answer
    return {pod: note for pod, (note, _) in told.items()}


def test_lies_in_the_annotations_of_our_secrets_harm_nobody(world: World) -> None:
    world.policy(EVERYTHING)
    launch = world.launch(PODCERT_REVOKE="deleted,rotated")
    with running(launch) as manager:
        pods = lie(world)
        eventually(lambda: not untrue(world, pods), 90, "what commands go by is true again")
        assert settled(manager) <= 2 * len(pods), "each was made anew once at the most"
        assert manager.metric("podcert_bugs_total") == 0
    with running(launch) as manager:
        time.sleep(SETTLED)
        assert manager.signs() == 0, "adopted as they are"
        for pod in pods:
            world.delete_pod(pod)
        end = time.monotonic() + 60
        while world.secrets() and time.monotonic() < end:
            time.sleep(0.2)
        assert left(world, pods) == [], "every Secret goes with its pod"
        assert manager.metric("podcert_bugs_total") == 0
        quiet(manager)
    assert world.ask("GET", "sys/seal-status")["sealed"] is False


def settled(manager: Manager) -> float:
    """How often it has asked Vault when it asks no more."""
    for _ in range(12):
        before = manager.signs()
        time.sleep(SETTLED)
        if manager.signs() == before:
            return before
    pytest.fail(f"it does not come to rest: {manager.signs():.0f} signs", pytrace=False)


def untrue(world: World, pods: dict[str, str]) -> list[str]:
    """The Secrets whose serial or anchors are still a lie; one that is missing is what an older release wrote."""
    found = []
    for secret in world.secrets():
        notes = secret["metadata"]["annotations"]
        pod = secret["metadata"]["name"].partition("-cert-")[0]
        if pods[pod] == "serial" and "podcert.io/serial" in notes:
            leaf = x509.load_pem_x509_certificates(base64.b64decode(secret["data"]["tls.crt"]))[0]
            found += [] if notes["podcert.io/serial"].replace(":", "") == f"{leaf.serial_number:040x}" else [pod]
        if pods[pod] == "anchors" and "podcert.io/anchors" in notes:
            found += [] if re.fullmatch("[0-9a-f]{64}", notes["podcert.io/anchors"]) else [pod]
    return found


def left(world: World, pods: dict[str, str]) -> list[Any]:
    """The Secrets that are there, and what is lied about in them."""
    found = []
    for meta in (one["metadata"] for one in world.secrets()):
        note = pods[meta["name"].partition("-cert-")[0]]
        found.append((note, meta["annotations"].get(f"podcert.io/{note}", "")[:30], meta.get("finalizers")))
    return found


def quiet(manager: Manager) -> None:
    """No long line, and none that a terminal would obey."""
    lines = manager.log().splitlines()
    assert max(map(len, lines)) <= 4096
    assert [line[:500] for line in lines if not str(json.loads(line)["message"]).isprintable()] == []
