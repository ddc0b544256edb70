"""Fixtures for the contract tests: a server that a client with a token can begin with."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.contract.vault_server import ENDLESS, FakeVault, fake_vault


@pytest.fixture
def server() -> Iterator[FakeVault]:
    """A Vault that takes every token for one that never ends; the test adds what else it answers."""
    with fake_vault() as found:
        found.routes["auth/token/lookup-self"] = ENDLESS
        yield found
