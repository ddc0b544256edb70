"""The main job: certificates made and delivered, at the promised speed, by a manager that leaves no trace of secrets."""

from __future__ import annotations

import functools
import json
import re
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.prove.proof import Proof, Shown, by_tests, run


def demo() -> Shown:
    """Both manifests in both modes."""
    done = run(["-m", "tests.demo"], 900)
    names = re.findall(r"Verified peername: (\S+)", done.stdout)
    count = re.search(r"(\d) of 4 handshakes verified", done.stdout)
    holds = done.returncode == 0 and count is not None and count[1] == "4" and len(names) == 4
    return Shown(holds, f"{count[0] if count else 'none'}, names {sorted(set(names))}")


@functools.cache
def bench() -> dict[str, Any]:
    """One run of the benchmark for all lines that ask for its figures."""
    with tempfile.TemporaryDirectory(prefix="podcert-prove-") as folder:
        results = Path(folder) / "bench-results.json"
        done = run(["-m", "tests.bench", "--results", str(results)], 1800)
        if done.returncode != 0:
            raise RuntimeError(done.stderr.strip()[-300:])
        return dict(json.loads(results.read_text()))


def figure(name: str, rule: str, holds: Callable[[float], bool]) -> Proof:
    """A figure of the benchmark and its bound."""

    def show() -> Shown:
        value = float(bench()[name])
        return Shown(holds(value), f"{value:g}")

    return Proof(f"make bench: {name} {rule}", show)


PROOFS = (
    Proof("make demo: both manifests in both modes, four verified handshakes, four verified names", demo),
    figure("ratio_to_ceiling", ">= 0.3", lambda value: value >= 0.3),
    figure("api_writes_per_enrollment", "<= 1.1", lambda value: value <= 1.1),
    figure("vault_sign_per_enrollment", "= 1", lambda value: value == 1),
    figure("latency_p99_ms", "<= 50", lambda value: value <= 50),
    figure("fetcher_ms", "<= 100", lambda value: value <= 100),
    by_tests(
        "restarted with 500 pods: no sign, no issue, no write in 30 s",
        "tests/integration/test_manager_killed.py::test_restarted_with_500_enrolled_pods_it_asks_vault_for_nothing_and_writes_nothing",
    ),
    by_tests(
        "podcert bootstrap twice changes nothing; its dry run, pasted into a shell, gives the same state",
        "tests/integration/test_bootstrap_openbao.py",
    ),
    by_tests(
        "a foreign Secret is left byte for byte as it is; refusals tell value, rule, remedy",
        "tests/integration/test_manager_lifecycle.py",
        "tests/integration/test_manager_bad_input.py",
    ),
    by_tests(
        "a scan of all logs finds the planted key and token and no other", "tests/integration/test_manager_logs.py"
    ),
    by_tests("no key, token, home folder or build path in the repository", "tests/unit/test_repository.py"),
)
