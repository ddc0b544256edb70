"""A pytest plugin: what is left out is counted and named at the end of the run, and in CI nothing may be left out.

A green run that has quietly skipped the real cluster says nothing. With CI=true every skip is a failure instead, whoever
asked for it.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Generator
from typing import NoReturn

import pytest

PREFIX = "needs "


def leave_out(what: str, reason: str) -> NoReturn:
    """Leave the running test out.

    Args:
        what: what it needs and does not have here, such as "a node".
        reason: why it is not here, and how to get it.
    """
    pytest.skip(f"{PREFIX}{what}: {reason}")


def nothing_may_be_left_out() -> bool:
    """Say whether this is CI."""
    return os.environ.get("CI", "").lower() in {"1", "true"}


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """In CI, make a failure of a skip. What is expected to fail (xfail) is reported as skipped too, and stays."""
    report = yield
    if report.skipped and not hasattr(report, "wasxfail") and nothing_may_be_left_out():
        report.outcome = "failed"
        report.longrepr = f"CI=true, and this test was left out: {_reason(report)}"
    return report


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> Generator[None]:
    """Count what was left out by reason, one line each, below everything else."""
    yield
    skipped = terminalreporter.stats.get("skipped", [])
    reasons = Counter(_reason(report) for report in skipped)
    for reason, count in sorted(reasons.items()):
        one = count == 1
        tests = "1 test" if one else f"{count} tests"
        if reason.startswith(PREFIX):
            needs = "needs" if one else "need"
            terminalreporter.write_line(f"left out: {tests} that {needs} {reason.removeprefix(PREFIX)}", yellow=True)
        else:
            terminalreporter.write_line(f"left out: {tests}: {reason}", yellow=True)


def _reason(report: pytest.TestReport | pytest.CollectReport) -> str:
    """Return what `pytest.skip` was told."""
    text = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    return text.removeprefix("Skipped: ")
