"""What a Secret says of revocation: what somebody asks for, what is done, and the certificates that were replaced in it.

The state that `revocation` plans from. The finalizer keeps a Secret until its certificate is revoked, and the annotation
`podcert.io/superseded` holds the certificates that were replaced in it. Pure; what somebody may have written there is read
strictly.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Final

from certmanager.domain.model import PREFIX, StoredSecret
from certmanager.domain.rotation import same_serial

FINALIZER: Final = PREFIX + "revoke"
"""On our Secrets where revocation is asked for: the API server keeps them until we have revoked and taken it away."""

REVOKE_NOTE: Final = "revoke"
"""Annotation: `<serial>`, or `<serial>,now`: somebody asks for the revocation of that certificate."""
RENEW_NOTE: Final = "renew"
"""Annotation: `<serial>`: somebody asks for a new certificate in the place of that one."""
REVOKED_NOTE: Final = "revoked"
"""Annotation: `<serial>` of the Secret's own certificate, which is revoked already."""
SUPERSEDED_NOTE: Final = "superseded"
"""Annotation: the certificates that were replaced in the Secret and are not revoked yet (JSON)."""

MAX_OLD: Final = 8
"""Certificates that wait in one Secret. More come only while Vault issues and forbids to revoke; the one that ends first goes."""

MAX_NOTE: Final = 64 * 1024
"""Characters of the annotation that are looked at: eight certificates have half of that at most (RSA, 4096 bits)."""


@dataclass(frozen=True, slots=True)
class OldLeaf:
    """A certificate that was replaced in its Secret.

    Attributes:
        serial: lower-case hex with colons.
        mount: the PKI mount that it comes from.
        not_after, since: its end, and when it was replaced; seconds since the epoch.
        certificate: its DER in base64.
        proof: signature by its own key in base64: nobody can have another one's certificate revoked by writing it here.
        asked: somebody asked for its revocation; else the administrator's setting does.
    """

    serial: str
    mount: str
    not_after: float
    since: float
    certificate: str
    proof: str
    asked: bool = False


def asked(secret: StoredSecret) -> tuple[bool, bool]:
    """Whether somebody asks for the revocation of the Secret's own certificate, and whether at once.

    A request names the serial; one for a certificate that has been replaced since asks for nothing.
    """
    serial, _, how = secret.annotations.get(REVOKE_NOTE, "").partition(",")
    named = _is_own(serial, secret)
    return named, named and how.strip() == "now"


def revoked_already(secret: StoredSecret) -> bool:
    """The Secret's own certificate is revoked."""
    return _is_own(secret.annotations.get(REVOKED_NOTE, ""), secret)


def renewal_asked(secret: StoredSecret) -> bool:
    """Somebody asks for another certificate in the place of the Secret's own."""
    return _is_own(secret.annotations.get(RENEW_NOTE, ""), secret)


def remembered(olds: tuple[OldLeaf, ...], new: OldLeaf) -> tuple[tuple[OldLeaf, ...], tuple[OldLeaf, ...]]:
    """The list with one more, and what had to leave it: those that end first."""
    every = [old for old in olds if not same_serial(old.serial, new.serial)] + [new]
    stay = sorted(every, key=lambda old: old.not_after)[-MAX_OLD:]
    return tuple(old for old in every if old in stay), tuple(old for old in every if old not in stay)


def old_leaves(secret: StoredSecret) -> tuple[OldLeaf, ...]:
    """What the annotation holds. Somebody may have written nonsense there: what is none of ours is left out."""
    text = secret.annotations.get(SUPERSEDED_NOTE, "")
    if not text or len(text) > MAX_NOTE:
        return ()
    try:
        items = json.loads(text)
    except (ValueError, RecursionError):
        return ()
    found = [_old_leaf(item) for item in items] if isinstance(items, list) else []
    return tuple(old for old in found if old is not None)[:MAX_OLD]


def old_leaves_note(olds: tuple[OldLeaf, ...]) -> str | None:
    """The annotation's text; None without any, and then there is no such annotation."""
    return json.dumps([asdict(old) for old in olds], separators=(",", ":")) if olds else None


def _is_own(serial: str, secret: StoredSecret) -> bool:
    return secret.bundle is not None and bool(serial) and same_serial(serial, secret.bundle.leaf.serial)


_KINDS: Final[Mapping[str, type | tuple[type, ...]]] = {"not_after": (int, float), "since": (int, float), "asked": bool}


def _old_leaf(item: object) -> OldLeaf | None:
    names = {field.name for field in fields(OldLeaf)}
    if not isinstance(item, dict) or not names - {"asked"} <= item.keys() <= names:
        return None
    for name, value in item.items():
        if not isinstance(value, _KINDS.get(name, str)) or (name != "asked" and isinstance(value, bool)):
            return None
    return OldLeaf(**item)
