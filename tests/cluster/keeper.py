"""Outermost process of a sandbox: waits for its end, then removes what the kernel does not.

Run as a script (`python -I -S keeper.py CLEANUP_JSON COMMAND ...`), standard library only. Processes, mounts and
interfaces end with the sandbox's namespaces; empty cgroup folders and temporary files do not. The keeper holds the
cluster's lock (an inherited file descriptor) until they are gone: a free lock means a clean machine. When the keeper
itself is killed, the next run sweeps the same paths.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time

CGROUP_SECONDS = 3.0


def remove_cgroups(folders: list[str]) -> list[str]:
    """Remove each cgroup folder and those below it; return those that still hold processes after `CGROUP_SECONDS`."""
    end = time.monotonic() + CGROUP_SECONDS
    left = folders
    while left and time.monotonic() < end:
        left = [folder for folder in left if not _remove_cgroup(folder)]
        if left:
            time.sleep(0.02)
    return left


def _remove_cgroup(folder: str) -> bool:
    # Only rmdir works in a cgroup file system, from the leaves up: its files cannot be removed and need not be.
    for path, _, _ in os.walk(folder, topdown=False):
        try:
            os.rmdir(path)  # noqa: PTH106 - as below
        except FileNotFoundError:
            continue
        except OSError:
            return False
    return True


def remove(cleanup: dict[str, list[str]]) -> None:
    """Remove `cleanup["interfaces"]`, `cleanup["cgroups"]` (folders) and `cleanup["paths"]` (files and folders)."""
    for interface in cleanup.get("interfaces", []):
        # The kernel takes the interface away with the namespace of its peer, but some time later.
        if os.path.exists(f"/sys/class/net/{interface}"):  # noqa: PTH110
            subprocess.run(["ip", "link", "delete", interface], stderr=subprocess.DEVNULL, check=False)
    remove_cgroups(cleanup.get("cgroups", []))
    for path in cleanup.get("paths", []):
        if os.path.isdir(path) and not os.path.islink(path):  # noqa: PTH112, PTH114 - no pathlib: start-up time
            shutil.rmtree(path, ignore_errors=True)
        elif os.path.lexists(path):
            os.unlink(path)  # noqa: PTH108


def main(arguments: list[str]) -> int:
    """Run the command in `arguments[1:]` with every open descriptor, wait, remove what `arguments[0]` lists."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    try:
        return subprocess.run(arguments[1:], close_fds=False, check=False).returncode
    finally:
        remove(json.loads(arguments[0]))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
