"""What a new certificate's Secret remembers of the one before it, where that is to be revoked.

In the flow: decide → make → *remember* → one write. The certificate that is replaced goes into the same write as the new one, so
that nothing is lost between the two; `reconcile_revocation` takes it from there when nobody serves it any more.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from certmanager.domain.errors import Refused
from certmanager.domain.model import Pod, SecretWrite, StoredSecret
from certmanager.domain.request import Defaults
from certmanager.domain.revocation import retires
from certmanager.domain.revocation_notes import (
    FINALIZER,
    SUPERSEDED_NOTE,
    OldLeaf,
    asked,
    old_leaves,
    old_leaves_note,
    remembered,
)
from certmanager.engine.clock import Clock
from certmanager.engine.ports import Reporter, SecretStore

STASHES: Final = 1024
"""Secrets that were deleted under their living pods and are about to be made anew: what they held is kept for so many."""


@dataclass(frozen=True, slots=True)
class _Taken:
    """What was there before."""

    olds: tuple[OldLeaf, ...]
    finalizers: tuple[str, ...] = ()


class Retiring:
    """Thread-safe.

    Args:
        secrets: where a certificate is read again before it is replaced, with its key.
        reporter: where a certificate that has to be forgotten is told.
        clock: when it was replaced.
        defaults: what holds in a namespace. May raise `NotYet`, `Refused`.
    """

    def __init__(
        self, secrets: SecretStore, reporter: Reporter, clock: Clock, defaults: Callable[[str], Defaults]
    ) -> None:
        self._secrets = secrets
        self._reporter = reporter
        self._clock = clock
        self._defaults = defaults
        self._lock = threading.Lock()
        self._stash: OrderedDict[str, tuple[OldLeaf, ...]] = OrderedDict()

    def before(self, pod: Pod, old: StoredSecret | None) -> Callable[[SecretWrite], SecretWrite]:
        """Looks at what is about to be replaced; what it returns puts that into the write.

        Called before Vault is asked: what cannot be read now is tried again, and no certificate is made in vain. No call at
        all where nothing is to be revoked. Raises `Conflict`, `NotFound`, `NotYet`, `Refused`.
        """
        when = self._defaults(pod.namespace).revoke
        taken = self._stashed(pod) if old is None else _Taken(old_leaves(old), old.finalizers)
        if old is not None and retires(old, when):
            taken = replace(taken, olds=self.with_own(old, taken.olds))
        others = tuple(name for name in taken.finalizers if name != FINALIZER)
        finalizers = (*others, FINALIZER) if when or taken.olds else others
        note = old_leaves_note(taken.olds)

        def put(write: SecretWrite) -> SecretWrite:
            notes = write.annotations if note is None else {**write.annotations, SUPERSEDED_NOTE: note}
            return replace(write, annotations=notes, finalizers=finalizers)

        return put

    def with_own(self, secret: StoredSecret, olds: tuple[OldLeaf, ...]) -> tuple[OldLeaf, ...]:
        """The list with the Secret's own certificate. Raises `Conflict`, `NotFound`, `NotYet`, `Refused`."""
        if secret.bundle is None:
            return olds
        leaf = secret.bundle.leaf
        subject = f"{secret.namespace}/{secret.name}"
        try:
            certificate, proof = self._secrets.retire(secret)
        except Refused as error:
            if error.reason != "CertificateUnreadable":
                raise
            self._reporter.revoked(subject, "unproven", f"{leaf.serial} is not remembered: {error.message}")
            return olds
        mount = secret.annotations.get("mount", "")
        new = OldLeaf(leaf.serial, mount, leaf.not_after, self._clock.now(), certificate, proof, asked(secret)[0])
        stay, lost = remembered(olds, new)
        for each in lost:
            message = (
                f"{each.serial} is not revoked: too many certificates of this Secret wait for it; see why they wait"
            )
            self._reporter.revoked(subject, "dropped", message)
        return stay

    def stash(self, pod: Pod, olds: tuple[OldLeaf, ...]) -> None:
        """Keeps what a Secret held that is about to vanish under its living pod, for the one that is made anew."""
        with self._lock:
            self._stash[pod.uid] = olds
            self._stash.move_to_end(pod.uid)
            while len(self._stash) > STASHES:
                self._stash.popitem(last=False)

    def _stashed(self, pod: Pod) -> _Taken:
        with self._lock:
            return _Taken(self._stash.get(pod.uid, ()))
