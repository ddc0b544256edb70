"""One Secret, once: which of its certificates are to be revoked now (domain), Vault is told, and the Secret forgets them.

Idempotent: revoking twice is no error, so what a killed manager had begun is done again. Whatever is still to be done is on
the Secret: the finalizer keeps it from vanishing, the annotation holds what was replaced in it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from certmanager.domain.annotations import parse_annotations
from certmanager.domain.errors import NotFound, NotYet, PodcertError, Refused
from certmanager.domain.model import ENROLL_LABEL, Pod, Rotation, StoredSecret
from certmanager.domain.request import Defaults, rotation_of
from certmanager.domain.revocation import IMPOSSIBLE, Plan, Skip, Target, View, carries, concerns, overdue, plan
from certmanager.domain.revocation_notes import FINALIZER, REVOKED_NOTE, SUPERSEDED_NOTE, OldLeaf, old_leaves_note
from certmanager.domain.supersede import superseded
from certmanager.domain.trust import Trust
from certmanager.engine.clock import Clock
from certmanager.engine.gate import Gate
from certmanager.engine.intake import Intake
from certmanager.engine.keys import RevocationKey
from certmanager.engine.outcome import Outcome
from certmanager.engine.ports import PodReader, Reporter, Revoker, SecretStore
from certmanager.engine.retiring import Retiring
from certmanager.x509.possession import proven

AT_ONCE: Final = 4
"""Revocations at a time: a quarter of the workers, so that certificates for new pods come first."""


@dataclass(frozen=True, slots=True)
class RevocationPorts:
    """The outside, as revoking needs it."""

    revoker: Revoker
    secrets: SecretStore
    pods: PodReader
    reporter: Reporter


@dataclass(frozen=True, slots=True)
class RevocationPolicy:
    """What the administrator decides in a namespace, and what Vault is known to say of a mount's CAs."""

    defaults: Callable[[str], Defaults]
    trust: Callable[[str], Trust | None] = lambda _mount: None


@dataclass(slots=True)
class _Done:
    """What came of a plan: what has to stay on the Secret after all, and the error that says why."""

    keep: list[OldLeaf]
    own_revoked: str | None = None
    own_failed: bool = False
    error: PodcertError | None = None


class RevocationReconciler:
    """Thread-safe as long as no two threads reconcile the same key, which the queue guarantees."""

    def __init__(
        self, intake: Intake, ports: RevocationPorts, retiring: Retiring, clock: Clock, policy: RevocationPolicy
    ) -> None:
        self._intake = intake
        self._store = intake.store
        self._ports = ports
        self._retiring = retiring
        self._clock = clock
        self._policy = policy
        self._gate = Gate[RevocationKey](AT_ONCE)

    def reconcile(self, key: RevocationKey) -> Outcome:
        """Revokes what is to be revoked now. Raises `NotYet`, `Refused`."""
        secret = self._store.secret(key.namespace, key.name)
        if secret is None:
            return Outcome("SecretGone")
        defaults = self._policy.defaults(key.namespace)
        if not concerns(secret, defaults.revoke):
            return Outcome("NothingToRevoke")
        view = self._gather(secret, defaults)
        step = plan(view)
        if not step.revoke:
            return self._finish(view, step, _Done(list(step.keep)))
        if not self._gate.enter(key):
            return Outcome("RevocationQueued")
        try:
            return self._finish(view, step, self._revoke(view, step))
        finally:
            following = self._gate.leave(key)
            if following is not None:
                self._intake.add([following])

    # Gather

    def _gather(self, secret: StoredSecret, defaults: Defaults) -> View:
        pod, enrolled = self._living(secret)
        trust = self._policy.trust(secret.annotations.get("mount", ""))
        return View(
            secret=secret,
            pod=pod,
            enrolled=enrolled,
            when=defaults.revoke,
            rotation=Rotation.RESTART if pod is None else _rotation(pod, defaults),
            overdue=overdue(secret, superseded=superseded(secret, trust) is not None),
            now=self._clock.now(),
        )

    def _living(self, secret: StoredSecret) -> tuple[Pod | None, bool]:
        """The very pod that the Secret is for while it may serve a certificate, and whether it takes part.

        The watch shows labelled pods only, and may be late: before anything of a pod is revoked, the API server is asked
        whether it is really gone.
        """
        pod = self._store.pod(secret.namespace, secret.pod_name)
        if pod is None or pod.uid != secret.pod_uid:
            pod = self._ports.pods.read(secret.namespace, secret.pod_name) if secret.pod_name else None
        if pod is None or pod.uid != secret.pod_uid or pod.finished:
            return None, False
        return pod, pod.labels.get(ENROLL_LABEL) == "true"

    # Act

    def _revoke(self, view: View, step: Plan) -> _Done:
        """Each on its own: one that Vault refuses does not keep the others. When Vault is away, the rest waits with it."""
        done = _Done(list(step.keep))
        for target in step.revoke:
            if isinstance(done.error, NotYet) and done.error.shared:  # the first error: nobody else is asked then
                self._failed(view, target, done, done.error)
                continue
            try:
                certificate = self._certificate(view.secret, target)
                if certificate is None:
                    self._tell_skip(view, Skip(target.serial, "nobody has proved to hold its key", "unproven"))
                    continue
                self._ports.revoker.revoke(target.mount, certificate)
            except (NotYet, Refused) as error:
                self._failed(view, target, done, error)
            else:
                self._succeeded(view, target, done)
        return done

    def _certificate(self, secret: StoredSecret, target: Target) -> str | None:
        """PEM; None when somebody else's certificate was put there. Raises as the port."""
        if target.old is None:
            return self._ports.secrets.certificate(secret)
        found = proven(target.old.certificate, target.old.proof)
        return None if found is None else found.pem

    def _succeeded(self, view: View, target: Target, done: _Done) -> None:
        secret = view.secret
        if target.old is None:
            done.own_revoked = target.serial
        message = f"certificate {target.serial} of pod {secret.pod_name} is revoked ({target.why})"
        self._ports.reporter.revoked(_subject(secret), "revoked", message)
        if view.pod is not None:
            self._ports.reporter.normal(view.pod, "CertificateRevoked", message)

    def _failed(self, view: View, target: Target, done: _Done, error: PodcertError) -> None:
        secret = view.secret
        result = "refused" if isinstance(error, Refused) else "failed"
        # Nothing can change it; that of a living pod's own is told until another certificate is in its place.
        never = error.reason == IMPOSSIBLE and (view.pod is None or target.old is not None)
        # A pod that starts is not kept waiting for hours because Vault's policy forbids to revoke.
        in_the_way = result == "refused" and view.pod is None and self._is_waited_for(secret)
        if never or in_the_way:
            result = "dropped"
        else:
            done.error = done.error or error
            done.own_failed = done.own_failed or target.old is None
            done.keep += [] if target.old is None else [target.old]
        message = f"certificate {target.serial} of pod {secret.pod_name} is not revoked: {error.message}"
        self._ports.reporter.revoked(_subject(secret), result, message)
        if view.pod is not None and result == "refused":
            self._ports.reporter.warning(view.pod, error.reason, message)

    def _is_waited_for(self, secret: StoredSecret) -> bool:
        """Another pod has chosen this Secret's name, and cannot have it before the Secret is gone."""
        return any(
            pod.namespace == secret.namespace
            and pod.annotations.get("secret-name") == secret.name
            and pod.uid != secret.pod_uid
            and not pod.finished
            for pod in self._store.pods()
        )

    def _tell_skip(self, view: View, skip: Skip) -> None:
        message = f"certificate {skip.serial} of pod {view.secret.pod_name} is not revoked: {skip.why}"
        self._ports.reporter.revoked(_subject(view.secret), skip.result, message)

    # Write

    def _finish(self, view: View, step: Plan, done: _Done) -> Outcome:
        secret = view.secret
        for skip in step.skip:
            self._tell_skip(view, skip)
        if step.carry and view.pod is not None:
            olds = tuple(done.keep)
            if carries(secret, view.when):
                olds = self._retiring.with_own(secret, olds)
            self._retiring.stash(view.pod, olds)
        finalizer = step.finalizer or (not step.carry and (bool(done.keep) or done.own_failed))
        self._write(secret, tuple(done.keep), finalizer, None if secret.deleting_since else done.own_revoked)
        if done.error is not None:
            raise done.error
        return Outcome("Revoked" if step.revoke else "NothingToRevoke", step.later_in)

    def _write(self, secret: StoredSecret, keep: tuple[OldLeaf, ...], finalizer: bool, own_revoked: str | None) -> None:
        """One write if anything differs, none otherwise."""
        notes: dict[str, str | None] = {}
        text = old_leaves_note(keep)
        if text != secret.annotations.get(SUPERSEDED_NOTE):
            notes[SUPERSEDED_NOTE] = text
        if own_revoked is not None:
            notes[REVOKED_NOTE] = own_revoked
        others = tuple(name for name in secret.finalizers if name != FINALIZER)
        wanted = (*others, FINALIZER) if finalizer else others
        if not notes and (FINALIZER in secret.finalizers) == finalizer:
            return
        try:
            amended = self._ports.secrets.amend(secret, notes, wanted)
        except NotFound:
            self._store.drop_secret(secret.namespace, secret.name, secret.uid)
            return
        if amended.deleting_since is not None and not wanted:
            self._intake.secrets.delete(amended)
        else:
            self._intake.secrets.upsert(amended)


def _rotation(pod: Pod, defaults: Defaults) -> Rotation:
    """The pod's strategy; of one whose annotations cannot be meant the most careful one."""
    wanted, problems = parse_annotations(pod.annotations)
    return Rotation.RESTART if problems else rotation_of(wanted, pod.delivery.sidecar, defaults)


def _subject(secret: StoredSecret) -> str:
    return f"{secret.namespace}/{secret.name}"
