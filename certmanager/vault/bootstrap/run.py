"""Does a plan: all reads, all decisions, then the writes in order, then all reads again to see that they took.

In the flow: the last of plan → steps → *run*. Nothing is written before everything is known to be possible: that each step
can decide, and that the token may do what they decided.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator
from dataclasses import dataclass

from certmanager.domain.errors import Refused
from certmanager.vault.bootstrap.api import Admin
from certmanager.vault.bootstrap.compare import Difference
from certmanager.vault.bootstrap.logins import role_id
from certmanager.vault.bootstrap.plan import BootstrapPlan
from certmanager.vault.bootstrap.secret_id_file import SecretIdStep
from certmanager.vault.bootstrap.step import Decision, Step
from certmanager.vault.bootstrap.steps import steps
from certmanager.vault.bootstrap.token_file import TokenStep


class Status(enum.Enum):
    """What became of a step."""

    OK = "ok"
    CHANGED = "changed"
    WOULD_CHANGE = "would change"


@dataclass(frozen=True, slots=True)
class Result:
    """One step's end. `command` is the CLI's, None when nothing differs; `value` what Vault chose and somebody needs."""

    name: str
    status: Status
    differences: tuple[Difference, ...] = ()
    command: str | None = None
    value: str | None = None


def run(plan: BootstrapPlan, admin: Admin, *, dry_run: bool) -> Iterator[Result]:
    """Brings about what `plan` wants, or with `dry_run` only says what it would do; one result a step, as it is done.

    Raises:
        NotYet: Vault is away, sealed or busy; the same again later goes on where this ended.
        Refused: something that only a person can change, or Vault refuses.
    """
    ordered = steps(plan)
    decided = _decide(ordered, admin)
    last = _file_step(plan, admin)
    last_decision = last.decide() if last else None
    writes = [decision.write for _, decision in decided if decision.write is not None]
    if not dry_run:
        admin.require(writes + ([last_decision.write] if last_decision and last_decision.write else []))
    for step, decision in decided:
        if decision.write is not None and not dry_run:
            admin.write(decision.write.call, decision.write.payload)
        yield _result(step.name, decision, dry_run=dry_run)
    if writes and not dry_run:
        _confirm(ordered, admin)
    if last and last_decision:
        if last_decision.write is not None and not dry_run:
            last.write(last_decision.write)
        yield _result(last.name, last_decision, dry_run=dry_run)
    if plan.auth == "approle":
        yield from _role_id(plan, admin)


def _file_step(plan: BootstrapPlan, admin: Admin) -> TokenStep | SecretIdStep | None:
    """The step that ends in a file, not in Vault."""
    if plan.token_file is not None:
        return TokenStep(plan, admin)
    return SecretIdStep(plan, admin) if plan.secret_id_file is not None else None


def _role_id(plan: BootstrapPlan, admin: Admin) -> Iterator[Result]:
    """What the manager is told as PODCERT_AUTH_ROLE_ID; nothing when a dry run has made no role."""
    read = role_id(plan)
    found = (admin.read_all([read])[read] or {}).get("role_id")
    if isinstance(found, str):
        yield Result(f"role-id of AppRole {plan.auth_role}", Status.OK, value=found)


def _decide(ordered: tuple[Step, ...], admin: Admin) -> list[tuple[Step, Decision]]:
    found = admin.read_all(call for step in ordered for call in step.reads)
    return [(step, step.decide(found)) for step in ordered]


def _confirm(ordered: tuple[Step, ...], admin: Admin) -> None:
    """Vault accepts fields that it does not know, and shortens others, without an error: only reading tells."""
    for step, decision in _decide(ordered, admin):
        if decision.write is not None:
            raise Refused(
                "VaultKeptOtherwise",
                f"{step.name} was written, and Vault keeps it otherwise ({'; '.join(map(str, decision.differences))}): does this "
                "version of the server know the field, or does somebody else change it?",
            )


def _result(name: str, decision: Decision, *, dry_run: bool) -> Result:
    if decision.write is None:
        return Result(name, Status.OK)
    status = Status.WOULD_CHANGE if dry_run else Status.CHANGED
    return Result(name, status, decision.differences, decision.write.command)
