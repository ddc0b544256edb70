"""What a person asks of `podcert ca`, checked before anything is looked at."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class NewRoot:
    """A root that is to be made. `ttl` in seconds, `key_type` one of `domain.model.KeyType`."""

    common_name: str
    key_type: str
    ttl: int


@dataclass(frozen=True, slots=True)
class Options:
    """As given on the command line; None where nothing was.

    Attributes:
        to: id or name of the next issuer, instead of a new root.
        common_name, key_type, ttl: of a new root; as the current one's without.
        timeout: how long is waited for pods, as a duration.
    """

    mount: str = "pki"
    namespace: str | None = None
    as_json: bool = False
    kubeconfig: Path | None = None
    context: str | None = None
    to: str | None = None
    common_name: str | None = None
    key_type: str | None = None
    ttl: str | None = None
    leave_behind: bool = False
    timeout: str | None = None
    dry_run: bool = False
