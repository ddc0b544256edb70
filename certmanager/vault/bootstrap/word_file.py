"""A file that bootstrap puts one secret word into: a token, a secret-id. Read with care, written whole, 0600 from the start.

In the flow: under the last step of `run`. What is no such word is somebody else's, and is never overwritten.
"""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from certmanager.domain.errors import Refused

_MAX_BYTES: Final = 65536


@dataclass(frozen=True, slots=True)
class WordFile:
    """The file of an option, such as `--token-file`. `reason` is that of its refusals, which never quote the content."""

    path: Path
    option: str
    reason: str

    def read(self) -> str:
        """The word, empty when there is no file or nothing in it. Raises `Refused` when it holds something else."""
        try:
            with self.path.open("rb") as file:
                data = file.read(_MAX_BYTES)
        except FileNotFoundError:
            return ""
        except OSError as error:
            problem = error.strerror
        else:
            text = data.decode("ascii", "replace").strip()
            if not text or (len(text) < 4096 and text.isascii() and text.isprintable() and " " not in text):
                return text
            problem = "it holds something else than one word"
        raise self.refused(f"{problem}, and is not overwritten")

    def put(self, word: str) -> None:
        """Replaces the file, complete or not at all. Raises `Refused`: what was made for it is lost."""
        try:
            self._put(word + "\n")
        except OSError as error:
            problem = error.strerror
        else:
            return
        raise self.refused(f"cannot be written ({problem}), and what was made for it is lost")

    def check_folder(self) -> None:
        """Raises `Refused` when nothing could be put there."""
        if not os.access(self.path.parent, os.W_OK | os.X_OK):
            raise self.refused("its folder is not there or cannot be written")

    def refused(self, problem: str) -> Refused:
        return Refused(self.reason, f"{self.option} {self.path}: {problem}; name another file")

    def _put(self, text: str) -> None:
        descriptor, beside = tempfile.mkstemp(prefix=f".{self.path.name}.", dir=self.path.parent)  # mode 0600
        try:
            with os.fdopen(descriptor, "w", encoding="ascii") as file:
                file.write(text)
            Path(beside).replace(self.path)
        except OSError:
            Path(beside).unlink(missing_ok=True)
            raise
