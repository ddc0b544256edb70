"""Which process is signalled: /proc as text."""

import os
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from fetcher.processes import Process, is_alone, main_process, parse


def stat(pid: int, comm: str, parent: int, started: int, state: str = "S") -> bytes:
    """A line of /proc/PID/stat: 22 fields are used, more follow."""
    return f"{pid} ({comm}) {state} {parent} 1 1 0 -1 4194560 {'0 ' * 12}{started} 0 0\n".encode()


def add(
    proc: Path, pid: int, comm: str, *, parent: int = 1, started: int = 100, argv: bytes = b"", state: str = "S"
) -> None:
    (proc / str(pid)).mkdir()
    (proc / str(pid) / "stat").write_bytes(stat(pid, comm, parent, started, state))
    (proc / str(pid) / "cmdline").write_bytes(argv)


def found(proc: Path, name: str) -> int | None:
    process = main_process(name, proc)
    return None if process is None else process.pid


def test_the_master_is_found_and_not_its_workers_whatever_their_numbers(tmp_path: Path) -> None:
    add(tmp_path, 900, "nginx", argv=b"nginx: master process nginx\0")
    add(tmp_path, 20, "nginx", parent=900, started=50)  # process numbers begin anew some day, clocks may differ
    add(tmp_path, 21, "nginx", parent=900)
    add(tmp_path, 22, "sh", started=1)
    assert found(tmp_path, "nginx") == 900


def test_of_two_leaders_the_older_one_is_taken(tmp_path: Path) -> None:
    add(tmp_path, 30, "nginx", started=200)
    add(tmp_path, 40, "nginx", started=100)
    assert found(tmp_path, "nginx") == 40


def test_a_process_is_found_by_the_last_part_of_its_first_argument(tmp_path: Path) -> None:
    add(tmp_path, 30, "MainThread", argv=b"/usr/bin/haproxy\0-f\0/etc/nginx\0")
    assert (found(tmp_path, "haproxy"), found(tmp_path, "nginx")) == (30, None)


def test_a_name_longer_than_the_kernel_keeps_is_found(tmp_path: Path) -> None:
    add(tmp_path, 30, "a-very-long-pro", argv=b"rewritten")
    assert found(tmp_path, "a-very-long-program-name") == 30


def test_dead_processes_and_this_one_and_those_that_end_meanwhile_are_passed_over(tmp_path: Path) -> None:
    add(tmp_path, 30, "nginx", state="Z")
    add(tmp_path, 31, "nginx", state="X")
    add(tmp_path, os.getpid(), "nginx")
    (tmp_path / "32").mkdir()
    (tmp_path / "self").mkdir()
    assert found(tmp_path, "nginx") is None


def test_it_is_alone_when_nobody_else_is_the_first_process(tmp_path: Path) -> None:
    assert is_alone(tmp_path)
    (tmp_path / "1").mkdir()
    assert is_alone(tmp_path) == (os.getpid() == 1)


def test_this_very_process_is_read_from_the_real_proc() -> None:
    own = Path("/proc/self")
    process = parse((own / "stat").read_bytes(), (own / "cmdline").read_bytes())
    assert process is not None
    assert (process.pid, process.parent) == (os.getpid(), os.getppid())
    assert process.started > 0


@given(comm=st.text(st.characters(codec="ascii", exclude_characters="\n"), max_size=15), pid=st.integers(1, 2**22))
def test_a_name_may_hold_anything_parentheses_too(comm: str, pid: int) -> None:
    assert parse(stat(pid, comm, 7, 99), b"/bin/x\0y") == Process(pid, 7, comm, "/bin/x", 99)


@given(st.binary(max_size=200), st.binary(max_size=50))
def test_garbage_is_no_process_and_no_crash(text: bytes, command: bytes) -> None:
    parse(text, command)
