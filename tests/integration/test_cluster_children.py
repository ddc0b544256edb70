"""Build programs never outlive the process that started them."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.cluster import children
from tests.cluster.paths import REPOSITORY, ClusterError
from tests.conftest import need

DRIVER = """
import sys
from tests.cluster import children
children.run(["sh", "-c", sys.argv[1]], each=lambda line: print(line, flush=True))
"""


def running(marker: str) -> list[str]:
    found = []
    for each in Path("/proc").glob("[0-9]*/environ"):
        try:
            if f"MARKER={marker}\0".encode() in each.read_bytes():
                found.append(each.parent.name)
        except OSError:
            continue
    return found


def test_output_comes_line_by_line_and_whole() -> None:
    lines: list[str] = []
    output = children.run(["sh", "-c", "echo one; echo two >&2"], each=lines.append)
    assert lines == ["one", "two"]
    assert output == "one\ntwo\n"


def test_a_failure_is_told_with_the_programs_last_words() -> None:
    with pytest.raises(ClusterError, match=r"ended with status 7: it broke"):
        children.run(["sh", "-c", "echo it broke; exit 7"])


def test_an_exception_while_reading_ends_the_program() -> None:
    marker = f"exception-{os.getpid()}"

    def broken(line: str) -> None:
        raise ValueError(line)

    where = children.Surroundings(environment={"MARKER": marker})
    with pytest.raises(ValueError, match="here"):
        children.run(["sh", "-c", "echo here; sleep 603"], where, broken)
    end = time.monotonic() + 10
    while running(marker) and time.monotonic() < end:
        time.sleep(0.02)
    assert running(marker) == []


def test_when_the_driver_is_killed_the_program_its_children_and_its_mounts_are_gone(tmp_path: Path) -> None:
    need(None if os.geteuid() == 0 else "only root has the namespace that ends grandchildren too")
    marker = f"killed-{os.getpid()}"
    mounts = Path("/proc/self/mounts").read_text()
    script = f"mount -t tmpfs left {tmp_path}; sleep 603 & echo started; sleep 604"
    command = [sys.executable, "-c", DRIVER, script]
    environment = {**os.environ, "MARKER": marker}
    with subprocess.Popen(command, cwd=REPOSITORY, env=environment, stdout=subprocess.PIPE, text=True) as driver:
        assert driver.stdout
        assert driver.stdout.readline() == "started\n"
        assert len(running(marker)) >= 4
        assert Path("/proc/self/mounts").read_text() == mounts
        driver.kill()
    end = time.monotonic() + 10
    while running(marker) and time.monotonic() < end:
        time.sleep(0.02)
    assert running(marker) == []
    assert Path("/proc/self/mounts").read_text() == mounts
