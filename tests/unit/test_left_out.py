"""The plugin that counts what is left out, in a pytest of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TESTS = """
import pytest
from tests.left_out import leave_out

@pytest.fixture
def node():
    leave_out("a node", "not root")

def test_one(node): pass
def test_two(node): pass
def test_three(): leave_out("OpenBao", "not installed")
def test_four(): pytest.skip("for another reason")
def test_five(): pass
@pytest.mark.xfail
def test_six(): assert False
"""


def run(folder: Path, ci: str) -> subprocess.CompletedProcess[str]:
    """pytest with nothing but the plugin."""
    (folder / "test_some.py").write_text(TESTS)
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "CI": ci, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-c",
        "/dev/null",
        "-q",
        "-p",
        "tests.left_out",
        "-p",
        "no:cacheprovider",
    ]
    return subprocess.run(
        [*command, "test_some.py"], cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=60
    )


def test_what_is_left_out_is_counted_and_named_at_the_end(tmp_path: Path) -> None:
    done = run(tmp_path, ci="")
    assert done.returncode == 0
    assert [line for line in done.stdout.splitlines() if line.startswith("left out")] == [
        "left out: 1 test: for another reason",
        "left out: 1 test that needs OpenBao: not installed",
        "left out: 2 tests that need a node: not root",
    ]
    assert "1 passed, 4 skipped, 1 xfailed" in done.stdout


@pytest.mark.parametrize("ci", ["true", "1"])
def test_in_ci_nothing_may_be_left_out(tmp_path: Path, ci: str) -> None:
    done = run(tmp_path, ci)
    assert done.returncode == 1
    assert "2 failed, 1 passed, 1 xfailed, 2 errors" in done.stdout
    assert "CI=true, and this test was left out: needs a node: not root" in done.stdout
    assert "left out: 1" not in done.stdout
