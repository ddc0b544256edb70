"""`podcert status`, `renew`, `revoke` without a cluster: wrong usage, and how a table looks."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st

from certmanager.cli import main
from certmanager.commands.cluster import told
from certmanager.commands.status import as_dict, table
from certmanager.domain.errors import Refused
from certmanager.domain.pod_status import PodStatus, State

NOW = 1_800_000_000.0
READY = PodStatus(
    namespace="shop",
    pod="web",
    names=("web.shop.svc.cluster.local",),
    secret="web-cert-12345678",
    serial="3a:4f:09:c1:5e",
    served_until=NOW + 86400,
    renewal_at=NOW + 7 * 3600 + 120,
    strategy="restart",
    in_place=False,
    state=State.READY,
    reason="",
    message="",
)
REFUSED = PodStatus("shop", "worker-0", (), "", "", None, None, "", False, State.REFUSED, "RoleForbids", "no")


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("KUBECONFIG", "VAULT_ADDR", "VAULT_TOKEN"):
        monkeypatch.delenv(name, raising=False)


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("status",), "there is no kubeconfig"),
        (("status", "web", "-A"), "leave -A out"),
        (("status", "--kubeconfig", "/nothing/here"), "/nothing/here"),
        (("renew",), "name pods, or all of them by --all"),
        (("renew", "web", "--all"), "name pods, or all of them by --all"),
        (("renew", "web", "--wait", "--timeout", "soon"), "--timeout=soon"),
        (("renew", "web"), "there is no kubeconfig"),
        (("revoke",), "one of the three"),
        (("revoke", "web", "--serial", "aa"), "one of the three"),
        (("revoke", "--serial", "zz"), "must be a serial number"),
        (("revoke", "--serial", "aa", "--mount", "../sys"), "--mount"),
        (("revoke", "--certificate", "/nothing"), "cannot be read"),
    ],
)
def test_wrong_usage_is_told_and_has_status_2(arguments: tuple[str, ...], words: str) -> None:
    result = run(*arguments)
    assert result.exit_code == 2, result.output
    assert words in result.output
    assert "Traceback" not in result.output


def test_a_token_file_is_no_certificate_and_its_content_is_not_repeated(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("hvs.secretwords")
    result = run("revoke", "--certificate", str(file))
    assert result.exit_code == 2
    assert "holds no certificate" in result.output
    assert "secretwords" not in result.output


def test_a_table_has_columns_and_a_dash_for_nothing() -> None:
    assert table([READY, REFUSED], NOW, wide=False, everywhere=False) == [
        "POD        STATE     REASON        SERVED UNTIL           RENEWAL   STRATEGY   SERIAL",
        "web        Ready     -             2027-01-16T08:00:00Z   in 7h2m   restart    3a:4f:09:c1…",
        "worker-0   Refused   RoleForbids   -                      -         -          -",
    ]


def test_a_wide_table_of_all_namespaces_has_everything() -> None:
    head, line = table([READY], NOW, wide=True, everywhere=True)
    assert head.split()[0] == "NAMESPACE"
    assert line.split()[0] == "shop"
    assert line.endswith("3a:4f:09:c1:5e   web-cert-12345678   web.shop.svc.cluster.local")


@given(st.floats(-1e7, 1e7), st.text(max_size=10))
def test_a_line_is_one_line_whatever_stands_in_annotations(seconds: float, text: str) -> None:
    odd = PodStatus("shop", "web", (text,), text, text, NOW, NOW + seconds, text, True, State.DUE, text, text)
    lines = table([odd], NOW, wide=True, everywhere=True)
    assert len(lines) == 2
    assert all(line.isprintable() for line in lines)


def test_json_has_times_in_rfc_3339_and_null_for_none() -> None:
    assert as_dict(READY)["servedUntil"] == "2027-01-16T08:00:00Z"
    assert as_dict(REFUSED) == {
        "namespace": "shop", "pod": "worker-0", "names": (), "secret": "", "serial": "", "servedUntil": None,
        "renewalAt": None, "strategy": "", "inPlace": False, "state": "Refused", "reason": "RoleForbids", "message": "no",
    }  # fmt: skip


def test_who_lacks_a_right_is_told_of_his_own_and_not_of_the_managers() -> None:
    error = Refused("KubernetesForbidden", "cannot read pods: no; compare the manager's ClusterRole with the manifests")
    assert told(error) == "cannot read pods: no; your rights do not allow it: docs/commands.md says what is needed"
    assert told(Refused("Other", "as it is; said")) == "as it is; said"
