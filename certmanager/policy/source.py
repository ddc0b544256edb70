"""What holds in a namespace now: the settings under the policy that is in force. What the engine asks, and what keeps it right.

In the flow: gather → *source* → decide; and producers → *source* → every pod is looked at again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, Protocol

from certmanager.domain.policy import IdentityPolicy
from certmanager.domain.terms import Defaults
from certmanager.policy.file import PolicyFile

LABELS_SECONDS: Final = 15.0
"""How often the labels of namespaces are read again, when the policy goes by them."""


class Labels(Protocol):
    """The labels of namespaces, remembered."""

    def __call__(self, namespace: str) -> Mapping[str, str]:
        """May raise `NotYet`, `Refused`."""
        ...

    def refresh(self) -> bool:
        """Reads again what is remembered; True when something has changed. Does not raise for a namespace."""
        ...


class TermsSource:
    """Called by workers for each pod; `check` by one thread every few seconds."""

    def __init__(self, settings: Defaults, file: PolicyFile, labels: Labels, monotonic: Callable[[], float]) -> None:
        self._settings = settings
        self._file = file
        self._labels = labels
        self._monotonic = monotonic
        self._next_labels = monotonic() + LABELS_SECONDS
        self._state: tuple[IdentityPolicy, dict[str, Defaults]] = (file.current, {})

    def __call__(self, namespace: str) -> Defaults:
        """What holds in a namespace. Raises `NotYet`, `Refused` when its labels are needed and cannot be read."""
        policy, known = self._state
        found = known.get(namespace)
        if found is None:
            found = known[namespace] = policy.defaults(self._settings, namespace, self._labels)
        return found

    def known(self, namespace: str) -> Defaults | None:
        """The same without a call to anybody, from any thread; None when the namespace's labels would have to be read."""
        policy, known = self._state
        return known.get(namespace) if policy.uses_labels else self(namespace)

    @property
    def mounts(self) -> frozenset[str]:
        """Every mount that certificates may come from."""
        return frozenset({self._settings.mount, *(rule.mount for rule in self._state[0].rules if rule.mount)})

    def check(self) -> bool:
        """Looks at the file and, if they matter, at the labels; True when pods may have to be decided on anew."""
        changed = self._file.check()
        now = self._monotonic()
        if self._file.current.uses_labels and now >= self._next_labels:
            self._next_labels = now + LABELS_SECONDS
            changed = self._labels.refresh() or changed
        if changed:
            # A new dict, never a cleared one: a worker that decided by the old policy still fills the old one.
            self._state = (self._file.current, {})
        return changed
