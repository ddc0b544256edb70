"""The ways to log in, end to end: how each is set up, given a good credential, and spoilt in three ways.

What a manager says of it and how it recovers is in `endure`. A spoilt credential alone is not noticed while the last token
lives; so whoever spoils one takes the manager's tokens away too, as an administrator would.
"""

from __future__ import annotations

import http.client
import json
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

from tests.cluster import pki
from tests.integration.manager import Launch, Manager, running
from tests.integration.tls_server import TlsServer
from tests.integration.world import World, eventually


@dataclass(frozen=True)
class Case:
    """One way to spoil a credential.

    Attributes:
        kind: `expiry`, `revocation`, or `wrong`: the wrong audience, or what comes next to it.
        how: what is done, in words.
        spoil: does it.
        reason: what the manager is to say, with all of `words`.
        ready: whether /readyz says it; what concerns single paths of Vault is told by the pods' Events alone.
    """

    kind: str
    how: str
    spoil: Callable[[], None]
    reason: str
    words: tuple[str, ...]
    ready: bool = True


@dataclass(frozen=True)
class Told:
    """What came of a case: the message, and seconds from the good credential to the waiting pod's certificate."""

    way: str
    case: Case
    message: str
    seconds: float


@dataclass(frozen=True)
class Place:
    """A world whose Vault listens on https too."""

    world: World
    tls: TlsServer

    def file(self, name: str) -> Path:
        """A file of this world."""
        return self.world.folder / name

    def write(self, name: str, content: str) -> None:
        """Writes a file in one step, as the kubelet and Vault Agent do."""
        fresh = self.file(f".{name}.new")
        fresh.unlink(missing_ok=True)
        pki.write(fresh, content.encode())
        fresh.rename(self.file(name))

    def wrapped(self, path: str, seconds: int = 60) -> str:
        """A token that wraps what a POST to `path` gives, good for so long."""
        server = self.world.vault
        connection = http.client.HTTPConnection(server.url.removeprefix("http://"), timeout=10)
        headers = {"X-Vault-Token": server.root_token, "X-Vault-Wrap-TTL": f"{seconds}s"}
        connection.request("POST", f"/v1/{path}", "{}", headers)
        answer = json.loads(connection.getresponse().read())
        connection.close()
        return str(answer["wrap_info"]["token"])

    def take_tokens(self, but: str = "") -> None:
        """Revokes every token with the manager's policy, except one."""
        world = self.world
        spared = world.vault.call("GET", "auth/token/lookup-self", token=but)[1]["data"]["accessor"] if but else ""
        for accessor in world.ask("LIST", "auth/token/accessors")["data"]["keys"]:
            status, found = world.vault.call("POST", "auth/token/lookup-accessor", {"accessor": accessor})
            if status == 200 and world.namespace in found["data"]["policies"] and accessor != spared:
                world.vault.call("POST", "auth/token/revoke-accessor", {"accessor": accessor})


class Way(ABC):
    """One login method."""

    name: ClassVar[str]
    title: ClassVar[str]

    def __init__(self, place: Place) -> None:
        self.place = place
        self.world = place.world
        self.mount = f"{self.name}-{place.world.namespace}"

    @abstractmethod
    def set_up(self) -> None:
        """Sets Vault up."""

    @abstractmethod
    def settings(self) -> dict[str, str]:
        """The manager's."""

    @abstractmethod
    def good(self) -> None:
        """Gives the manager a credential that Vault accepts."""

    @abstractmethod
    def cases(self) -> tuple[Case, ...]:
        """Expiry, revocation, and the wrong one."""

    def launch(self) -> Launch:
        """A manager that logs in so."""
        usual = self.world.launch()
        return replace(usual, settings={**usual.settings, **self.settings()})

    def enable(self, kind: str) -> None:
        """An auth method of this world's own."""
        self.world.ask("POST", f"sys/auth/{self.mount}", {"type": kind})


def endure(way: Way) -> list[Told]:
    """One manager through all cases, never restarted: a pod before, one during, one after each."""
    world = way.world
    way.set_up()
    way.good()
    with running(way.launch()) as manager:
        world.pod(f"{way.name}-first")
        world.enrolled(f"{way.name}-first")
        return [_spoilt(way, case, manager) for case in way.cases()]


def _spoilt(way: Way, case: Case, manager: Manager) -> Told:
    world, during, after = way.world, f"{way.name}-{case.kind}-during", f"{way.name}-{case.kind}-after"
    said = len(manager.log())
    case.spoil()
    way.place.take_tokens()
    world.pod(during)
    eventually(lambda: _logged(manager, said, case), 40, f"{way.name}, {case.kind}: the log says {case.reason}")
    message = _logged(manager, said, case)
    for word in case.words:
        assert word in message, f"{way.name}, {case.kind}: {word!r} is not in {message!r}"
    if case.ready:
        assert manager.readiness()[0] == 503
        assert message in manager.readiness()[1]
    assert manager.liveness() == 200
    assert world.secret_of(during) is None
    way.good()
    seconds = world.enrolled(during)
    eventually(lambda: manager.readiness()[0] == 200, what="readiness")
    world.pod(after)
    world.enrolled(after)
    assert manager.metric("podcert_bugs_total") == 0
    return Told(way.name, case, message, seconds)


def _logged(manager: Manager, since: int, case: Case) -> str:
    """The message of that reason that was logged since then, or nothing."""
    lines = [
        json.loads(line) for line in manager.log()[since:].splitlines() if line.startswith("{") and line.endswith("}")
    ]
    told = (one for one in lines if one.get("reason") == case.reason and one["level"] == "warning")
    return next((str(one["message"]) for one in told), "")
