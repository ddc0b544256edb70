"""Calls to Vault are counted by what came of them; what the client answers by itself is not a call."""

from __future__ import annotations

import pytest

from certmanager.domain.errors import NotYet, Refused
from certmanager.engine.counted import Counted
from certmanager.observe.metrics import Metrics
from tests.unit.engine.fakes import FakeVault


def counts(metrics: Metrics) -> dict[str, float]:
    prefix = 'podcert_vault_requests_total{operation="sign",status="'
    lines = [line for line in metrics.render().decode().splitlines() if line.startswith(prefix)]
    found = {line.removeprefix(prefix).partition('"')[0]: float(line.rpartition(" ")[2]) for line in lines}
    return {status: value for status, value in found.items() if value}


def sign(vault: FakeVault, metrics: Metrics, *, away: bool = False) -> None:
    Counted(vault, metrics.vault_request, lambda: away).sign("pki", "pods", "csr", None)


def test_a_call_is_counted_by_its_result() -> None:
    metrics = Metrics("1")
    sign(FakeVault(), metrics)
    for error in (Refused("VaultRefused", "no"), NotYet("VaultSealed", "sealed", shared=True), KeyError("oops")):
        with pytest.raises(type(error)):
            sign(FakeVault(errors=[error]), metrics)
    assert counts(metrics) == {"ok": 1, "VaultRefused": 1, "VaultSealed": 1, "bug": 1}


def test_what_the_client_answers_while_vault_is_away_is_no_call() -> None:
    metrics = Metrics("1")
    with pytest.raises(NotYet):
        sign(FakeVault(errors=[NotYet("VaultSealed", "sealed", shared=True)]), metrics, away=True)
    assert counts(metrics) == {}
