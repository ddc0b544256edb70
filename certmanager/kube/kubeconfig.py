"""Which kubeconfig a command uses that a person runs: the one that kubectl would.

The manager never looks for one: there a path has to be given (`credentials`).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path


def kubeconfig(named: Path | None, environment: Mapping[str, str], home: Path) -> Path | None:
    """The kubeconfig that kubectl would use: as named, KUBECONFIG, or the one in the home folder; None without any.

    Raises:
        ValueError: KUBECONFIG names several files.
    """
    if named is not None:
        return named
    given = [part for part in environment.get("KUBECONFIG", "").split(":") if part]
    if len(given) > 1:
        raise ValueError("KUBECONFIG names several files; name one by --kubeconfig")
    if given:
        return Path(given[0])
    usual = home / ".kube" / "config"
    return usual if usual.is_file() else None
