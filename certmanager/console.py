"""What every command is given that a person runs, and what wrong usage is.

Below everything but the domain, because `podcert bootstrap` lives with Vault's client and `kube.kubeconfig` finds the cluster.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path


class UsageError(Exception):
    """It cannot be done as it was asked for; the text says why and what to do."""


@dataclass(frozen=True, slots=True)
class Console:
    """Where a command lives.

    Attributes:
        out, err: print one line or text to standard output, standard error.
        environment: variables.
        home: the user's home folder.
        now: seconds since the epoch.
        sleep: waits that many seconds.
    """

    out: Callable[[str], None]
    err: Callable[[str], None]
    environment: Mapping[str, str]
    home: Path
    now: Callable[[], float] = time.time
    sleep: Callable[[float], None] = time.sleep


@dataclass(frozen=True, slots=True)
class Target:
    """Which cluster: a kubeconfig and its context; None for those that kubectl would use."""

    kubeconfig: Path | None = None
    context: str | None = None
