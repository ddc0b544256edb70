"""`--token-file`: a token for the manager, made through the token role, in a file that only its owner can read.

In the flow: the last step of `run`, after the role that it needs. A file whose token lives and has the policy is left as
it is; one that holds anything else than a dead token of ours is never overwritten.
"""

from __future__ import annotations

import os
import shlex
import tempfile
from pathlib import Path
from typing import Any, Final

from certmanager.domain.errors import Refused
from certmanager.vault import errors
from certmanager.vault.bootstrap import commands
from certmanager.vault.bootstrap.api import Admin
from certmanager.vault.bootstrap.compare import Difference
from certmanager.vault.bootstrap.plan import BootstrapPlan
from certmanager.vault.bootstrap.step import UNCHANGED, Decision, Write
from certmanager.vault.errors import Call

_LOOKUP: Final = Call("GET", "auth/token/lookup-self")
_MAX_BYTES: Final = 65536


class TokenStep:
    """The token in the plan's file."""

    def __init__(self, plan: BootstrapPlan, admin: Admin) -> None:
        if plan.token_file is None:
            raise ValueError("the plan has no token file")
        self._path = plan.token_file
        self._plan = plan
        self._admin = admin
        self.name: Final = f"token in {self._path}"

    def decide(self) -> Decision:
        """Nothing to do, or a new token. Raises `Refused` when the file is not ours to overwrite, `NotYet`."""
        found = self._read()
        if found:
            data = self._lookup(found)
            if data is not None:
                self._check(data)
                return UNCHANGED
        self._check_folder()
        role = self._plan.token_role
        create = commands.line("token", "create", f"-role={role}", "-field=token")
        file = shlex.quote(str(self._path))
        # A file that is there would keep its mode.
        command = f"(umask 077 && rm -f -- {file} && {create} > {file})"
        difference = Difference("token", "expired or revoked" if found else "absent", f"a new one of token role {role}")
        return Decision((difference,), Write(Call("POST", f"auth/token/create/{role}"), {}, command))

    def write(self, write: Write) -> None:
        """Makes the token and puts it into the file, 0600 from the start, complete or not at all."""
        body = self._admin.write(write.call, write.payload)
        auth = body.get("auth")
        token = auth.get("client_token") if isinstance(auth, dict) else None
        if not isinstance(token, str) or not token:
            raise errors.unreadable(write.call, "it lacks auth.client_token")
        try:
            self._put(token + "\n")
        except OSError as error:
            problem = error.strerror
        else:
            return
        raise self._refused(f"cannot be written ({problem}), and the token made for it is lost")

    def _put(self, text: str) -> None:
        descriptor, beside = tempfile.mkstemp(prefix=f".{self._path.name}.", dir=self._path.parent)  # mode 0600
        try:
            with os.fdopen(descriptor, "w", encoding="ascii") as file:
                file.write(text)
            Path(beside).replace(self._path)
        except OSError:
            Path(beside).unlink(missing_ok=True)
            raise

    def _check_folder(self) -> None:
        if not os.access(self._path.parent, os.W_OK | os.X_OK):
            raise self._refused("its folder is not there or cannot be written")

    def _read(self) -> str:
        try:
            with self._path.open("rb") as file:
                data = file.read(_MAX_BYTES)
        except FileNotFoundError:
            return ""
        except OSError as error:
            problem = error.strerror
        else:
            text = data.decode("ascii", "replace").strip()
            if not text or (len(text) < 4096 and text.isascii() and text.isprintable() and " " not in text):
                return text
            problem = "it holds something else than one token"
        raise self._refused(f"{problem}, and is not overwritten")

    def _lookup(self, token: str) -> dict[str, Any] | None:
        answer = self._admin.transport.request(_LOOKUP, token)
        if errors.token_lost(answer):
            return None
        body = answer.json()
        data = body.get("data") if body is not None else None
        if answer.status == 200 and isinstance(data, dict):
            return data
        raise errors.from_answer(answer, _LOOKUP)

    def _check(self, data: dict[str, Any]) -> None:
        policies = data.get("policies")
        if not isinstance(policies, list) or self._plan.policy not in policies:
            raise self._refused(
                f"it holds a valid token without the policy {self._plan.policy}, and is not overwritten"
            )

    def _refused(self, problem: str) -> Refused:
        return Refused("TokenFileTaken", f"--token-file {self._path}: {problem}; name another file")
