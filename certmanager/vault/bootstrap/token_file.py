"""`--token-file`: a token for the manager, made through the token role, in a file that only its owner can read.

In the flow: the last step of `run`, after the role that it needs. A file whose token lives and has the policy is left as
it is; one that holds anything else than a dead token of ours is never overwritten.
"""

from __future__ import annotations

import shlex
from typing import Any, Final

from certmanager.vault import errors
from certmanager.vault.bootstrap import commands
from certmanager.vault.bootstrap.api import Admin
from certmanager.vault.bootstrap.compare import Difference
from certmanager.vault.bootstrap.plan import BootstrapPlan
from certmanager.vault.bootstrap.step import UNCHANGED, Decision, Write
from certmanager.vault.bootstrap.word_file import WordFile
from certmanager.vault.errors import Call

_LOOKUP: Final = Call("GET", "auth/token/lookup-self")


class TokenStep:
    """The token in the plan's file."""

    def __init__(self, plan: BootstrapPlan, admin: Admin) -> None:
        if plan.token_file is None:
            raise ValueError("the plan has no token file")
        self._file = WordFile(plan.token_file, "--token-file", "TokenFileTaken")
        self._plan = plan
        self._admin = admin
        self.name: Final = f"token in {plan.token_file}"

    def decide(self) -> Decision:
        """Nothing to do, or a new token. Raises `Refused` when the file is not ours to overwrite, `NotYet`."""
        found = self._file.read()
        if found:
            data = self._lookup(found)
            if data is not None:
                self._check(data)
                return UNCHANGED
        self._file.check_folder()
        role = self._plan.token_role
        create = commands.line("token", "create", f"-role={role}", "-field=token")
        file = shlex.quote(str(self._file.path))
        # A file that is there would keep its mode.
        command = f"(umask 077 && rm -f -- {file} && {create} > {file})"
        difference = Difference("token", "expired or revoked" if found else "absent", f"a new one of token role {role}")
        return Decision((difference,), Write(Call("POST", f"auth/token/create/{role}"), {}, command))

    def write(self, write: Write) -> None:
        """Makes the token and puts it into the file."""
        body = self._admin.write(write.call, write.payload)
        auth = body.get("auth")
        token = auth.get("client_token") if isinstance(auth, dict) else None
        if not isinstance(token, str) or not token:
            raise errors.unreadable(write.call, "it lacks auth.client_token")
        self._file.put(token)

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
            raise self._file.refused(
                f"it holds a valid token without the policy {self._plan.policy}, and is not overwritten"
            )
