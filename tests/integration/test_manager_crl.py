"""openssl refuses a certificate that the manager has revoked, by CRL and by OCSP, and takes its successor."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import AuthorityInformationAccessOID

from tests.cluster.paths import REPOSITORY
from tests.integration.manager import running
from tests.integration.test_manager_revocation import enrolled, note, replaced, revoked, serial
from tests.integration.world import World, eventually

pytestmark = pytest.mark.cluster


def bootstrap(world: World) -> None:
    """`podcert bootstrap --revoke --crl-url …` as an administrator runs it."""
    names = ["--mount", world.mount, "--policy", world.namespace, "--token-role", world.namespace]
    command = [sys.executable, "-m", "certmanager", "bootstrap", *names, "--revoke", "--crl-url", world.vault.url]
    environment = {
        "PATH": os.environ["PATH"], "HOME": str(world.folder), "PYTHONPATH": str(REPOSITORY),
        "VAULT_ADDR": world.vault.url, "VAULT_TOKEN": world.vault.root_token,
    }  # fmt: skip
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr


def write(path: Path, certificate: x509.Certificate) -> Path:
    path.write_bytes(certificate.public_bytes(Encoding.PEM))
    return path


def openssl(*arguments: str | Path) -> str:
    """What openssl prints, whatever its status."""
    done = subprocess.run(["openssl", *map(str, arguments)], capture_output=True, text=True, timeout=60, check=False)
    return done.stdout + done.stderr


def fetched_crl(certificate: x509.Certificate, path: Path) -> Path:
    """The CRL from the address in the certificate, as PEM."""
    (point,) = certificate.extensions.get_extension_for_class(x509.CRLDistributionPoints).value
    assert point.full_name is not None
    with urllib.request.urlopen(str(point.full_name[0].value), timeout=30) as answer:  # noqa: S310 - loopback
        path.write_bytes(x509.load_der_x509_crl(answer.read()).public_bytes(Encoding.PEM))
    return path


def ocsp_address(certificate: x509.Certificate) -> str:
    access = certificate.extensions.get_extension_for_class(x509.AuthorityInformationAccess).value
    return str(
        next(each.access_location.value for each in access if each.access_method == AuthorityInformationAccessOID.OCSP)
    )


def test_openssl_refuses_a_revoked_certificate_and_takes_its_successor(world: World, tmp_path: Path) -> None:
    bootstrap(world)
    with running(world.launch()):
        first = enrolled(world, "web", {"rotation": "none"})
        note(world, "web", revoke=f"{serial(first)},now")
        second = replaced(world, "web", first)
        eventually(lambda: revoked(world, first))
    root = world.folder / "ca-cert.pem"
    root.write_text(world.ask("GET", f"{world.mount}/cert/ca")["data"]["certificate"])
    old, new = write(tmp_path / "old.pem", first), write(tmp_path / "new.pem", second)
    crl = fetched_crl(second, tmp_path / "crl.pem")
    verify = ("verify", "-crl_check", "-CAfile", root, "-CRLfile", crl)
    assert "certificate revoked" in openssl(*verify, old)
    assert openssl(*verify, new).strip() == f"{new}: OK"
    assert openssl("verify", "-CAfile", root, old).strip() == f"{old}: OK", "who does not look does not learn of it"
    ask = ("ocsp", "-issuer", root, "-CAfile", root, "-no_nonce", "-url", ocsp_address(second), "-cert")
    assert re.search(r"^Response verify OK$", openssl(*ask, old), re.MULTILINE)
    assert f"{old}: revoked" in openssl(*ask, old)
    assert f"{new}: good" in openssl(*ask, new)
