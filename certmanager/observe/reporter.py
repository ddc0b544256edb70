"""The port `Reporter`: one decision becomes an Event for the pod's owner, a metric and a line in the log.

Called by the reconciler at the end of the one path. The same reason is the Event's reason, the metric's label and the
log's field, so that whoever finds one finds the others.
"""

from __future__ import annotations

from typing import Protocol

import structlog

from certmanager.domain.model import Pod
from certmanager.observe.metrics import Metrics


class Events(Protocol):
    """Writer of Kubernetes Events; never blocks, never fails."""

    def normal(self, pod: Pod, reason: str, message: str) -> None:
        """A Normal Event; may be dropped."""
        ...

    def warning(self, pod: Pod, reason: str, message: str) -> None:
        """A Warning Event; merged, never dropped."""
        ...


class Reporter:
    """Implements the engine's port of that name.

    Args:
        events: where Events go.
        metrics: where counts go.
    """

    def __init__(self, events: Events, metrics: Metrics) -> None:
        self._events = events
        self._metrics = metrics
        self._log = structlog.get_logger("certmanager")

    def normal(self, pod: Pod, reason: str, message: str) -> None:
        """Something went as it should."""
        self._events.normal(pod, reason, message)
        self._log.info(message, reason=reason, namespace=pod.namespace, pod=pod.name, pod_uid=pod.uid)

    def warning(self, pod: Pod, reason: str, message: str) -> None:
        """Something that the pod's owner has to know or to change."""
        self._events.warning(pod, reason, message)
        self._log.warning(message, reason=reason, namespace=pod.namespace, pod=pod.name, pod_uid=pod.uid)

    def issued(self, seconds: float) -> None:
        """A pod's first certificate is stored, so many seconds after the pod's creation."""
        self._metrics.issued(max(0.0, seconds))

    def renewed(self, result: str) -> None:
        """A certificate was to be replaced in its Secret: `renewed`, `failed` or `refused`."""
        self._metrics.renewed(result)

    def restarted(self, strategy: str, result: str) -> None:
        """A workload's pods are to be replaced: `started`, `completed`, `stuck` or `blocked`."""
        self._metrics.restarted(strategy, result)

    def revoked(self, subject: str, result: str, message: str) -> None:
        """A certificate was to be revoked: `revoked`, `skipped`, or why not (`failed`, `refused`, `unproven`, `dropped`)."""
        self._metrics.revoked(result)
        # What fails while Vault is away is tried again every few seconds, for every certificate.
        level = {"failed": "debug", "revoked": "info", "skipped": "info"}.get(result, "warning")
        getattr(self._log, level)(message, reason="Revocation", result=result, subject=subject)

    def problem(self, subject: str, reason: str, message: str) -> None:
        """Something that is no pod's, such as a Role: the administrator reads it in the log."""
        self._log.warning(message, reason=reason, subject=subject)

    def outcome(self, kind: str, reason: str, seconds: float) -> None:
        """One reconcile ended: kind of key, reason, duration in seconds."""
        self._metrics.reconciled(kind, reason, seconds)
        self._log.debug("reconciled", kind=kind, reason=reason, seconds=round(seconds, 6))

    def bug(self, key: object, error: BaseException) -> None:
        """An unexpected error: its type and the places it went through, never its text (it may quote a Secret)."""
        self._metrics.bug(type(error).__name__)
        self._log.error("bug: unexpected error", key=str(key), error=type(error).__name__, places=_places(error))


def _places(error: BaseException) -> list[str]:
    """`file:line function` of each frame, the innermost last; files without the folders before the package."""
    places: list[str] = []
    trace = error.__traceback__
    while trace is not None:
        code = trace.tb_frame.f_code
        file = "/".join(code.co_filename.replace("\\", "/").split("/")[-2:])
        places.append(f"{file}:{trace.tb_lineno} {code.co_name}")
        trace = trace.tb_next
    return places
