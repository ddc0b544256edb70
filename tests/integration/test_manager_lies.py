"""Our own Secrets with lies in their annotations: whoever may write Secrets in a namespace may write these too.

Nothing but the pod's own certificate may suffer: no bug, no endless signing, no line of the log that a terminal obeys, no
path in Vault that is not the mount's, and no Secret that cannot go.
"""

from __future__ import annotations

import itertools
import json
import time
from typing import Any

import pytest

from tests.integration.besiege import EVERYTHING
from tests.integration.manager import Manager, running
from tests.integration.world import World

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
        time.sleep(SETTLED)
        signs = manager.signs()
        assert signs <= 2 * len(pods), "each was made anew once at the most"
        time.sleep(SETTLED)
        assert manager.signs() == signs
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
