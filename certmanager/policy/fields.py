"""The keys of a policy's rule, and how the value of each is read. Part of `parse`; the docs' table names the same keys."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from certmanager.domain.limits import parse_dns_grant, parse_network, parse_uri_grant, parse_wildcard_grant
from certmanager.domain.model import KeyType, Mode, RevokeWhen, Rotation
from certmanager.domain.names import parse_duration, parse_issuer, parse_role
from certmanager.domain.problems import RuleError

_NAME: Final = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
_NAMESPACE: Final = re.compile(r"[a-z0-9*-]{1,63}")
_LABEL_NAME: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?")
_LABEL_PREFIX: Final = re.compile(r"[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?")


def parse_rule_name(text: str) -> str:
    """The name of a rule, for messages. Raises `RuleError`."""
    if not _NAME.fullmatch(text):
        raise RuleError("must be a-z, 0-9 and '-', at most 63 characters, and begin and end with a letter or digit")
    return text


def _namespace(text: str) -> str:
    if not _NAMESPACE.fullmatch(text):
        raise RuleError("must be a namespace's name, in which '*' stands for any number of characters")
    return text


def _label(key: str, value: str) -> None:
    """A label's key and value, as Kubernetes has them (https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/)."""
    prefix, slash, name = key.rpartition("/")
    if not _LABEL_NAME.fullmatch(name) or (slash and not _LABEL_PREFIX.fullmatch(prefix)):
        raise RuleError("must have the key of a label", "such as team or example.com/team")
    if value and not _LABEL_NAME.fullmatch(value):
        raise RuleError("must have the value of a label: letters, digits, '-', '_' and '.', at most 63 characters")


def _choice(kind: type[Mode] | type[KeyType] | type[Rotation] | type[RevokeWhen]) -> Callable[[str], Any]:
    members = {str(member): member for member in kind}

    def parse(text: str) -> object:
        if text not in members:
            raise RuleError(f"must be one of {', '.join(members)}")
        return members[text]

    return parse


LISTS: Final[Mapping[str, Callable[[str], Any]]] = {
    "namespaces": _namespace,
    "modes": _choice(Mode),
    "roles": parse_role,
    "key_types": _choice(KeyType),
    "rotations": _choice(Rotation),
    "revoke": _choice(RevokeWhen),
}
MAY_BE_EMPTY: Final = frozenset({"roles", "revoke"})
"""Lists that say something when they are empty: none at all."""
MAPPINGS: Final[Mapping[str, Callable[[str, str], None]]] = {"namespace_labels": _label}
SCALARS: Final[Mapping[str, Callable[[str], Any]]] = {
    "mount": parse_role,
    "sign_role": parse_role,
    "issue_role": parse_role,
    "issuer": parse_issuer,
    "ttl": parse_duration,
    "min_ttl": parse_duration,
    "max_ttl": parse_duration,
}
GRANTS: Final[Mapping[str, tuple[str, Callable[[str], Any]]]] = {
    "dns_names": ("dns", parse_dns_grant),
    "wildcards": ("wildcards", parse_wildcard_grant),
    "ip_ranges": ("networks", parse_network),
    "uris": ("uris", parse_uri_grant),
}
"""By key: the attribute of `Grants`, and how an entry is read."""
