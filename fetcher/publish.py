"""The files of a certificate, all at once: written where nobody looks, made visible by the swap of one symlink.

It is how the kubelet publishes Secrets (k8s.io/kubernetes/pkg/volume/util/atomic_writer.go documents the steps):

    cert.pem -> ..data/cert.pem        what users open
    ..data -> ..2026_11_22_13_21_16.0f3a9c41        what is swapped
    ..2026_11_22_13_21_16.0f3a9c41/cert.pem        the file
    ..reloaded -> ..2026_11_22_13_21_16.0f3a9c41        what the application has been told of (a sidecar's note)
    ..seed -> ..2026_11_22_13_21_16.0f3a9c41        what is not the pod's own certificate (the other note)

A reader that opens `..data` once and both files through that handle never gets a key and a certificate that do not
belong together. Modes are set before anything is visible (kubernetes/kubernetes#114461). It is the end of the path.
"""

import contextlib
import fcntl
import os
import re
import stat
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from fetcher.errors import VolumeError

MODES: Mapping[str, int] = {"cert.pem": 0o644, "key.pem": 0o640, "ca-cert.pem": 0o644}
_DIRECTORY_MODE = 0o750
_DATA = "..data"
_NEW_DATA = "..data_tmp"
_NEW_LINK = "..link_tmp"
_RELOADED = "..reloaded"  # points to the version that the application has been told of; a file would not be swapped so
_SEED = "..seed"  # points to a version that came from the seed directory, not from the pod's Secret
_VERSION = re.compile(r"\.\.\d{4}(_\d\d){5}\.[0-9a-f]{8}")


@dataclass(frozen=True)
class Staged:
    """A directory with all files, which nobody sees until `commit`."""

    volume: Path
    path: Path

    def commit(self) -> None:
        """Make the files the visible ones, in one step, and remove those they replace. Raises VolumeError."""
        with _explained(self.volume):
            _point(self.volume / _DATA, self.path.name, self.volume / _NEW_DATA)
            for name in MODES:
                link, target = self.volume / name, f"{_DATA}/{name}"
                if not (link.is_symlink() and str(link.readlink()) == target):
                    _point(link, target, self.volume / _NEW_LINK)
            _sweep(self.volume, keep=self.path.name)

    def needs_no_reload(self) -> None:
        """Note, before the `commit`, that nobody has read earlier files: the application is yet to start."""
        with _explained(self.volume):
            _point(self.volume / _RELOADED, self.path.name, self.volume / _NEW_LINK)

    def is_seed(self) -> None:
        """Note, before the `commit`, that these files are the seed's: they make way for the pod's own."""
        with _explained(self.volume):
            _point(self.volume / _SEED, self.path.name, self.volume / _NEW_LINK)


@contextlib.contextmanager
def staged(volume: Path, files: Mapping[str, bytes]) -> Iterator[Staged]:
    """Write `files` (a content for each name of MODES) into `volume`, out of sight; without a `commit` they go again.

    One process at a time: a second fetcher in the same pod waits. What an interrupted run left behind is swept.
    Raises VolumeError.
    """
    with _locked(volume):
        path = volume / f"..{time.strftime('%Y_%m_%d_%H_%M_%S', time.gmtime())}.{os.urandom(4).hex()}"
        try:
            with _explained(volume):
                _sweep(volume, keep=_current(volume))
                _write(path, files)
            yield Staged(volume, path)
        finally:
            if _current(volume) != path.name:
                _remove(path)


def published(volume: Path) -> Path | None:
    """Return the directory of the visible files, by its own name, which no later swap changes; None without one."""
    name = _current(volume)
    return volume / name if name and (volume / name).is_dir() else None


def holds(volume: Path, files: Mapping[str, bytes]) -> bool:
    """True if the visible files are `files`, to the byte."""
    try:
        return all((volume / name).read_bytes() == files[name] for name in MODES)
    except OSError:
        return False


def is_reloaded(volume: Path) -> bool:
    """True if the application has been told of the visible files, or started with them: kept in the volume."""
    return _noted(volume, _RELOADED)


def is_seed(volume: Path) -> bool:
    """True if the visible files are the seed's, not those of a pod's Secret: kept in the volume."""
    return _noted(volume, _SEED)


def remember_reload(volume: Path) -> None:
    """Note that the application has been told of the visible files. Raises VolumeError."""
    with _explained(volume):
        _point(volume / _RELOADED, _current(volume) or "", volume / _NEW_LINK)


def check(volume: Path) -> None:
    """Raise VolumeError if files cannot be written into `volume`, before anything is waited for.

    A folder that is missing is made if it is to be in a mounted volume: anywhere else nobody would see the files.
    """
    if not volume.exists() and _is_mounted(volume.parent):
        with _explained(volume.parent):
            volume.mkdir(mode=_DIRECTORY_MODE)
    if not volume.is_dir():
        raise VolumeError(
            f"{volume} is not a directory: mount an emptyDir volume (medium: Memory) there, "
            "in this container and in the application's, or name its place in PODCERT_DIRECTORY"
        )
    if not os.access(volume, os.W_OK | os.X_OK):
        raise VolumeError(
            f"{volume} cannot be written by UID {os.geteuid()}: mount it without readOnly in this container, "
            "and set the pod's securityContext.fsGroup"
        )


def group_warning(volume: Path) -> str | None:
    """Return a line of warning if the volume has no fsGroup: only one UID will then be able to read the files.

    The kubelet gives a volume with an fsGroup that group and the setgid bit, so that new files inherit the group.
    """
    if volume.stat().st_mode & stat.S_ISGID:
        return None
    uid = os.geteuid()
    return (
        f"the volume has no fsGroup: key.pem is readable only by UID {uid}; "
        "run the application under the same UID or set securityContext.fsGroup"
    )


def _is_mounted(folder: Path) -> bool:
    """True if the folder is there and is not of the container's own file system."""
    try:
        return folder.is_dir() and folder.stat().st_dev != Path("/").stat().st_dev
    except OSError:
        return False


def _write(path: Path, files: Mapping[str, bytes]) -> None:
    path.mkdir(mode=0o700)
    for name, mode in MODES.items():
        descriptor = os.open(path / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(files[name])
            os.fchmod(descriptor, mode)  # not left to the umask
    # Last: mkdir has inherited the group and the setgid bit, and this takes the bit away, which gave the files theirs.
    path.chmod(_DIRECTORY_MODE)


def _point(link: Path, target: str, temporary: Path) -> None:
    """Make `link` a symlink to `target`, replacing what is there in one step."""
    temporary.unlink(missing_ok=True)
    temporary.symlink_to(target)
    temporary.rename(link)


def _noted(volume: Path, note: str) -> bool:
    try:
        return str((volume / note).readlink()) == _current(volume)
    except OSError:
        return False


def _current(volume: Path) -> str | None:
    try:
        return str((volume / _DATA).readlink())
    except OSError:  # nothing published yet
        return None


def _sweep(volume: Path, keep: str | None) -> None:
    for name in (_NEW_DATA, _NEW_LINK):
        (volume / name).unlink(missing_ok=True)
    for path in volume.iterdir():
        if path.name != keep and _VERSION.fullmatch(path.name):
            _remove(path)


def _remove(version: Path) -> None:
    """Remove a directory of ours as far as it goes; the next sweep takes the rest. shutil costs 2 ms of import.

    A link of such a name is the application's, not ours: it goes itself, and never what it points to.
    """
    with contextlib.suppress(OSError):
        if version.is_symlink():
            version.unlink()
            return
        for path in version.iterdir():
            path.unlink()
        version.rmdir()


@contextlib.contextmanager
def _locked(volume: Path) -> Iterator[None]:
    with _explained(volume):
        descriptor = os.open(volume, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with contextlib.suppress(OSError):  # a filesystem without locks: one fetcher in a pod is what is usual
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _explained(volume: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise VolumeError(
            f"the files cannot be written into {volume}: {error.strerror}: the volume must be writable for "
            f"UID {os.geteuid()} and have a few KiB left"
        ) from None
