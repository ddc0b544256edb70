"""The policy file: read at the start, looked at every few seconds, and the last good one kept while the file is wrong.

In the flow: producers → *file* → every pod is looked at again. Meant for a mounted ConfigMap, which the kubelet changes by
swapping a symlink (https://kubernetes.io/docs/tasks/configure-pod-container/configure-pod-configmap/#mounted-configmaps-are-updated-automatically):
so the content is compared, not the file's times. A wrong policy is never replaced by none: that could allow what the last
one forbade.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

from certmanager.domain.policy import IdentityPolicy
from certmanager.policy.parse import SIZE_LIMIT, PolicyError, parse_policy

Tell = Callable[[str | None], None]
"""Is told what is wrong with the policy, or None when a new one is in force."""

NO_POLICY: Final = IdentityPolicy()


class PolicyFile:
    """Read by many threads (`current`, `problem`), looked at by one (`check`).

    Args:
        path: the file; None for no policy, which nothing changes.
        tell: told of every change, not of the first reading.

    Raises:
        PolicyError: at the start there has to be a policy that can be used: there is no last good one yet.
    """

    def __init__(self, path: Path | None, tell: Tell = lambda _problem: None) -> None:
        self._path = path
        self._tell = tell
        self._read: bytes | str | None = None
        self.problem: str | None = None
        self.current = NO_POLICY
        if path is not None:
            self._read = _content(path)
            self.current = _parsed(self._read)

    def check(self) -> bool:
        """Reads the file again if it has changed; True when another policy is in force now."""
        if self._path is None:
            return False
        read = _content(self._path)
        if read == self._read:
            return False
        self._read = read
        try:
            policy = _parsed(read)
        except PolicyError as error:
            self.problem = f"policy file {self._path}: {error}"
            self._tell(f"{self.problem}\nthe last good policy stays in force")
            return False
        recovered, self.problem = self.problem is not None, None
        changed, self.current = policy != self.current, policy
        if changed or recovered:
            self._tell(None)
        return changed


def load_policy(path: Path) -> IdentityPolicy:
    """Reads a policy once. Raises `PolicyError`."""
    return _parsed(_content(path))


def _content(path: Path) -> bytes | str:
    """The file's bytes, or a text that says why it cannot be read."""
    try:
        with path.open("rb") as file:
            return file.read(4 * SIZE_LIMIT + 1)
    except FileNotFoundError:
        return "there is no such file"
    except OSError as error:
        return f"it cannot be read: {error.strerror}"


def _parsed(read: bytes | str) -> IdentityPolicy:
    if isinstance(read, str):
        raise PolicyError(read)
    try:
        text = read.decode("utf-8")
    except UnicodeDecodeError:
        text = None
    if text is None:
        raise PolicyError("it is not UTF-8; see docs/policy.md")
    return parse_policy(text)
