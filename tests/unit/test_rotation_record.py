"""The judge of the rotation's proofs: what it would say of a manager that rolls twice, too early, or loses handshakes."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any, cast

import pytest

from tests.e2e.record import Issued, Life, Record
from tests.e2e.rotating import Change, parse_seen
from tests.prove.side_by_side import between, handshakes, rolls

LIFE = 60.0
DUE = LIFE * 2 / 3


def record(*rolled_at: float, renewed_at: tuple[float, ...] = ()) -> Record:
    """A Deployment of two pods whose revisions came at these times, and one pod with a sidecar."""
    made = Record(cast("Any", SimpleNamespace(api=None)), "test")
    for number, at in enumerate((0.0, *rolled_at)):
        made.revisions[f"r{number}"] = at
        for pod in range(2):
            first = Issued(f"{number}.{pod}", at + pod, at + pod + LIFE)
            made.pods[f"web-{number}-{pod}"] = Life(f"web-{number}-{pod}", "web", f"r{number}", at + pod, [first])
    certificates = [Issued(f"n{number}", at, at + LIFE) for number, at in enumerate((0.0, *renewed_at))]
    made.pods["nginx-0"] = Life("nginx-0", "nginx", "x", 0.0, certificates)
    return made


def test_rolls_at_their_time_are_counted_and_none_is_early() -> None:
    seen = record(DUE - 1, 2 * DUE - 1)
    assert seen.rolled_early("web") == []
    assert seen.rotations("web", now=2 * DUE + 5) == (2, 2)
    assert rolls(seen, 2, (2, 2, 2)).holds


def test_a_second_roll_for_one_rotation_is_told() -> None:
    seen = record(DUE - 1, DUE + 5)
    assert len(seen.rolled_early("web")) == 1
    least, most = seen.rotations("web", now=DUE + 8)
    assert not rolls(seen, 2, (least, most, 1)).holds


def test_a_roll_that_did_not_come_is_told() -> None:
    seen = record(DUE - 1)
    least, most = seen.rotations("web", now=3 * DUE)
    assert not rolls(seen, 1, (least, most, 1)).holds


@pytest.mark.parametrize(("at", "early"), [(20.0, 1), (35.0, 0), (40.0, 0)])
def test_a_certificate_that_was_not_due_is_told(at: float, early: int) -> None:
    assert len(record(renewed_at=(at,)).too_early()) == early


def said(ok: int, failed: int = 0, expired: int = 0, **more: object) -> str:
    numbers = {"ok": ok, "failed": failed, "expired": expired}
    return json.dumps({"time": 1.0, "target": "web.a.svc.cluster.local:1", **numbers, **more})


def test_the_clients_last_line_counts_and_its_failures_are_kept() -> None:
    text = "\n".join([said(5), "garbage", said(8, 1, error="reset"), said(9, 1, serials={"aa": [1, 2, 3]})])
    seen = parse_seen(text)["web"]
    assert (seen.ok, seen.failed, seen.errors, dict(seen.serials)) == (9, 1, ("1.0 reset",), {"aa": (1, 2, 3)})


@pytest.mark.parametrize(
    ("last", "holds"),
    [(said(260), True), (said(260, 1), False), (said(260, 1, 1), False), (said(150), False)],
)
def test_one_failed_handshake_or_too_few_of_them_break_the_promise(last: str, holds: bool) -> None:
    first, now = parse_seen(said(10))["web"], parse_seen(last)["web"]
    assert handshakes(between(first, now), took=10.0).holds is holds


def test_a_change_keeps_what_the_example_says_beside_it() -> None:
    item: dict[str, Any] = {
        "spec": {
            "replicas": 3,
            "template": {
                "metadata": {"annotations": {"podcert.io/rotation": "evict"}},
                "spec": {"containers": [{"command": ["python3", "-I", "/a/client.py", "old"]}]},
            },
        }
    }
    changed = Change("60s", 1, ("new", "--rate", "2")).apply(item)["spec"]
    assert changed["replicas"] == 1
    assert changed["template"]["metadata"]["annotations"] == {"podcert.io/rotation": "evict", "podcert.io/ttl": "60s"}
    assert changed["template"]["spec"]["containers"][0]["command"][2:] == ["/a/client.py", "new", "--rate", "2"]
