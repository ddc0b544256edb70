"""How a pod gets its certificate, and what its fetcher reports: read from the pod's spec and status.

Part of `project.pod`. The fetcher reports through its termination message, one line of JSON (docs/fetcher.md); a pod's
owner can write anything there, so it is read as data of a stranger: of another shape it says nothing, and texts are cut.
A one-shot fetcher reports which certificate the files hold. A sidecar (an init container with restartPolicy Always,
https://kubernetes.io/docs/concepts/workloads/pods/sidecar-containers/) follows the Secret and reports only trouble.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Final

from certmanager.domain.model import FETCHER_CONTAINER, Delivery
from certmanager.kube.fields import Obj, mapping, mappings, text, timestamp

PROBLEM_LIMIT: Final = 200
"""Characters of a reload's problem that are kept."""

LATEST: Final = 253402300800.0
"""The end of the year 9999, seconds since the epoch: no certificate ends later (RFC 5280, 4.1.2.5), and no text can say it."""


def delivery(spec: Obj, status: Obj) -> Delivery:
    """The view of a pod's `spec` and `status`; never raises."""
    fetchers = [init for init in mappings(spec, "initContainers") if init.get("name") == FETCHER_CONTAINER]
    sidecar = any(init.get("restartPolicy") == "Always" for init in fetchers)
    served = None if sidecar else _served(status)
    return Delivery(
        fetcher=bool(fetchers),
        sidecar=sidecar,
        reload_problem=_reload_problem(status) if sidecar else None,
        mounts=_mounts(spec),
        served_serial=served[0] if served else None,
        served_not_after=served[1] if served else None,
    )


def _mounts(spec: Obj) -> frozenset[str]:
    mounts: set[str] = set()
    for volume in mappings(spec, "volumes"):
        mounts.add(text(mapping(volume, "secret"), "secretName"))
        for source in mappings(mapping(volume, "projected"), "sources"):
            mounts.add(text(mapping(source, "secret"), "name"))
    return frozenset(mounts - {""})


def _served(status: Obj) -> tuple[str, float] | None:
    """Serial and end of the certificate that a one-shot fetcher wrote; a later run that has not ended changes nothing."""
    for container in _fetcher_statuses(status):
        for state in (mapping(container, "state"), mapping(container, "lastState")):
            message = text(mapping(state, "terminated"), "message")
            if message:
                return _certificate(_json(message))
    return None


def _certificate(report: Obj) -> tuple[str, float] | None:
    serial, end = text(report, "serial"), report.get("notAfter")
    not_after = timestamp(end)
    if not_after is None and isinstance(end, int | float) and not isinstance(end, bool) and 0 < end < LATEST:
        not_after = float(end)
    return None if not serial or not_after is None or not 0 < not_after < LATEST else (serial, not_after)


def _reload_problem(status: Obj) -> str | None:
    """What kept the sidecar from making the application reload, while it is down for it.

    A sidecar that runs again is trying again, or has succeeded: its last end is history then, and says nothing. It ends
    once more if it fails once more.
    """
    for container in _fetcher_statuses(status):
        state = mapping(container, "state")
        ended = mapping(state, "terminated")
        if not ended and mapping(state, "waiting"):
            ended = mapping(mapping(container, "lastState"), "terminated")
        problem = text(_json(text(ended, "message")), "reload")
        if problem:
            line = "".join(char if char.isprintable() else " " for char in problem)
            return line if len(line) <= PROBLEM_LIMIT else line[: PROBLEM_LIMIT - 1] + "…"
    return None


def _fetcher_statuses(status: Obj) -> Iterator[Obj]:
    for container in mappings(status, "initContainerStatuses"):
        if container.get("name") == FETCHER_CONTAINER:
            yield container


def _json(message: str) -> Obj:
    try:
        value = json.loads(message)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}
