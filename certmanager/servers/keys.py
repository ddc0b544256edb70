"""Where the unseal keys and the root token are kept: a file of the person, or a Secret whose name says that it is unsafe.

In the flow: reserve → `sys/init` → put. Vault tells the keys once; so the place for them is open, and known to have room,
before Vault is asked.
"""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path
from typing import Any, Final, Protocol

from certmanager.domain.errors import Refused
from certmanager.vault.seal import Keys

ROOM: Final = 65536
"""Bytes that are reserved: 255 shares and a token take a third of it."""


class KeyStore(Protocol):
    """A place for keys. Every method raises `Refused` with what to do, some `NotYet`."""

    @property
    def name(self) -> str:
        """As a person knows it."""

    def read(self) -> Keys | None:
        """What is kept; None when there is nothing."""

    def reserve(self) -> None:
        """Makes sure that keys can be put here, and that nothing is overwritten."""

    def put(self, keys: Keys) -> None:
        """Keeps the keys, for good, before it returns."""

    def release(self) -> None:
        """Gives up a reservation that was not used."""


class KeysFile:
    """A file that only its owner can read (0600), in the format of `vault operator init -format=json`."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: int | None = None

    @property
    def name(self) -> str:
        """The path."""
        return str(self._path)

    @property
    def exposed(self) -> bool:
        """Whether others than its owner may read it."""
        return self._path.stat().st_mode & 0o077 != 0

    def read(self) -> Keys | None:
        """See `KeyStore`. A file of blanks is a reservation that was never used."""
        try:
            with self._path.open("rb") as file:
                data = file.read(4 * ROOM)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise self._refused(f"cannot be read ({error.strerror})", "make it readable") from None
        return None if not data.strip() else from_json(data, f"keys file {self._path}")

    def reserve(self) -> None:
        """See `KeyStore`."""
        problem = None
        try:
            self._open()
        except FileExistsError:
            problem = Refused(
                "KeysFileTaken",
                f"keys file {self._path}: is there already, and is never overwritten, but this Vault is not initialised; are "
                "they the keys of another one? Name another file",
            )
        except OSError as error:
            problem = self._refused(f"cannot be written ({error.strerror})", "name another file")
        if problem is not None:
            self.release()
            raise problem

    def put(self, keys: Keys) -> None:
        """See `KeyStore`."""
        if self._file is None:
            raise ValueError("the file is not reserved")
        data = (json.dumps(to_dict(keys), indent=2) + "\n").encode()
        problem = None
        try:
            _write(self._file, data)
            os.fsync(self._file)
            os.ftruncate(self._file, len(data))
            os.fsync(self._file)
        except OSError as error:
            problem = error.strerror
        os.close(self._file)
        self._file = None
        if problem is not None:
            raise self._refused(
                f"could not be written ({problem})", "look whether the keys are in it: Vault is initialised"
            )

    def release(self) -> None:
        """See `KeyStore`."""
        if self._file is not None:
            os.close(self._file)
            self._file = None
            self._path.unlink(missing_ok=True)

    def _open(self) -> None:
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            self._file = os.open(self._path, flags | os.O_EXCL, 0o600)
        except FileExistsError:
            if self._path.is_symlink() or self._path.read_bytes().strip():
                raise
            self._file = os.open(self._path, flags, 0o600)
            os.fchmod(self._file, 0o600)
        # Blanks: what a disk that is full would refuse, it refuses now; and blanks after a JSON document are no part of it.
        _write(self._file, b" " * ROOM)
        os.fsync(self._file)
        folder = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY)
        with contextlib.ExitStack() as stack:
            stack.callback(os.close, folder)
            os.fsync(folder)

    def _refused(self, problem: str, remedy: str) -> Refused:
        return Refused("KeysFileUnusable", f"keys file {self._path}: {problem}; {remedy}")


def to_dict(keys: Keys) -> dict[str, Any]:
    """The names that `vault operator init -format=json` gives them, so that its users' scripts read them too."""
    return {
        "unseal_keys_b64": list(keys.shares),
        "unseal_shares": len(keys.shares),
        "unseal_threshold": keys.threshold,
        "recovery_keys_b64": list(keys.recovery),
        "root_token": keys.root_token,
    }


def from_json(data: bytes, where: str) -> Keys:
    """Reads what `to_dict` or the Vault CLI wrote. Raises `Refused`, without quoting anything, when it is something else."""
    try:
        found = json.loads(data)
    except (ValueError, RecursionError):
        found = None
    fields = found if isinstance(found, dict) else {}
    shares, recovery = fields.get("unseal_keys_b64", ""), fields.get("recovery_keys_b64") or []
    token, threshold = fields.get("root_token", ""), fields.get("unseal_threshold", 1)
    if not (isinstance(token, str) and isinstance(threshold, int) and all(map(_texts, (shares, recovery)))):
        rule = "must be JSON with unseal_keys_b64 and root_token, as `vault operator init -format=json` writes it"
        raise Refused("KeysUnreadable", f"{where}: {rule}; name the right one")
    return Keys(tuple(shares), threshold, token, tuple(recovery))


def _texts(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def _write(file: int, data: bytes) -> None:
    done = 0
    while done < len(data):
        done += os.pwrite(file, data[done:], done)
