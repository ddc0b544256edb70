"""Reads and writes with the administrator's token; a 403 becomes the list of rights that the token lacks.

In the flow: between `run` and the transport. Nothing is retried: a person is waiting, who sees what is wrong.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from certmanager.domain.errors import NotYet, PodcertError, Refused
from certmanager.vault import errors
from certmanager.vault.bootstrap.step import Write
from certmanager.vault.errors import Answer, Call
from certmanager.vault.login import lookup
from certmanager.vault.transport import Transport

_CAPABILITY: Final = {"GET": "read", "LIST": "list", "POST": "update", "PATCH": "patch"}
_OWN_CAPABILITIES: Final = Call("POST", "sys/capabilities-self")

_REMEDIES: Final = (
    (
        "serviceaccount/ca.crt",
        "this Vault does not run in the cluster: give its CA with --kubernetes-ca-file (and --reviewer-token-file)",
    ),
    (
        "error checking oidc discovery url",
        "Vault itself must reach it and trust its certificate: give --oidc-discovery-ca-file, or --jwt-public-keys-file instead",
    ),
    ("unsupported operation", "this server is too old to change some fields of a role: update it"),
)


@dataclass(frozen=True, slots=True)
class Admin:
    """A server and a token for it. `source` says where the token came from, for messages."""

    transport: Transport
    token: str = field(repr=False)
    source: str

    def read_all(self, calls: Iterable[Call]) -> dict[Call, Mapping[str, Any] | None]:
        """The `data` at each path, None where there is nothing. Raises `NotYet`, `Refused`; all 403s as one error."""
        found: dict[Call, Mapping[str, Any] | None] = {}
        forbidden: list[tuple[str, str]] = []
        for call in dict.fromkeys(calls):
            answer = self.transport.request(call, self.token)
            if answer.status == 403:
                forbidden.append((call.path, _CAPABILITY[call.method]))
            elif _absent(answer, call):
                found[call] = None
            else:
                found[call] = _data(answer, call)
        if forbidden:
            raise self._forbidden(forbidden)
        return found

    def write(self, call: Call, payload: Mapping[str, object]) -> Mapping[str, Any]:
        """Sends one write; the answer's JSON, {} for an empty one. Raises `NotYet`, `Refused`."""
        answer = self.transport.request(call, self.token, payload)
        if answer.status == 403:
            raise self._forbidden([(call.path, _CAPABILITY[call.method])])
        if 200 <= answer.status < 300:
            return answer.json() or {}
        raise _error(answer, call)

    def require(self, writes: Iterable[Write]) -> None:
        """Raises `Refused` with every right that `writes` need and the token lacks, before the first is sent.

        Asks `sys/capabilities-self`, which the policy `default` allows; without an answer the writes will tell.
        """
        needed = {write.call.path: write for write in writes}
        if not needed:
            return
        answer = self.transport.request(_OWN_CAPABILITIES, self.token, {"paths": list(needed)})
        body = answer.json()
        data = body.get("data") if body is not None and answer.status == 200 else None
        if not isinstance(data, dict):
            return
        missing = [(path, right) for path, write in needed.items() for right in _lacking(write, data.get(path))]
        if missing:
            raise self._forbidden(missing)

    def _forbidden(self, missing: list[tuple[str, str]]) -> PodcertError:
        try:
            lives = lookup(self.transport, self.token) is not None
        except NotYet as error:
            return error
        if not lives:
            return Refused(
                "VaultTokenRefused",
                f"Vault does not accept the token of {self.source}: it has expired or was revoked; log in again (`vault login`)",
            )
        rights: dict[str, list[str]] = {}
        for path, right in missing:
            rights.setdefault(path, []).append(right)
        lacks = ", ".join(f"{' and '.join(names)} on {path}" for path, names in rights.items())
        blocks = "\n".join(
            f'  path "{path}" {{ capabilities = {json.dumps(names)} }}' for path, names in rights.items()
        )
        return Refused(
            "VaultPolicyForbids",
            f"the token of {self.source} lacks {lacks}; nothing more was done. Use another token, or add to its policy:\n"
            f"{blocks}",
        )


def _lacking(write: Write, held: object) -> list[str]:
    """The capabilities that a write needs and `held` is without.

    `create` counts for `update`: which of them a POST needs depends on the path, and on what is there.
    """
    has = set(held) if isinstance(held, list) else set()
    if "root" in has:
        return []
    right = _CAPABILITY[write.call.method]
    allowed = right in has or (right == "update" and "create" in has)
    lacking = [] if allowed and "deny" not in has else [right]
    return [*lacking, "sudo"] if write.sudo and "sudo" not in has else lacking


def _absent(answer: Answer, call: Call) -> bool:
    """Whether there is nothing at that path: 404, or for the tuning of a mount that is not there 400."""
    if answer.status == 400:
        return call.path.endswith("/tune") and "cannot fetch sysview" in (errors.words(answer) or "")
    return answer.status == 404 and call.path not in {"sys/mounts", "sys/auth"}


def _data(answer: Answer, call: Call) -> Mapping[str, Any]:
    if answer.status != 200:
        raise _error(answer, call)
    body = answer.json()
    data = body.get("data") if body is not None else None
    if not isinstance(data, dict):
        raise errors.unreadable(call, "it has no data")
    return data


def _error(answer: Answer, call: Call) -> PodcertError:
    """As `errors.from_answer`, except that a 4xx here is no pod's business."""
    said = errors.words(answer)
    if said is None or not 400 <= answer.status < 500 or answer.status in {412, 429, 472, 473}:
        return errors.from_answer(answer, call)
    remedy = next((text for words, text in _REMEDIES if words in said.lower()), "change the option that this came from")
    return Refused("VaultRefused", f"Vault refuses {call} (HTTP {answer.status}), in its words: {said!r}; {remedy}")
