"""What a Vault server says of itself without a token, and how it is initialised and unsealed.

In the flow: below `podcert vault init` and `podcert vault unseal` (certmanager.servers); the manager itself never comes here.
Sources: https://developer.hashicorp.com/vault/api-docs/system/init, …/seal-status, …/unseal, …/health; OpenBao has the same.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from certmanager.domain.errors import PodcertError, Refused
from certmanager.vault import errors
from certmanager.vault.errors import Answer, Call
from certmanager.vault.transport import Transport

INIT_SECONDS: Final = 120.0
"""For the answer of `sys/init`: integrated storage first elects a leader, and an answer that is not waited for is lost."""

_STATUS: Final = Call("GET", "sys/seal-status")
_HEALTH: Final = Call("GET", "sys/health")
_LEADER: Final = Call("GET", "sys/leader")
_INIT: Final = Call("POST", "sys/init")
_AUTOPILOT: Final = Call("GET", "sys/storage/raft/autopilot/state")
_UNSEAL: Final = Call("POST", "sys/unseal")


class State(enum.Enum):
    """Where a server is on its way from an empty volume to work."""

    UNREACHABLE = "does not answer"
    UNINITIALISED = "not initialised"
    SEALED = "sealed"
    LEADERLESS = "unsealed, no server is active yet"
    STANDBY = "unsealed, standby"
    ACTIVE = "unsealed, active"

    @property
    def unsealed(self) -> bool:
        """It serves requests, or passes them on to one that does."""
        return self in {State.STANDBY, State.ACTIVE}


@dataclass(frozen=True, slots=True)
class SealStatus:
    """A server's own words.

    Attributes:
        shares, threshold: of the unseal key; 0 while it is not initialised.
        progress: shares that were shown since it was sealed.
        automatic: it is unsealed by a key service, not by shares.
    """

    state: State
    shares: int
    threshold: int
    progress: int
    automatic: bool
    version: str


@dataclass(frozen=True, slots=True)
class Keys:
    """What only the answer of `sys/init` has. Never in a repr.

    Attributes:
        shares: of the unseal key, base64; empty under automatic unsealing.
        threshold: as many of them unseal.
        recovery: shares of the recovery key, base64, under automatic unsealing.
        root_token: all rights, without an end.
    """

    shares: tuple[str, ...] = field(repr=False)
    threshold: int
    root_token: str = field(repr=False)
    recovery: tuple[str, ...] = field(default=(), repr=False)


def seal_status(transport: Transport) -> SealStatus:
    """Whether the server is initialised, sealed, standby or active. Raises `NotYet` when it does not answer as Vault does."""
    body = _body(transport.request(_STATUS, None), _STATUS)
    initialised, sealed = body.get("initialized"), body.get("sealed")
    if not isinstance(initialised, bool) or not isinstance(sealed, bool):
        raise errors.unreadable(_STATUS, "it lacks initialized or sealed")
    if not initialised:
        state = State.UNINITIALISED
    elif sealed:
        state = State.SEALED
    else:
        state = _unsealed(transport)
    kind = body.get("type")
    return SealStatus(
        state,
        _number(body, "n"),
        _number(body, "t"),
        _number(body, "progress"),
        isinstance(kind, str) and kind not in {"", "shamir"},
        str(body.get("version", ""))[:40],
    )


def _unsealed(transport: Transport) -> State:
    """Just unsealed, a server is a standby for a moment even when it is alone."""
    if transport.request(_HEALTH, None).status == 200:
        return State.ACTIVE
    leader = transport.request(_LEADER, None).json() or {}
    return State.STANDBY if leader.get("leader_address") else State.LEADERLESS


def initialise(transport: Transport, shares: int, threshold: int, *, automatic: bool) -> Keys:
    """Makes the server's root key and root token, which nobody will ever be told again.

    Raises:
        NotYet: there was no answer: the server may or may not be initialised now.
        Refused: it is initialised already, or refuses the numbers.
    """
    kind = "recovery" if automatic else "secret"
    payload = {f"{kind}_shares": shares, f"{kind}_threshold": threshold}
    answer = transport.request(_INIT, None, payload, timeout=INIT_SECONDS)
    body = _body(answer, _INIT)
    token, found = body.get("root_token"), _texts(body.get("keys_base64"))
    if not isinstance(token, str) or not token or (not automatic and len(found) != shares):
        raise errors.unreadable(_INIT, "it lacks root_token or keys_base64")
    return Keys(found, 0 if automatic else threshold, token, _texts(body.get("recovery_keys_base64")))


def unseal(transport: Transport, share: str) -> bool:
    """Shows the server one share; whether it is unsealed now. Raises `NotYet`, or `Refused` when the share is another Vault's."""
    body = _body(transport.request(_UNSEAL, None, {"key": share}), _UNSEAL)
    return body.get("sealed") is False


def failure_tolerance(transport: Transport, token: str) -> int | None:
    """How many servers may be away without Vault being away; None where nobody tells (other storage, a revoked token).

    A server that has joined only listens for its first ten seconds, before it has a vote. Source: /sys/storage/raft/autopilot.
    """
    body = transport.request(_AUTOPILOT, token).json() or {}
    data = body.get("data")
    value = data.get("failure_tolerance") if isinstance(data, dict) else None
    return value if isinstance(value, int) else None


def _body(answer: Answer, call: Call) -> Mapping[str, Any]:
    if answer.status != 200:
        raise _error(answer, call)
    body = answer.json()
    if body is None:
        raise errors.unreadable(call, "its body is not a JSON object")
    return body


def _error(answer: Answer, call: Call) -> PodcertError:
    """As `errors.from_answer`, but a 4xx here is no pod's business."""
    said = errors.words(answer)
    if said is None or answer.status != 400:
        return errors.from_answer(answer, call)
    if call is _UNSEAL:
        message = (
            f"the server does not take the key ({said!r}); are the keys those of another Vault, or of one before it?"
        )
        return Refused("VaultKeyRefused", message)
    return Refused("VaultRefused", f"the server refuses {call}, in its words: {said!r}")


def _number(body: Mapping[str, Any], name: str) -> int:
    value = body.get(name)
    return value if isinstance(value, int) else 0


def _texts(value: object) -> tuple[str, ...]:
    return tuple(item for item in value if isinstance(item, str)) if isinstance(value, list) else ()
