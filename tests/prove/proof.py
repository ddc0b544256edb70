"""A promise and how it is shown."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FIGURE = re.compile(r"^FIGURE (.*)$", re.MULTILINE)
"""What a test prints to have its figure shown here."""


@dataclass(frozen=True)
class Shown:
    """What came out: whether the promise holds, and the figure."""

    holds: bool
    figure: str


@dataclass(frozen=True)
class Proof:
    """One line. `run` may take minutes; what it raises counts as a failure."""

    promise: str
    run: Callable[[], Shown]


def prove(proofs: Iterable[Proof], only: str = "") -> int:
    """Runs every proof whose promise contains `only`; returns the number of those that do not hold."""
    failed = 0
    for proof in proofs:
        if only.lower() not in proof.promise.lower():
            continue
        began = time.monotonic()
        try:
            shown = proof.run()
        except (Exception, pytest.fail.Exception) as error:  # noqa: BLE001 - one line each, whatever happens
            shown = Shown(False, f"{type(error).__name__}: {error}")
        failed += not shown.holds
        word = "ok  " if shown.holds else "FAIL"
        print(f"{word}  {proof.promise}: {shown.figure}  [{time.monotonic() - began:.0f} s]", flush=True)
    return failed


def run(command: Sequence[str], seconds: float, **environment: str) -> subprocess.CompletedProcess[str]:
    """A command of this project, with its output; `FRESH` and `KEEP` of the caller do not reach it."""
    inherited = {name: value for name, value in os.environ.items() if name not in ("FRESH", "KEEP")}
    return subprocess.run(
        [sys.executable, *command],
        cwd=ROOT,
        env={**inherited, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=seconds,
    )


def by_tests(promise: str, *nodes: str, seconds: float = 900) -> Proof:
    """A promise that tests keep: they have to pass, none left out. Their figures are what they print after `FIGURE`."""

    def show() -> Shown:
        done = run(["-m", "pytest", "-W", "error", "-q", "-s", "-p", "no:cacheprovider", *nodes], seconds, CI="true")
        figures = [found.strip() for found in FIGURE.findall(done.stdout)]
        closing = [line.strip("= ") for line in done.stdout.splitlines() if " passed" in line or " failed" in line]
        holds = done.returncode == 0 and not any("skipped" in line for line in closing)
        return Shown(holds, "; ".join(figures + closing[-1:]) or done.stdout.strip()[-200:])

    return Proof(promise, show)
