"""A fake Vault and its clients in the tests of logins and tokens: their clock moves by hand, and all are closed at the end."""

from __future__ import annotations

from certmanager.vault import Login, Vault, VaultConfig, connect
from certmanager.vault.connection import Hooks
from tests.contract.vault_server import FakeVault
from tests.unit.vault.builders import Clock


class VaultRig:
    """What a test begins with; those that derive from it say what the server answers.

    Args:
        server: its routes are filled by the one who derives.
        hooks: called by each client.
    """

    def __init__(self, server: FakeVault, hooks: Hooks | None = None) -> None:
        self.server = server
        self.clock = Clock()
        self._hooks = hooks
        self.clients: list[Vault] = []

    def connect(self, login: Login) -> Vault:
        """A client that has not logged in yet."""
        client = connect(VaultConfig(self.server.url), login, self._hooks, self.clock)
        self.clients.append(client)
        return client

    def close(self) -> None:
        """Ends the connections of all clients."""
        for client in self.clients:
            client.transport.close()
