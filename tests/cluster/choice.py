"""Which provider is used: --provider, else PODCERT_PROVIDER, else `local`. The one place that knows all of them."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from tests.cluster.existing import VARIABLE, Existing
from tests.cluster.kind import Kind
from tests.cluster.local import Local
from tests.cluster.paths import ClusterError
from tests.cluster.provider import Provider

NAMES = ("local", "kind", "existing")


@dataclass(frozen=True)
class Choice:
    """What a command line says of the provider; empty where it says nothing."""

    provider: str = ""
    kubeconfig: str = ""
    context: str = ""
    load: bool = True

    @property
    def name(self) -> str:
        """The provider's name: said, or by the environment, or `local`."""
        return self.provider or os.environ.get("PODCERT_PROVIDER") or "local"


def provider(choice: Choice) -> Provider:
    """Return the provider that was chosen.

    Raises:
        ClusterError: there is none of that name, or options were given that it does not have.
    """
    if choice.name not in NAMES:
        message = f"provider {choice.name!r}: there are {', '.join(NAMES)}; say --provider or PODCERT_PROVIDER"
        raise ClusterError(message)
    if choice.name == "existing":
        named = choice.kubeconfig or os.environ.get(VARIABLE)
        return Existing(Path(named).absolute() if named else None, choice.context or None, choice.load)
    if choice.kubeconfig or choice.context or not choice.load:
        message = f"--kubeconfig, --context and --no-load are for --provider existing, and this is {choice.name}"
        raise ClusterError(message)
    return Kind() if choice.name == "kind" else Local()
