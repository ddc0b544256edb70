"""Files that others write while we run: tokens, secret-ids, JWTs, certificates. Read whole, at most 64 KiB, told when changed.

In the flow: below the logins and the transport. Messages name the file and what to do, never what is in it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from certmanager.domain.errors import NotYet

_MAX_BYTES: Final = 65536

Stamp = tuple[int, int, int]
"""Inode, size, time of change (ns): another one means another content."""


def stamp(path: Path) -> Stamp | None:
    """The file's stamp, through links; None while it is not there."""
    try:
        found = path.stat()
    except OSError:
        return None
    return (found.st_ino, found.st_size, found.st_mtime_ns)


def read_word(path: Path, what: str) -> str:
    """The one token in the file. `what` names its kind. Raises `NotYet` (VaultTokenMissing), shared."""
    try:
        with path.open("rb") as file:
            data = file.read(_MAX_BYTES + 1)
    except OSError as error:
        problem = error.strerror or type(error).__name__
    else:
        if len(data) <= _MAX_BYTES:
            return word(data.decode("ascii", "replace"), f"file {path}")
        problem = f"larger than {_MAX_BYTES} bytes"
    raise NotYet(
        "VaultTokenMissing", f"the {what} file {path} cannot be read: {problem}; write a {what} there", shared=True
    )


def word(text: str, source: str) -> str:
    """One token without the white space around it. Raises `NotYet` (VaultTokenMissing), shared."""
    found = text.strip()
    if found and found.isascii() and found.isprintable() and " " not in found:
        return found
    problem = "is empty" if not found else "holds something else than one token"
    raise NotYet("VaultTokenMissing", f"{source} {problem}; it must hold one token and nothing else", shared=True)
