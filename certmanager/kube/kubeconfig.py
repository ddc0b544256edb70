"""Which cluster a command asks that a person runs: the one that kubectl would.

The manager never looks for one: there a path has to be given (`credentials`).
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from certmanager.console import Console, Target, UsageError
from certmanager.kube.client import KubeClient

CONNECTIONS: Final = 2


def usual(target: Target, console: Console) -> Path | None:
    """The kubeconfig that kubectl would use: as named, KUBECONFIG, or the one in the home folder; None without any.

    Raises:
        UsageError: KUBECONFIG names several files.
    """
    if target.kubeconfig is not None:
        return target.kubeconfig
    given = [part for part in console.environment.get("KUBECONFIG", "").split(":") if part]
    if len(given) > 1:
        raise UsageError("KUBECONFIG names several files; name one by --kubeconfig")
    if given:
        return Path(given[0])
    in_home = console.home / ".kube" / "config"
    return in_home if in_home.is_file() else None


def kubeconfig(target: Target, console: Console) -> Path:
    """The same where there has to be one. Raises `UsageError`."""
    found = usual(target, console)
    if found is None:
        raise UsageError("there is no kubeconfig; name one by --kubeconfig or KUBECONFIG")
    return found


def client(target: Target, console: Console) -> KubeClient:
    """The API server, by the user's own rights. Raises `UsageError`, also for a kubeconfig that cannot be used."""
    path = kubeconfig(target, console)
    try:
        return KubeClient.from_kubeconfig(path, CONNECTIONS, target.context)
    except ValueError as error:
        problem = str(error)
    raise UsageError(problem)
