"""`--secret-id-file`: a secret-id of the manager's AppRole, or a token that wraps one, in a file that only its owner can read.

In the flow: the last step of `run`, after the role that it needs. A file whose secret-id the role knows, or whose wrapping
token is not spent, is left as it is; a dead one is replaced; anything else is never overwritten.
Sources: https://developer.hashicorp.com/vault/api-docs/auth/approle#generate-new-secret-id, #read-approle-secret-id,
https://developer.hashicorp.com/vault/api-docs/system/wrapping-lookup.
"""

from __future__ import annotations

import re
import shlex
from typing import Final

from certmanager.vault import errors
from certmanager.vault.bootstrap import commands
from certmanager.vault.bootstrap.api import Admin
from certmanager.vault.bootstrap.compare import Difference
from certmanager.vault.bootstrap.plan import BootstrapPlan
from certmanager.vault.bootstrap.step import UNCHANGED, Decision, Write
from certmanager.vault.bootstrap.word_file import WordFile
from certmanager.vault.errors import Call
from certmanager.vault.login import lookup

_WRAPPING: Final = Call("POST", "sys/wrapping/lookup")
_SECRET_ID: Final = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_TOKEN: Final = re.compile(r"(?:hv)?[sb]\.[A-Za-z0-9_-]{20,}")


class SecretIdStep:
    """The secret-id in the plan's file."""

    def __init__(self, plan: BootstrapPlan, admin: Admin) -> None:
        if plan.secret_id_file is None:
            raise ValueError("the plan has no secret-id file")
        self._file = WordFile(plan.secret_id_file, "--secret-id-file", "SecretIdFileTaken")
        self._plan = plan
        self._admin = admin
        self._role = f"auth/{plan.auth_path}/role/{plan.auth_role}"
        what = "wrapped secret-id" if plan.wrap_ttl else "secret-id"
        self.name: Final = f"{what} in {plan.secret_id_file}"

    def decide(self) -> Decision:
        """Nothing to do, or a new one. Raises `Refused` when the file is not ours to overwrite, `NotYet`."""
        found = self._file.read()
        if found and self._is_good(found):
            return UNCHANGED
        self._file.check_folder()
        ttl = self._plan.wrap_ttl
        call = Call("POST", f"{self._role}/secret-id", wrap=None if ttl is None else str(ttl))
        options = ("-field=secret_id",) if ttl is None else (f"-wrap-ttl={ttl}", "-field=wrapping_token")
        create = commands.line("write", *options, "-f", call.path)
        file = shlex.quote(str(self._file.path))
        # A file that is there would keep its mode.
        command = f"(umask 077 && rm -f -- {file} && {create} > {file})"
        state = "absent" if not found else "spent or expired" if ttl else "not known to the role"
        return Decision((Difference("secret-id", state, "a new one"),), Write(call, {}, command))

    def write(self, write: Write) -> None:
        """Makes the secret-id and puts it, or what wraps it, into the file."""
        body = self._admin.write(write.call, write.payload)
        part, name = ("wrap_info", "token") if self._plan.wrap_ttl else ("data", "secret_id")
        inner = body.get(part)
        word = inner.get(name) if isinstance(inner, dict) else None
        if not isinstance(word, str) or not word:
            raise errors.unreadable(write.call, f"it lacks {part}.{name}")
        self._file.put(word)

    def _is_good(self, word: str) -> bool:
        """Whether the manager can log in with it. Raises `Refused` when it is something that must not be lost."""
        if _SECRET_ID.fullmatch(word):
            return not self._plan.wrap_ttl and self._is_known(word)
        if _TOKEN.fullmatch(word):
            return self._wraps_ours(word)
        raise self._file.refused("it holds no secret-id, and is not overwritten")

    def _is_known(self, secret_id: str) -> bool:
        read = Call("GET", self._role)
        if self._admin.read_all([read])[read] is None:
            return False  # its role is made by this run: to look a secret-id up there would be an error
        return bool(self._admin.write(Call("POST", f"{self._role}/secret-id/lookup"), {"secret_id": secret_id}))

    def _wraps_ours(self, token: str) -> bool:
        answer = self._admin.transport.request(_WRAPPING, None, {"token": token})
        if answer.status == 200:
            data = (answer.json() or {}).get("data")
            origin = data.get("creation_path") if isinstance(data, dict) else None
            if self._plan.wrap_ttl and origin == f"{self._role}/secret-id":
                return True
            raise self._file.refused("it holds a wrapping token that is still good, of something else; not overwritten")
        if answer.status not in {400, 403}:
            raise errors.from_answer(answer, _WRAPPING)
        if lookup(self._admin.transport, token) is not None:
            raise self._file.refused("it holds a valid Vault token, and is not overwritten")
        return False
