"""Puts the parts of the Vault client together, for the composition root and for tests."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from certmanager.domain.errors import NotYet
from certmanager.vault import errors
from certmanager.vault.circuit import Circuit, Clock, Heartbeat
from certmanager.vault.config import VaultConfig
from certmanager.vault.errors import Call
from certmanager.vault.issuers import Issuers
from certmanager.vault.login import Login
from certmanager.vault.pki import VaultPki
from certmanager.vault.preflight import RolePreflight
from certmanager.vault.revoke import VaultRevoker
from certmanager.vault.session import VaultSession
from certmanager.vault.transport import Transport

_HEALTH = Call("GET", "sys/health")
_LEADER = Call("GET", "sys/leader")


def _nothing() -> None:
    """The default for hooks."""


@dataclass(frozen=True, slots=True)
class Hooks:
    """What the client tells the application. Called from its threads; must be quick and raise nothing.

    Attributes:
        on_recovered: Vault answers again, or there is another token, or a role that forbade something has been changed:
            waiting keys may go.
        on_bug: an unexpected error in the heartbeat.
    """

    on_recovered: Callable[[], None] = _nothing
    on_bug: Callable[[BaseException], None] = lambda _error: None


@dataclass(frozen=True, slots=True)
class Vault:
    """The client: `pki` is the engine's `CertificateAuthority`, `preflight` its `Preflight`, `revoker` its `Revoker`; `session`
    serves other paths.

    `heartbeat` drives the probe and the renewals from `start` to `stop`.
    """

    pki: VaultPki
    preflight: RolePreflight
    revoker: VaultRevoker
    session: VaultSession
    circuit: Circuit
    transport: Transport
    heartbeat: Heartbeat

    def start(self) -> None:
        """Logs in and probes from now on, in a thread of its own."""
        self.heartbeat.start()

    def stop(self) -> None:
        """Ends the thread, revokes the token of our own login, and closes the connections.

        A token that was given to us stays as it is: others may use it.
        """
        self.heartbeat.stop()
        self.session.close()
        self.transport.close()


def connect(config: VaultConfig, login: Login, hooks: Hooks | None = None, monotonic: Clock = time.monotonic) -> Vault:
    """A client that has not yet called anybody. Raises ValueError for TLS settings that cannot be used."""
    hooks = hooks or Hooks()
    transport = Transport(config)

    def probe(reason: str) -> NotYet | None:
        # By a new connection: behind one Service are several servers, and the old connections lead to one that is not well.
        transport.reconnect()
        try:
            answer = transport.request(_HEALTH, None)
            standby = reason == "VaultStandby" and answer.status == 429
            leader = transport.request(_LEADER, None) if standby else None
        except NotYet as error:
            return error
        return errors.from_health(answer, leader)

    heartbeat = Heartbeat(hooks.on_bug)
    circuit = Circuit(probe, monotonic, hooks.on_recovered, on_opened=heartbeat.wake)
    session = VaultSession(transport, login, circuit, monotonic, hooks.on_recovered)
    issuers = Issuers(session, monotonic)
    preflight = RolePreflight(session, issuers, monotonic, hooks.on_recovered)
    heartbeat.drive(transport.refresh, circuit.step, session.tick, preflight.step)
    pki, revoker = VaultPki(session, issuers), VaultRevoker(session)
    return Vault(pki, preflight, revoker, session, circuit, transport, heartbeat)
