"""Names of Roles, and which Secret's name goes into which of them: the pure half of `roles`.

A ServiceAccount's name is a DNS subdomain (RFC 1123), a Role's a path segment: the colon that separates the Role's number
cannot be part of a ServiceAccount's name, so two ServiceAccounts never share a Role's name (with a hyphen, the second Role
of `web` and the first of `web-2` would).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Final

NAMES_PER_ROLE: Final = 500
"""Secrets in one Role: about 40 kB, far below what etcd holds, and cheap to write again."""
MOST_ROLES: Final = 1000
"""Roles of one ServiceAccount: half a million pods. A higher number was not written here, and counting up to it would not end."""
LONGEST: Final = 200
"""Characters of a ServiceAccount's name that are kept whole."""


def role_name(service_account: str, part: int) -> str:
    """The name of a Role and its binding.

    Args:
        service_account: its name, up to 253 characters; a long one is shortened and hashed.
        part: 1, 2, …

    >>> role_name("web", 1), role_name("web", 2)
    ('podcert-web', 'podcert-web:2')
    """
    name = service_account
    if len(name) > LONGEST:
        name = f"{name[:LONGEST]}:h{hashlib.sha256(name.encode()).hexdigest()[:16]}"
    return f"podcert-{name}" if part == 1 else f"podcert-{name}:{part}"


def part_of(name: str, service_account: str) -> int | None:
    """The number in a Role's name, or None when it is not one that this ServiceAccount's Roles have.

    Anybody who may write Roles in a namespace can give one our label and any name.
    """
    tail = name.rpartition(":")[2]
    part = int(tail) if ":" in name and tail.isascii() and tail.isdigit() else 1
    return part if 1 <= part <= MOST_ROLES and name == role_name(service_account, part) else None


def share_out(
    parts: Mapping[int, frozenset[str]], wanted: Iterable[str], limit: int = NAMES_PER_ROLE
) -> list[tuple[int, frozenset[str]]]:
    """Which names each Role shall hold.

    A name stays where it is; new ones fill the first Roles with room, then further ones. Numbers stay without gaps below
    the highest, so that the Roles can be found by counting: an empty Role in the middle takes names from the last.

    Args:
        parts: what the Roles hold now, by number from 1.
        wanted: what they shall hold together.
        limit: names in one Role.

    Returns:
        (number, names) for each Role that is there or needed, in the order in which they are to be written: those that
        gain names first, so that a name that moves is never in none. Empty names mean: delete it.
    """
    left = set(wanted)
    result: dict[int, set[str]] = {}
    for part in sorted(parts):
        kept = sorted(parts[part] & left)[:limit]
        result[part] = set(kept)
        left -= result[part]
    part = 1
    for name in sorted(left):
        while len(result.setdefault(part, set())) >= limit:
            part += 1
        result[part].add(name)
    _close_gaps(result)
    gains = [number for number in sorted(result) if not result[number] <= parts.get(number, frozenset())]
    # The highest number goes first when Roles are deleted: an interruption leaves no gap.
    others = sorted(set(result) - set(gains), reverse=True)
    return [(number, frozenset(result[number])) for number in [*gains, *others]]


def _close_gaps(result: dict[int, set[str]]) -> None:
    for number in range(1, max(result, default=0)):
        names = result.setdefault(number, set())
        last = max((other for other in result if result[other]), default=0)
        if not names and last > number:
            result[number], result[last] = result[last], set()
