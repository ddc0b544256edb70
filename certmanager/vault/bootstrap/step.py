"""What a step is: the reads it needs, and a pure decision from their answers to at most one write.

In the flow: plan → steps → gather all reads → *decide*, all of them, before the first write → write. A step knows
the CLI's command for its write, so that what is done and what `--dry-run` prints cannot drift apart unseen.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from certmanager.vault.bootstrap import commands
from certmanager.vault.bootstrap.compare import Difference, Value, differences
from certmanager.vault.bootstrap.options import Duration
from certmanager.vault.errors import Call

Found = Mapping[Call, Mapping[str, Any] | None]
"""The `data` of each read's answer; None when there is nothing at that path (404)."""


@dataclass(frozen=True, slots=True)
class Write:
    """One request, and the command that does the same. The repr leaves the body out: it may hold a reviewer token."""

    call: Call
    payload: Mapping[str, object] = field(repr=False)
    command: str
    sudo: bool = False


@dataclass(frozen=True, slots=True)
class Decision:
    """What a step found: nothing to do (`write` None), or what differs and the write that repairs it."""

    differences: tuple[Difference, ...] = ()
    write: Write | None = None


@dataclass(frozen=True, slots=True)
class Step:
    """One thing in Vault. `decide` raises `Refused` when only a person can bring it about."""

    name: str
    reads: tuple[Call, ...]
    decide: Callable[[Found], Decision]


UNCHANGED = Decision()


def payload(values: Mapping[str, Value]) -> dict[str, object]:
    """Fields as JSON for the API."""
    return {name: str(value) if isinstance(value, Duration) else value for name, value in values.items()}


def merged(
    name: str, path: str, wanted: Mapping[str, Value], *, patch: bool = False, always: Sequence[str] = ()
) -> Step:
    """A thing of fields at `path`, of which only those of `wanted` are set; the others stay as they are.

    `patch`: whether a write replaces the whole (as with PKI roles), so that only a PATCH changes some of it. Where
    it does not (token roles, auth methods' roles) Vault itself keeps what a write does not name, but for the fields in
    `always`: every write repeats them.
    """
    read = Call("GET", path)

    def decide(found: Found) -> Decision:
        data = found[read]
        differing = differences(wanted, data)
        if not differing:
            return UNCHANGED
        if data is None:
            write = Write(Call("POST", path), payload(wanted), commands.fields("write", path, wanted))
            return Decision(differing, write)
        changed = {item.field for item in differing} | set(always)
        changes = {field: value for field, value in wanted.items() if field in changed}
        method, verb = ("PATCH", "patch") if patch else ("POST", "write")
        return Decision(differing, Write(Call(method, path), payload(changes), commands.fields(verb, path, changes)))

    return Step(name, (read,), decide)
