"""What is to be revoked now, what later, what never, and whether our Secret has to outlive its pod for it.

In the flow: gather → *plan* → Vault → the Secret without what is done. All the state is on the Secret (`revocation_notes`).
A certificate is revoked only when nothing serves it any more, except when somebody asked for it at once. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from certmanager.domain.advice import MOUNT_SECONDS
from certmanager.domain.model import Pod, RevokeWhen, Rotation, StoredSecret
from certmanager.domain.revocation_notes import (
    FINALIZER,
    REVOKE_NOTE,
    SUPERSEDED_NOTE,
    OldLeaf,
    asked,
    old_leaves,
    revoked_already,
)
from certmanager.domain.rotation import one_shot, replaces_pods, same_serial
from certmanager.domain.times import parse_rfc3339

IMPOSSIBLE: Final = "RevocationImpossible"
"""Reason of a refusal that nothing can change: it is not tried again, and keeps no Secret whose pod is gone."""

END_SECONDS: Final = 60.0
"""A certificate that ends within this is left to end: who looks at a CRL or asks by OCSP at all does so at longer intervals."""

HOLD_SECONDS: Final = 3.0
"""A Secret that is deleted while its pod lives is held for this: where a whole namespace goes, its pods follow. Then it may
go, to be made anew, and the new one remembers the certificate of the old."""


@dataclass(frozen=True, slots=True)
class View:
    """All that a plan is made from.

    Attributes:
        secret: ours.
        pod: the very pod that it was made for, by uid, as long as it lives and is not finished; None when it is gone.
        enrolled: the living pod takes part still.
        when: what the administrator asks for in the namespace.
        rotation: the living pod's strategy.
        overdue: the Secret's own certificate was due for replacement when the Secret was deleted.
        now: seconds since the epoch.
    """

    secret: StoredSecret
    pod: Pod | None
    enrolled: bool
    when: frozenset[RevokeWhen]
    rotation: Rotation
    overdue: bool
    now: float


@dataclass(frozen=True, slots=True)
class Target:
    """One certificate that is to be revoked now; `old` is None for the Secret's own."""

    serial: str
    mount: str
    why: str
    old: OldLeaf | None = None


@dataclass(frozen=True, slots=True)
class Skip:
    """One certificate that is not revoked after all; `result` is the metric's label."""

    serial: str
    why: str
    result: str = "skipped"


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be done.

    Attributes:
        revoke: now.
        skip: never.
        keep: old certificates that stay on the Secret until they may be revoked.
        finalizer: whether the Secret carries it once `revoke` is done.
        later_in: seconds until there is more to do; None when only an event can tell.
        carry: the pod lives, and its Secret is to be made anew: `keep`, and what the Secret holds, are for the new one.
    """

    revoke: tuple[Target, ...]
    skip: tuple[Skip, ...]
    keep: tuple[OldLeaf, ...]
    finalizer: bool
    later_in: float | None
    carry: bool = False


def plan(view: View) -> Plan:
    """What is to be done about one Secret. Run again after it was done, it has nothing left to do."""
    revoke: list[Target] = []
    skip: list[Skip] = []
    keep: list[OldLeaf] = []
    waits: list[float] = []
    for old in old_leaves(view.secret):
        if _ends(old.not_after, view.now):
            skip.append(Skip(old.serial, _ENDS))
            continue
        ripe = _ripe_at(old, view)
        if ripe is not None and ripe <= view.now:
            revoke.append(Target(old.serial, old.mount, "asked for" if old.asked else "rotated", old))
        elif _abandoned(view):
            skip.append(Skip(old.serial, "its pod lives and is no longer enrolled"))
        else:
            keep.append(old)
            waits += [] if ripe is None else [ripe - view.now]
    own = _own(view)
    if isinstance(own, Target):
        revoke.append(own)
    elif own is not None:
        skip.append(own)
    held = _held_for(view)
    carry = held is not None and held <= 0
    finalizer = not carry and _holds(view, keep)
    if held is not None and not carry:
        waits.append(held)
    return Plan(tuple(revoke), tuple(skip), tuple(keep), finalizer, min(waits, default=None), carry)


def concerns(secret: StoredSecret, when: frozenset[RevokeWhen]) -> bool:
    """Whether there may be anything to do about a Secret: a key that would find nothing is not put on the queue."""
    if not secret.managed:
        return False
    held = FINALIZER in secret.finalizers
    if secret.deleting_since is not None:
        return held
    notes = secret.annotations
    return held != bool(when) or SUPERSEDED_NOTE in notes or REVOKE_NOTE in notes


def retires(secret: StoredSecret, when: frozenset[RevokeWhen]) -> bool:
    """Whether the certificate in a Secret that is about to be replaced is to be remembered, to be revoked later."""
    return _revocable(secret) and (RevokeWhen.ROTATED in when or asked(secret)[0])


def carries(secret: StoredSecret, when: frozenset[RevokeWhen]) -> bool:
    """The same of a Secret that was deleted under its living pod, and is to be made anew."""
    return _revocable(secret) and (bool(when) or asked(secret)[0])


_ENDS: Final = f"it ends within {END_SECONDS:.0f} s, or has ended"


def _revocable(secret: StoredSecret) -> bool:
    return secret.bundle is not None and secret.bundle.key_fits and not revoked_already(secret)


def _ends(not_after: float, now: float) -> bool:
    return not not_after - now > END_SECONDS  # also for NaN, which JSON can hold


def _abandoned(view: View) -> bool:
    """The Secret is to go, and its pod lives on without us: nobody will tell when its certificate is out of use."""
    return view.secret.deleting_since is not None and view.pod is not None and not view.enrolled


def _held_for(view: View) -> float | None:
    """Seconds for which a Secret that was deleted under its living pod is held still; None when it is not such a one."""
    pod, since = view.pod, view.secret.deleting_since
    if since is None or pod is None or pod.deleting or not view.enrolled:
        return None
    return since + HOLD_SECONDS - view.now


def _ripe_at(old: OldLeaf, view: View) -> float | None:
    """From when on nothing serves an old certificate any more; None when that takes an event of the pod."""
    pod = view.pod
    if pod is None:
        return view.now
    if one_shot(pod) and view.secret.name not in pod.delivery.mounts:
        serves = pod.delivery.served_serial
        return None if serves is None or same_serial(serves, old.serial) else view.now
    if pod.delivery.sidecar:
        return None if pod.delivery.reload_problem is not None else old.since + MOUNT_SECONDS
    if replaces_pods(view.rotation):
        return None  # the application read the mounted files at its start: it serves them until its pod is replaced
    return old.since + MOUNT_SECONDS


def _own(view: View) -> Target | Skip | None:
    """The Secret's own certificate: when its pod is gone and the Secret with it, or when somebody asks for it at once."""
    secret, bundle = view.secret, view.secret.bundle
    named, at_once = asked(secret)
    leaving = secret.deleting_since is not None and FINALIZER in secret.finalizers
    gone = leaving and (view.pod is None or (named and _abandoned(view)))
    rotated = RevokeWhen.ROTATED in view.when and view.overdue
    why = "asked for" if named else "deleted" if RevokeWhen.DELETED in view.when else "rotated" if rotated else None
    if why is None or not (gone or at_once) or revoked_already(secret):
        return None
    skip = None
    if bundle is None or not bundle.key_fits:
        serial = secret.annotations.get("serial", "unknown")
        skip = Skip(serial, "the Secret does not hold the key of the certificate any more", "unproven")
    elif _ends(bundle.leaf.not_after, view.now):
        skip = Skip(bundle.leaf.serial, _ENDS)
    if skip is not None or bundle is None:
        return skip if gone else None  # one whose pod lives is replaced in any case, and told then
    return Target(bundle.leaf.serial, secret.annotations.get("mount", ""), why)


def _holds(view: View, keep: list[OldLeaf]) -> bool:
    """Whether the Secret may not vanish yet once everything that is due is done."""
    secret = view.secret
    if secret.deleting_since is None:
        return bool(view.when) or bool(keep) or (asked(secret)[0] and not revoked_already(secret))
    return view.pod is not None and not _abandoned(view)


def overdue(secret: StoredSecret, *, superseded: bool) -> bool:
    """Whether the Secret's own certificate was due for replacement when the Secret was deleted: then it was rotated."""
    due = parse_rfc3339(secret.annotations.get("renewal-at", ""))
    return superseded or (due is not None and secret.deleting_since is not None and secret.deleting_since >= due)
