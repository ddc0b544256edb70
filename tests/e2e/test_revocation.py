"""`podcert revoke` of a pod whose workload is rolled: its certificate is refused by nobody before its successor serves."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import Mapping

import pytest
from cryptography import x509

from tests.cluster.running import LocalCluster
from tests.e2e.rotating import Change, Place, until
from tests.e2e.scenario import ROOT, Scenario
from tests.left_out import leave_out

pytestmark = pytest.mark.e2e


def podcert_says(environment: Mapping[str, str], *arguments: str) -> str:
    """Runs `podcert` as a person does."""
    command = [sys.executable, "-m", "certmanager", *arguments]
    done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def revoked(environment: Mapping[str, str]) -> set[str]:
    """The serial numbers in Vault's CRL."""
    with urllib.request.urlopen(f"{environment['VAULT_ADDR']}/v1/pki/crl", timeout=30) as answer:  # noqa: S310 - loopback
        crl = x509.load_der_x509_crl(answer.read())
    return {f"{entry.serial_number:x}" for entry in crl}


def test_a_rolled_pods_certificate_is_revoked_after_its_successor_is_ready(podcert: Scenario) -> None:
    if not isinstance(podcert.cluster, LocalCluster):
        leave_out("provider local", "the commands go by its kubeconfig")
    with podcert.vault() as vault, Place(podcert, "revocation") as place:
        environment = {**vault, "KUBECONFIG": str(podcert.cluster.kubeconfig)}
        podcert_says({**os.environ, **vault}, "bootstrap", "--revoke")
        place.example("deployment-restart.yaml", Change("24h"))
        place.rolled_out("deployment/web")
        lines = json.loads(podcert_says(environment, "status", "-n", place.namespace, "-o", "json"))["pods"]
        assert {line["state"] for line in lines} == {"Ready"}
        old = next(line for line in lines if line["pod"].startswith("web-"))
        number = old["serial"].replace(":", "").lstrip("0")
        podcert_says(environment, "revoke", old["pod"], "-n", place.namespace)
        early = []

        def over() -> bool:
            """Looks at pods and CRL together: as long as the pod is there, nothing of it is revoked."""
            gone_before = old["pod"] not in {pod["metadata"]["name"] for pod in place.get("pods")}
            there = number in revoked(environment)
            if there and not gone_before and old["pod"] in {pod["metadata"]["name"] for pod in place.get("pods")}:
                early.append("revoked while its pod is there")
            return there

        until("its revocation", over, 150, pause=0.5)
        assert early == []
        place.rolled_out("deployment/web")
        after = json.loads(podcert_says(environment, "status", "-n", place.namespace, "-o", "json"))["pods"]
        assert {line["state"] for line in after} == {"Ready"}
        assert old["pod"] not in {line["pod"] for line in after}
        assert not {line["serial"].replace(":", "").lstrip("0") for line in after} & revoked(environment)
        until("no finalizer", lambda: not [one for one in place.get("secrets") if "finalizers" in one["metadata"]], 30)
