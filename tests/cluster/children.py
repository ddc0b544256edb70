"""Runs build programs (go, debootstrap, buildah, pip) so that they never outlive this process.

As root each runs in a PID and mount namespace of its own: whatever it mounts or leaves running ends with it, also when
this process is killed with SIGKILL. Without root a parent-death signal ends the program itself.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.cluster.paths import ClusterError

PR_SET_PDEATHSIG = 1
NAMESPACES = ("unshare", "--pid", "--mount", "--fork", "--kill-child", "--mount-proc", "--propagation", "private")
_LIBC = ctypes.CDLL(None)


@dataclass(frozen=True)
class Surroundings:
    """Where a program runs: `folder` and what is added to the environment."""

    folder: Path | None = None
    environment: Mapping[str, str] | None = None


def run(command: Sequence[str], where: Surroundings | None = None, each: Callable[[str], None] | None = None) -> str:
    """Run `command` to its end, call `each` with every line of its output (both streams), return the output.

    Raises:
        ClusterError: it ended with another status than 0; the message has the end of its output.
    """
    where = where or Surroundings()
    wrapped = [*NAMESPACES, *command] if os.geteuid() == 0 else list(command)
    lines: list[str] = []
    with subprocess.Popen(
        wrapped,
        cwd=where.folder,
        env={**os.environ, **(where.environment or {})},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
        preexec_fn=end_with_parent,  # noqa: PLW1509 - between fork and exec it makes one system call, no lock
    ) as process:
        try:
            for line in process.stdout or ():
                lines.append(line)
                if each:
                    each(line.rstrip("\n"))
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)
            raise
    output = "".join(lines)
    if process.returncode != 0:
        message = f"`{' '.join(command)}` ended with status {process.returncode}: {output.strip()[-1500:]}"
        raise ClusterError(message)
    return output


def end_with_parent() -> None:
    """Ask the kernel to kill this process when the thread that made it ends; for `preexec_fn`, one system call, no lock."""
    _LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
