"""The supervisor as a process: it starts parts, and nothing of it outlives its driver."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.cluster.paths import REPOSITORY, ClusterError, try_lock
from tests.cluster.sandbox import Keep, Part, Sandbox
from tests.conftest import need

DRIVER = """
import os, sys, time
from pathlib import Path
from tests.cluster.paths import try_lock
from tests.cluster.sandbox import Keep, Part, Sandbox
folder, namespaces, keep = Path(sys.argv[1]), sys.argv[2] == "True", sys.argv[3] == "True"
(folder / "left").mkdir()
lock = try_lock(folder / "lock")
sandbox = Sandbox.start(folder, namespaces=namespaces, keep=Keep([lock], paths=[str(folder / "left")]))
os.close(lock)
sandbox.run(Part("sleeper", ["sleep", "600"]))
sandbox.run(Part("family", ["sh", "-c", "sleep 601 & sleep 602"]) if namespaces else Part("other", ["sleep", "601"]))
if keep:
    sandbox.keep()
print("up", flush=True)
time.sleep(600)
"""


def until(what: Callable[[], object], seconds: float = 10.0) -> bool:
    end = time.monotonic() + seconds
    while not what():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


def is_free(lock: Path) -> bool:
    if (held := try_lock(lock)) is None:
        return False
    os.close(held)
    return True


@pytest.fixture(params=[False, True], ids=["plain", "namespaces"])
def namespaces(request: pytest.FixtureRequest) -> bool:
    need("namespaces need root" if request.param and os.geteuid() != 0 else None)
    return bool(request.param)


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path
    Sandbox(tmp_path, namespaces=False).end()


@pytest.fixture
def sandbox(folder: Path) -> Iterator[Sandbox]:
    running = Sandbox.start(folder, namespaces=False, keep=Keep())
    yield running
    running.end()


def lives(pid: int) -> bool:
    """Say whether the process runs; one that has ended and only waits for its parent to look does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@contextlib.contextmanager
def drive(folder: Path, *, namespaces: bool, keep: bool) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", DRIVER, str(folder), str(namespaces), str(keep)]
    with subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True) as driver:
        try:
            assert driver.stdout
            assert driver.stdout.readline() == "up\n"
            yield driver
        finally:
            driver.kill()


def processes(folder: Path) -> set[int]:
    """Return the process ids of the sandbox in `folder`: the supervisor and all below it."""
    root = Sandbox(folder, namespaces=False).pid()
    parents = {}
    for each in Path("/proc").glob("[0-9]*/stat"):
        try:
            text = each.read_text()
        except OSError:
            continue
        parents[int(each.parent.name)] = int(text.rpartition(")")[2].split()[1])
    found = {root}
    while more := {child for child, parent in parents.items() if parent in found} - found:
        found |= more
    return found


def test_when_the_driver_is_killed_no_process_and_no_file_stays(folder: Path, namespaces: bool) -> None:
    with drive(folder, namespaces=namespaces, keep=False):
        inside = processes(folder)
        assert len(inside) >= 3
    assert until(lambda: is_free(folder / "lock"))
    assert until(lambda: not any(lives(pid) for pid in inside))
    assert not (folder / "left").exists()


def test_a_kept_sandbox_outlives_its_driver_and_ends_when_asked(folder: Path, namespaces: bool) -> None:
    with drive(folder, namespaces=namespaces, keep=True):
        inside = processes(folder)
    sandbox = Sandbox.attach(folder, namespaces=namespaces)
    assert "sleeper" in sandbox.status()["running"]
    sandbox.end()
    assert until(lambda: is_free(folder / "lock"))
    assert until(lambda: not any(lives(pid) for pid in inside))


def test_when_the_supervisor_is_killed_its_parts_end_too(folder: Path, namespaces: bool) -> None:
    with drive(folder, namespaces=namespaces, keep=False):
        inside = processes(folder)
        os.kill(Sandbox(folder, namespaces=False).pid(), signal.SIGKILL)
        assert until(lambda: not any(lives(pid) for pid in inside))
        assert until(lambda: is_free(folder / "lock"))


def test_parts_are_stopped_started_again_and_frozen(sandbox: Sandbox) -> None:
    sandbox.run(Part("sleeper", ["sleep", "600"]))
    first = sandbox.status()["running"]["sleeper"]
    sandbox.signal("sleeper", signal.SIGSTOP)
    assert until(lambda: Path(f"/proc/{first}/stat").read_text().rpartition(")")[2].split()[0] == "T")
    sandbox.stop("sleeper")
    assert sandbox.status() == {"running": {}, "ended": {"sleeper": int(signal.SIGTERM)}}
    sandbox.run_again("sleeper")
    assert sandbox.status()["running"]["sleeper"] != first
    with pytest.raises(ClusterError, match="runs already"):
        sandbox.run_again("sleeper")
    with pytest.raises(ClusterError, match="no part nobody"):
        sandbox.run_again("nobody")
    sandbox.end()
    with pytest.raises(ClusterError, match="no sandbox answers"):
        sandbox.status()


def test_a_part_that_cannot_start_says_why_in_its_log(sandbox: Sandbox) -> None:
    sandbox.run(Part("broken", ["/no/such/program"]))
    assert until(lambda: sandbox.status()["ended"].get("broken"))
    assert "cannot start /no/such/program" in (sandbox.logs / "broken.log").read_text()


def test_a_broken_request_does_not_end_the_supervisor(sandbox: Sandbox) -> None:
    for request in ("start", "signal", "nonsense", "__init__"):
        with pytest.raises(ClusterError):
            sandbox.ask(request)
    assert sandbox.status() == {"running": {}, "ended": {}}
