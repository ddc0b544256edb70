"""Settings of the Vault client that cannot be meant are told by name."""

from __future__ import annotations

from pathlib import Path

import pytest
import trustme

from certmanager.vault import tls
from certmanager.vault.config import VaultConfig


@pytest.mark.parametrize("address", ["", "vault:8200", "ftp://vault", "https://", "https://vault/?a=b"])
def test_an_address_that_is_no_url_is_refused_with_an_example(address: str) -> None:
    with pytest.raises(ValueError, match=r"VAULT_ADDR .* https://vault\.example\.com:8200"):
        VaultConfig(address)


def test_a_password_in_the_address_is_refused_and_not_repeated() -> None:
    with pytest.raises(ValueError, match="user name or password") as raised:
        VaultConfig("https://admin:hunter2@vault:8200")
    assert "hunter2" not in str(raised.value)


def test_times_and_counts_have_bounds() -> None:
    with pytest.raises(ValueError, match="VAULT_CLIENT_TIMEOUT 0"):
        VaultConfig("http://vault", read_timeout=0)
    with pytest.raises(ValueError, match="calls_at_once 0"):
        VaultConfig("http://vault", calls_at_once=0)


def test_ca_certificates_come_from_a_file_or_a_folder(tmp_path: Path) -> None:
    trustme.CA().cert_pem.write_to_path(str(tmp_path / "one.pem"))
    trustme.CA().cert_pem.write_to_path(str(tmp_path / "two.pem"))
    assert len(tls.context(VaultConfig("https://v", ca_file=str(tmp_path / "one.pem"))).get_ca_certs()) == 1
    assert len(tls.context(VaultConfig("https://v", ca_path=str(tmp_path))).get_ca_certs()) == 2


def test_a_ca_that_cannot_be_read_is_told_by_setting_and_path(tmp_path: Path) -> None:
    (tmp_path / "bad.pem").write_text("no certificate")
    with pytest.raises(ValueError, match=r"VAULT_CACERT .*bad\.pem"):
        tls.context(VaultConfig("https://v", ca_file=str(tmp_path / "bad.pem")))
    with pytest.raises(ValueError, match="VAULT_CAPATH"):
        tls.context(VaultConfig("https://v", ca_path=str(tmp_path / "missing")))
