"""Which process of the pod to signal, by its name: the oldest of that name whose parent has another name.

`reload` asks. It works where the pod has `shareProcessNamespace: true`: then /proc shows the application's processes
(https://kubernetes.io/docs/tasks/configure-pod-container/share-process-namespace/). The fields of /proc/PID/stat are
those of proc_pid_stat(5).
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_COMM_LIMIT = 15  # TASK_COMM_LEN without its NUL; the kernel cuts there


@dataclass(frozen=True)
class Process:
    """A process as /proc shows it: ids, both its names, and when it started (clock ticks since boot)."""

    pid: int
    parent: int
    comm: str
    argv0: str
    started: int

    def is_called(self, name: str) -> bool:
        """True if `name` is the command's name, as `ps -o comm` shows it, or the last part of its first argument."""
        return self.comm == name[:_COMM_LIMIT] or self.argv0.rpartition("/")[2] == name


def main_process(name: str, proc: Path = Path("/proc")) -> Process | None:
    """Return the process that leads those called `name` (nginx's master, not a worker of it), or None without any."""
    called = {p.pid: p for p in _all(proc) if p.is_called(name) and p.pid != os.getpid()}
    leaders = [p for p in called.values() if p.parent not in called]
    return min(leaders, key=lambda p: (p.started, p.pid), default=None)


def is_alone(proc: Path = Path("/proc")) -> bool:
    """True if no process of another container can be seen: this one is the first of its process namespace."""
    return os.getpid() == 1 or not (proc / "1").exists()


def _all(proc: Path) -> Iterator[Process]:
    for entry in proc.iterdir():
        if entry.name.isdecimal():
            try:
                stat = (entry / "stat").read_bytes()
                command = (entry / "cmdline").read_bytes()
            except OSError:  # it has ended meanwhile
                continue
            if found := parse(stat, command):
                yield found


def parse(stat: bytes, command: bytes) -> Process | None:
    """Return the process that /proc/PID/stat and /proc/PID/cmdline describe; None for a dead one, or none at all.

    The name in `stat` stands in parentheses and may itself hold spaces and parentheses: only the last one ends it.
    """
    head, opened, rest = stat.partition(b" (")
    comm, closed, tail = rest.rpartition(b") ")
    fields = tail.split()
    if not (opened and closed and head.isdigit() and len(fields) > 19 and fields[1].isdigit() and fields[19].isdigit()):
        return None
    if fields[0] in {b"Z", b"X"}:
        return None
    argv0 = command.split(b"\0", 1)[0]
    return Process(
        pid=int(head),
        parent=int(fields[1]),
        comm=comm.decode(errors="replace"),
        argv0=argv0.decode(errors="replace"),
        started=int(fields[19]),
    )
