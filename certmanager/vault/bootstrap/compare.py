"""How a field that is wanted compares with what Vault says it is, and how both are shown.

Vault normalises what it is told: durations come back as seconds, comma-separated text as lists, lists in any order, unset
ones as null or empty. Two values are the same when Vault would act the same by them. Pure.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from certmanager.domain.names import parse_duration
from certmanager.domain.problems import RuleError
from certmanager.vault.bootstrap.options import Duration

Value = bool | int | str | Duration | tuple[str, ...]
"""A field's desired value; a tuple is a list whose order does not matter."""


@dataclass(frozen=True, slots=True)
class Difference:
    """One field that is not as it should be. Both values are one line of printable ASCII, whatever Vault holds."""

    field: str
    found: str
    wanted: str

    def __str__(self) -> str:
        return f"{self.field}: {self.found} → {self.wanted}"


def differences(wanted: Mapping[str, Value], found: Mapping[str, object] | None) -> tuple[Difference, ...]:
    """The fields of `wanted` that `found` (None: the thing is not there) has otherwise; others are not looked at."""
    if found is None:
        return tuple(Difference(name, "absent", shown(value)) for name, value in wanted.items())
    return tuple(
        Difference(name, shown(normalised(value, found.get(name))), shown(value))
        for name, value in wanted.items()
        if not same(value, found.get(name))
    )


def same(wanted: Value, found: object) -> bool:
    """Whether Vault acts the same by both. An unset field is false, empty, zero."""
    value = normalised(wanted, found)
    if isinstance(wanted, tuple) and isinstance(value, tuple):
        return set(wanted) == set(value)
    return type(value) is type(wanted) and value == wanted


def normalised(wanted: Value, found: object) -> object:
    """`found` in the type of `wanted`, or as it is when it cannot be that."""
    if isinstance(wanted, bool):
        return _bool(found)
    if isinstance(wanted, Duration):
        return _duration(found)
    if isinstance(wanted, tuple):
        return _list(found)
    if isinstance(wanted, int):
        return int(found) if isinstance(found, str) and found.isdecimal() else found or 0
    return "" if found is None else found.strip() if isinstance(found, str) else found


def shown(value: object) -> str:
    """One line of printable ASCII: words as they are, everything else as JSON."""
    if value is None:
        return "unset"
    if isinstance(value, Duration):
        return str(value)
    if isinstance(value, tuple):
        return json.dumps(list(value), default=str)
    if isinstance(value, str) and value.isascii() and value.isprintable() and value:
        return value
    return json.dumps(value, default=str)


def _bool(found: object) -> object:
    if found is None or found in ("", "false"):
        return False
    return True if found == "true" else found


def _duration(found: object) -> object:
    if found in (None, "", 0, "0", "0s"):
        return Duration(0)
    if isinstance(found, int | float) and not isinstance(found, bool):
        return Duration(int(found))
    try:
        return Duration(parse_duration(str(found)))
    except RuleError:
        return found


def _list(found: object) -> object:
    if found is None or found == "":
        return ()
    if isinstance(found, str):
        return tuple(part.strip() for part in found.split(",") if part.strip())
    return tuple(str(item) for item in found) if isinstance(found, list | tuple) else found
