"""500 pods whose certificates are due at once: the manager was down while they came due, and starts after it.

A control plane without a node is enough: nobody looks at the files. The manager is a process, Vault is behind a proxy that
counts what is in flight.
"""

from __future__ import annotations

import os
import tempfile
import time
from datetime import datetime
from pathlib import Path
from typing import Any

from tests.cluster import local
from tests.cluster.openbao import dev_server
from tests.cluster.paths import REPOSITORY
from tests.integration.manager import running
from tests.integration.proxy import Proxy, proxying
from tests.integration.world import World
from tests.prove.parts import say
from tests.prove.proof import Shown

PODS = 500
LIMIT = 16
TTL = 150.0
NOTE = "podcert.io/"


def run() -> dict[str, Shown]:
    """The lines `flight` and `renewed`."""
    say("500 pods whose certificates are due in one second")
    name = f"burst-{os.getpid()}"
    with (
        tempfile.TemporaryDirectory(prefix="podcert-burst-") as folder,
        dev_server() as vault,
        local.cluster(name, node=False, quiet=True) as cluster,
        proxying(vault.url) as proxy,
    ):
        for manifest in ("namespace", "serviceaccount", "rbac"):
            path = REPOSITORY / "manifests" / "base" / f"{manifest}.yaml"
            cluster.kubectl("apply", "--namespace", "podcert", "-f", str(path))
        world = World(cluster, vault, "burst", "pki-burst", Path(folder))
        world.set_up()
        return _burst(world, proxy)


def _burst(world: World, proxy: Proxy) -> dict[str, Shown]:
    launch = world.launch(vault_url=proxy.url, PODCERT_TTL=f"{TTL:.0f}s", PODCERT_WORKERS=str(LIMIT))
    with running(launch):
        world.pods(PODS, "due")
        world.enrolled(*(f"due-{number}" for number in range(PODS)), seconds=60)
    first = certificates(world)
    # Two thirds of the lifetime of the youngest one: now all of them are due.
    time.sleep(max(0.0, max(issued for issued, _ in first.values()) + TTL * 2 / 3 + 1 - time.time()))
    proxy.asked.clear()
    proxy.highest_in_flight = 0
    with running(launch):
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            now = certificates(world)
            if all(now[pod][0] > issued for pod, (issued, _) in first.items()):
                break
            time.sleep(0.2)
    now = certificates(world)
    parts = [(now[pod][0] - issued) / (end - issued) for pod, (issued, end) in first.items()]
    late = sum(now[pod][0] <= first[pod][0] for pod in first)
    calls = [one.at for one in proxy.asked if "/sign/" in one.path]
    highest, spread = proxy.highest_in_flight, max(calls) - min(calls)
    return {
        "flight": Shown(highest <= LIMIT, f"{highest}, limit {LIMIT}; {len(calls)} calls in {spread:.1f} s"),
        "renewed": Shown(not late and max(parts) < 0.8, f"{PODS - late} of {PODS}, the last at {max(parts):.0%}"),
    }


def certificates(world: World) -> dict[str, tuple[float, float]]:
    """Issue and end of each pod's certificate."""
    return {
        notes[NOTE + "pod"]: (epoch(notes[NOTE + "issued-at"]), epoch(notes[NOTE + "not-after"]))
        for notes in (_notes(secret) for secret in world.secrets())
    }


def _notes(secret: dict[str, Any]) -> dict[str, str]:
    return dict(secret["metadata"]["annotations"])


def epoch(text: str) -> float:
    """Seconds since the epoch."""
    return datetime.fromisoformat(text).timestamp()
