"""What the commands share: where they live, which cluster they ask, and what is wrong usage."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from certmanager.commands.cluster import Cluster
from certmanager.domain.errors import PodcertError
from certmanager.kube.client import KubeClient
from certmanager.kube.kubeconfig import kubeconfig

CONNECTIONS: Final = 2


class UsageError(Exception):
    """It cannot be done as it was asked for; the text says why and what to do."""


@dataclass(frozen=True, slots=True)
class Console:
    """Outputs, environment, the user's home folder; the clock, and how time is spent waiting."""

    out: Callable[[str], None]
    err: Callable[[str], None]
    environment: Mapping[str, str]
    home: Path
    now: Callable[[], float]
    sleep: Callable[[float], None]


@dataclass(frozen=True, slots=True)
class Target:
    """Which cluster: a kubeconfig and its context; None for those that kubectl would use."""

    kubeconfig: Path | None = None
    context: str | None = None


def cluster(target: Target, console: Console) -> Cluster:
    """The API server. Raises `UsageError`."""
    try:
        path = kubeconfig(target.kubeconfig, console.environment, console.home)
        if path is None:
            raise UsageError("there is no kubeconfig; name one by --kubeconfig or KUBECONFIG")
        return Cluster(KubeClient.from_kubeconfig(path, CONNECTIONS, target.context))
    except ValueError as error:
        problem = str(error)
    raise UsageError(problem)


def told(error: PodcertError) -> str:
    """An error for who runs a command. What is forbidden is forbidden to him, whatever the manager may do."""
    if error.reason != "KubernetesForbidden":
        return error.message
    what, _, _ = error.message.rpartition("; ")
    return f"{what or error.message}; your rights do not allow it: docs/commands.md says what is needed"
