"""How loudly a revocation is told: once where it is done or given up, never every few seconds while Vault is away."""

from __future__ import annotations

import pytest
from structlog.testing import capture_logs

from certmanager.domain.model import Pod
from certmanager.observe.metrics import REVOCATIONS, Metrics
from certmanager.observe.reporter import Reporter


class _NoEvents:
    def normal(self, pod: Pod, reason: str, message: str) -> None: ...

    def warning(self, pod: Pod, reason: str, message: str) -> None: ...


LEVELS = {
    "revoked": "info",
    "skipped": "info",
    "failed": "debug",
    "refused": "warning",
    "unproven": "warning",
    "dropped": "warning",
}


@pytest.mark.parametrize("result", REVOCATIONS)
def test_each_result_is_counted_and_logged_at_its_level(result: str) -> None:
    metrics = Metrics("test")
    with capture_logs() as lines:
        Reporter(_NoEvents(), metrics).revoked("shop/web", result, "certificate 01:02 …")
    (line,) = lines
    assert (line["log_level"], line["result"], line["subject"]) == (LEVELS[result], result, "shop/web")
    assert f'podcert_revocations_total{{result="{result}"}} 1.0' in metrics.render().decode()
