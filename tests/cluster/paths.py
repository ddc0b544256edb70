"""Where the cluster keeps things, and the locks that say whose they are.

Two places: the cache (binary, images; survives) and the run folder (one folder for each cluster; temporary). Every
lock is a flock: the kernel frees it when its last holder ends, so none goes stale.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.cluster.keeper import remove_cgroups

REPOSITORY = Path(__file__).resolve().parents[2]
NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,18}[a-z0-9])?")
CGROUPS = Path("/sys/fs/cgroup")
LOGS_KEPT = 5


class ClusterError(Exception):
    """Something the person at the keyboard can act on; the message says what and how."""


def check_name(name: str) -> str:
    """Return `name` if it may name a cluster, else raise ClusterError.

    Unix socket paths end at 107 bytes and the name is a part of them, hence the length.
    """
    if not NAME.fullmatch(name):
        message = (
            f"cluster name {name!r}: 1 to 20 lower-case letters, digits and dashes, a letter or digit at both ends; "
            "choose another --name"
        )
        raise ClusterError(message)
    return name


def cache() -> Path:
    """Return the cache folder: PODCERT_CACHE, else podcert/ in XDG_CACHE_HOME, else ~/.cache/podcert."""
    own = os.environ.get("PODCERT_CACHE")
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = Path(own).absolute() if own else base / "podcert"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def run_root() -> Path:
    """Return this user's run folder, mode 0700: it holds the clusters' admin keys."""
    folder = Path(os.environ.get("PODCERT_RUN") or Path(tempfile.gettempdir()) / f"podcert-{os.getuid()}")
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    status = folder.lstat()
    if folder.is_symlink() or status.st_uid != os.getuid() or status.st_mode & 0o077:
        message = f"{folder} must be a folder of this user alone (mode 0700); remove it, or set PODCERT_RUN to another"
        raise ClusterError(message)
    return folder


def try_lock(path: Path) -> int | None:
    """Take the lock at `path` if it is free: an open descriptor (close it to let go), else None."""
    path.parent.mkdir(parents=True, exist_ok=True)
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Its last holder may have removed the file meanwhile; a lock on a file without a name keeps nobody out.
            if path.stat().st_ino == os.fstat(descriptor).st_ino:
                return descriptor
        except FileNotFoundError:
            pass
        except BlockingIOError:
            os.close(descriptor)
            return None
        os.close(descriptor)


@contextlib.contextmanager
def lock(path: Path, waiting: Callable[[], None] | None = None, seconds: float = 3600.0) -> Iterator[None]:
    """Hold the lock at `path`; while another process has it call `waiting` once, after `seconds` raise ClusterError."""
    end = time.monotonic() + seconds
    told = False
    while (descriptor := try_lock(path)) is None:
        if not told and waiting:
            waiting()
        told = True
        if time.monotonic() > end:
            message = (
                f"{path} is held by another process for {seconds:.0f} s; see `fuser {path}`, end it, and try again"
            )
            raise ClusterError(message)
        time.sleep(0.05)
    try:
        yield
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def temporary(parent: Path, kind: str) -> Iterator[Path]:
    """Give a folder in `parent` that is removed at the end, or by the next call when this process is killed."""
    parent.mkdir(parents=True, exist_ok=True)
    with lock(parent / "sweep.lock"):
        for left in parent.glob("*.tmp"):
            if (free := try_lock(left.with_suffix(".lock"))) is not None:
                shutil.rmtree(left, ignore_errors=True)
                left.with_suffix(".lock").unlink(missing_ok=True)
                os.close(free)
        folder = Path(tempfile.mkdtemp(prefix=f"{kind}-", suffix=".tmp", dir=parent))
        held = try_lock(folder.with_suffix(".lock"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        folder.with_suffix(".lock").unlink(missing_ok=True)
        if held is not None:
            os.close(held)


def cgroup_name(name: str) -> str:
    """Return the name of the cgroup below which the containers of cluster `name` run."""
    return f"podcert-{name}"


def cgroup_folders(name: str) -> list[str]:
    """Return the folders of cluster `name` in every cgroup hierarchy (cgroup v1) or in the one (v2)."""
    places = [CGROUPS / cgroup_name(name), *(each / cgroup_name(name) for each in sorted(CGROUPS.glob("*/")))]
    return [str(place) for place in places]


def sweep() -> list[str]:
    """Remove what clusters left whose whole process tree was killed; return their names.

    Folders of live clusters are recognised by their lock. Logs stay until a cluster of the same name starts, those of
    the `LOGS_KEPT` clusters that ended last.
    """
    swept, ended = [], []
    for folder in sorted(run_root().iterdir()):
        if not folder.is_dir() or not NAME.fullmatch(folder.name):
            continue
        held = try_lock(folder.with_suffix(".lock"))
        if held is None:
            continue
        left = [entry for entry in folder.iterdir() if entry.name != "logs"]
        for entry in left:
            shutil.rmtree(entry, ignore_errors=True) if entry.is_dir() else entry.unlink()
        remove_cgroups([path for path in cgroup_folders(folder.name) if Path(path).is_dir()])
        swept += [folder.name] if left else []
        ended.append((folder.stat().st_mtime, folder))
        os.close(held)
    for _, folder in sorted(ended)[:-LOGS_KEPT]:
        if (held := try_lock(folder.with_suffix(".lock"))) is not None:
            shutil.rmtree(folder, ignore_errors=True)
            folder.with_suffix(".lock").unlink(missing_ok=True)
            os.close(held)
    return swept
