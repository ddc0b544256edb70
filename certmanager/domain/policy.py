"""The administrator's policy: ordered rules, of which the first one that fits a pod's namespace says what its pods may have.

In the flow: *policy* → limits → request. Pure: it is read from a file by `certmanager.policy`. A rule narrows or widens
what the settings say for the namespaces that it matches; only the administrator writes it, and nothing in a pod's own
metadata takes part in choosing it. Where no rule fits, the settings stand, and a pod has its own names only.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase

from certmanager.domain.limits import Grants, Limits
from certmanager.domain.model import KeyType, Mode, RevokeWhen, Rotation
from certmanager.domain.request import Defaults

NamespaceLabels = Callable[[str], Mapping[str, str]]
"""The labels of a namespace. Asked only when a rule goes by labels. May raise `NotYet`, `Refused`, `NotFound`."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule. What is None or empty stays as the settings have it.

    Attributes:
        name: for messages; unique in a policy.
        namespaces: names, with `*` for any number of characters; empty: every namespace.
        namespace_labels: labels that the namespace has to carry, all of them.
        enroll: False: these namespaces get no certificates.
        mount, sign_role, issue_role: where their certificates come from.
        issuer: name or id of the mount's issuer that signs; None: as in the settings, in the settings' own mount.
        roles: Vault roles that pods may choose beside those of the two modes; None: as in the settings.
        modes, key_types, rotations: the allowed ones; the first is the default unless the settings' own is among them.
        ttl: the default lifetime in seconds.
        min_ttl, max_ttl: bounds of the lifetime in seconds.
        grants: names beside the pods' own.
        revoke: which certificates are to be revoked before their end; None: as in the settings, empty: none.
    """

    name: str
    namespaces: tuple[str, ...] = ()
    namespace_labels: Mapping[str, str] = field(default_factory=dict)
    enroll: bool = True
    mount: str | None = None
    sign_role: str | None = None
    issue_role: str | None = None
    roles: tuple[str, ...] | None = None
    modes: tuple[Mode, ...] = tuple(Mode)
    key_types: tuple[KeyType, ...] = tuple(KeyType)
    rotations: tuple[Rotation, ...] = tuple(Rotation)
    ttl: int | None = None
    min_ttl: int | None = None
    max_ttl: int | None = None
    grants: Grants = field(default_factory=Grants)
    revoke: tuple[RevokeWhen, ...] | None = None
    issuer: str | None = None

    def fits(self, namespace: str, labels: NamespaceLabels) -> bool:
        """Whether the rule is for a namespace; its labels are asked for only if everything else fits."""
        if self.namespaces and not any(fnmatchcase(namespace, pattern) for pattern in self.namespaces):
            return False
        return not self.namespace_labels or self.namespace_labels.items() <= labels(namespace).items()

    def apply(self, settings: Defaults) -> Defaults:
        """The settings as they are for the rule's namespaces."""
        sign_role = self.sign_role or settings.sign_role
        issue_role = self.issue_role or settings.issue_role
        by_mode = {Mode.SIGN: sign_role, Mode.ISSUE: issue_role}
        further = settings.further_roles if self.roles is None else frozenset(self.roles)
        return replace(
            settings,
            mode=settings.mode if settings.mode in self.modes else self.modes[0],
            key_type=settings.key_type if settings.key_type in self.key_types else self.key_types[0],
            rotation=settings.rotation if settings.rotation in self.rotations else self.rotations[0],
            mount=self.mount or settings.mount,
            issuer=self.issuer or (settings.issuer if self.mount in (None, settings.mount) else None),
            sign_role=sign_role,
            issue_role=issue_role,
            roles=further | {by_mode[mode] for mode in self.modes},
            ttl=self._ttl(settings.ttl),
            revoke=settings.revoke if self.revoke is None else frozenset(self.revoke),
            limits=Limits(
                rule=self.name,
                consulted=f"rule {self.name} of the policy",
                enroll=self.enroll,
                modes=self.modes,
                key_types=self.key_types,
                rotations=self.rotations,
                min_ttl=self.min_ttl,
                max_ttl=self.max_ttl,
                grants=self.grants,
            ),
        )

    def _ttl(self, configured: int | None) -> int | None:
        """The default lifetime. With an upper bound there always is one: Vault's own default could be longer."""
        ttl = self.ttl or configured or self.max_ttl
        if ttl is None:
            return None
        return min(max(ttl, self.min_ttl or ttl), self.max_ttl or max(ttl, self.min_ttl or ttl))


@dataclass(frozen=True, slots=True)
class IdentityPolicy:
    """The rules in their order. `given` is False without a policy file: then the settings alone decide."""

    rules: tuple[Rule, ...] = ()
    given: bool = False

    @property
    def uses_labels(self) -> bool:
        """A rule goes by namespace labels."""
        return any(rule.namespace_labels for rule in self.rules)

    def defaults(self, settings: Defaults, namespace: str, labels: NamespaceLabels) -> Defaults:
        """What holds for the pods of a namespace. Raises what `labels` raises."""
        for rule in self.rules:
            if rule.fits(namespace, labels):
                return rule.apply(settings)
        if not self.given:
            return settings
        return replace(settings, limits=Limits(consulted=f"no rule of the policy matches namespace {namespace}"))
