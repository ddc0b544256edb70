"""When a certificate is renewed.

In the flow: decide → *renewal time* → timer. Counted from the moment of issue, not from notBefore, which Vault sets
30 s back (a TTL of 60 s gives a certificate of 90 s). The same arguments always give the same time: a restarted manager
plans what the first one planned.
"""

from __future__ import annotations

import hashlib
from typing import Final

from certmanager.domain.annotations import Annotations
from certmanager.domain.model import Request

EARLIEST: Final = 0.3
"""Part of the lifetime that has passed at least before the jitter, whatever a pod asks: a `renew-before` near or over
the lifetime would otherwise renew without end."""

JITTER: Final = 0.1
"""Part of the waiting time by which the jitter may bring a renewal forward. It never delays one."""

LAST_SECONDS: Final = 10.0
"""Seconds (or a twentieth of a shorter lifetime) that are left at least, whatever a pod asks: time for one retry."""


def due_at(issued_at: float, not_before: float, not_after: float, uid: str, renew_before: float) -> float:
    """The time (seconds since the epoch) from which on the certificate is to be renewed.

    With a lifetime L counted from issue, and the default of a third left: between 0.6 L and 2/3 L after the issue. In
    general never before 0.27 L, never after L minus 10 s (or minus L/20 when that is less).

    Args:
        issued_at: when it was issued by our clock; a time outside the validity is moved to its nearer end.
        not_before, not_after: the certificate's validity, seconds since the epoch.
        uid: the pod's uid, seed of the jitter: pods of one burst do not come due at one moment.
        renew_before: what is left at the renewal: below 1 a fraction of the lifetime, from 1 on seconds.
    """
    start = min(max(issued_at, not_before), not_after)
    lifetime = not_after - start
    if lifetime <= 0:
        return not_after
    return start + longest_wait(lifetime, renew_before) * (1 - JITTER * _spread(uid))


def longest_wait(lifetime: float, renew_before: float) -> float:
    """Seconds from the issue to the renewal, before the jitter that may bring it forward by up to `JITTER` of them."""
    left = renew_before if renew_before >= 1 else renew_before * lifetime
    left = max(left, min(LAST_SECONDS, lifetime / 20))
    return max(lifetime - left, lifetime * EARLIEST)


def renew_before(request: Request) -> float:
    """The request's `renew-before` as `due_at` takes it."""
    return asked_before(request, 1 / 3)


def asked_before(asked: Request | Annotations, default: float) -> float:
    """The same of a request or of annotations; `default`, a fraction, where they say nothing."""
    if asked.renew_before_seconds is not None:
        return float(max(asked.renew_before_seconds, 1))
    return default if asked.renew_before_fraction is None else asked.renew_before_fraction


def _spread(uid: str) -> float:
    """A number in [0, 1), evenly spread over uids and always the same for one."""
    return int.from_bytes(hashlib.sha256(uid.encode()).digest()[:6], "big") / 2**48
