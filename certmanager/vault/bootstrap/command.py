"""`podcert bootstrap` behind its options: environment and options in, lines and an exit code out.

Exit codes: 0 everything is as wanted, 1 it failed, 2 wrong usage. A dry run's text is a shell script: every line that is not
a command is a comment, and values from Vault are shown as one line of ASCII, so that pasting it runs what is meant.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from certmanager.console import Console
from certmanager.domain.errors import NotYet, PodcertError
from certmanager.vault.bootstrap import environment as env
from certmanager.vault.bootstrap.api import Admin
from certmanager.vault.bootstrap.plan import OptionError, from_options
from certmanager.vault.bootstrap.run import Result, Status, run
from certmanager.vault.transport import Transport

Print = Callable[[str], None]


def main(options: Mapping[str, object], console: Console, *, dry_run: bool, as_json: bool) -> int:
    """Runs the command; returns its exit code."""
    try:
        plan = from_options(options)
        config = env.vault_config(console.environment)
        token, source = env.admin_token(console.environment, console.home)
        transport = Transport(config)
    except OptionError as error:
        console.err(f"podcert bootstrap: the options cannot be used:\n{error}")
        return 2
    except ValueError as error:
        console.err(f"podcert bootstrap: {error}")
        return 2
    report = JsonReport(console.out, transport.address, dry_run) if as_json else TextReport(console.out, dry_run)
    try:
        for result in run(plan, Admin(transport, token, source), dry_run=dry_run):
            report.add(result)
    except PodcertError as error:
        report.end(error)
        again = "; what was done is kept, run it again" if isinstance(error, NotYet) else ""
        console.err(f"podcert bootstrap: {error.message}{again}")
        return 1
    finally:
        transport.close()
    report.end(None)
    return 0


def summary(results: Iterable[Result]) -> str:
    """`N changed, M unchanged`, or `N would change, M unchanged`."""
    statuses = [result.status for result in results]
    would = statuses.count(Status.WOULD_CHANGE)
    changed = f"{would} would change" if would else f"{statuses.count(Status.CHANGED)} changed"
    return f"{changed}, {statuses.count(Status.OK)} unchanged"


class TextReport:
    """Lines, as the steps are done."""

    def __init__(self, out: Print, dry_run: bool) -> None:
        self._out = out
        self._prefix = "# " if dry_run else ""
        self._results: list[Result] = []

    def add(self, result: Result) -> None:
        self._results.append(result)
        value = "" if result.value is None else f": {_one_line(result.value)}"
        self._out(f"{self._prefix}{result.status.value:<12} {_one_line(result.name)}{value}")
        for difference in result.differences:
            self._out(f"{self._prefix}{'':<12}   {_one_line(str(difference))}")
        if result.command is not None and result.status is Status.WOULD_CHANGE:
            self._out(result.command)

    def end(self, error: PodcertError | None) -> None:
        if error is None:
            self._out(f"{self._prefix}{summary(self._results)}")


class JsonReport:
    """One document at the end, also of what was done before an error."""

    def __init__(self, out: Print, address: str, dry_run: bool) -> None:
        self._out = out
        self._head: dict[str, Any] = {"server": address, "dryRun": dry_run}
        self._results: list[Result] = []

    def add(self, result: Result) -> None:
        self._results.append(result)

    def end(self, error: PodcertError | None) -> None:
        changed = sum(result.status is not Status.OK for result in self._results)
        document = self._head | {
            "changed": changed,
            "unchanged": len(self._results) - changed,
            "steps": [_document(result) for result in self._results],
            "error": None if error is None else {"reason": error.reason, "message": error.message},
        }
        self._out(json.dumps(document, indent=2))


def _document(result: Result) -> dict[str, Any]:
    return {
        "name": result.name,
        "status": result.status.value,
        "differences": [
            {"field": item.field, "is": item.found, "shouldBe": item.wanted} for item in result.differences
        ],
        "command": result.command,
        "value": result.value,
    }


def _one_line(text: str) -> str:
    """A file's name may hold a line end: it must not begin a line of its own in a script that is pasted."""
    return "".join(char if char.isprintable() else "?" for char in text)
