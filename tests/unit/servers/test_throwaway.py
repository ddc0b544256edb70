"""`podcert vault tls`: a certificate that a server can show before it can issue its own, and nothing that could sign another."""

from __future__ import annotations

import json
import ssl
import stat
import subprocess
import time
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from hypothesis import given
from hypothesis import strategies as st

from certmanager.console import Console
from certmanager.domain.model import Names
from certmanager.servers.throwaway import Options, main, server_names
from certmanager.x509.throwaway import throw_away
from fetcher import verify

NOW = 1_800_000_000.0
DAY = 86400


class Lines:
    """A console whose lines are kept."""

    def __init__(self) -> None:
        self.out: list[str] = []
        self.err: list[str] = []
        self.console = Console(self.out.append, self.err.append, {}, Path(), lambda: NOW)


@pytest.fixture
def lines() -> Lines:
    return Lines()


@pytest.fixture
def options(tmp_path: Path) -> Options:
    return Options(tmp_path / "vault-tls")


def test_the_certificate_has_the_names_by_which_servers_and_services_are_reached(options: Options) -> None:
    names = server_names(options)
    for name in (
        "vault.vault.svc.cluster.local",
        "vault.vault.svc",
        "vault-active.vault.svc.cluster.local",
        "vault-internal.vault.svc.cluster.local",
        "*.vault-internal.vault.svc.cluster.local",
        "localhost",
    ):
        assert name in names.dns
    assert names.ips == ("127.0.0.1", "::1")
    assert names.common_name == "vault.vault.svc.cluster.local"


def test_namespace_domain_and_further_names_are_the_users(options: Options) -> None:
    changed = replace(options, namespace="safe", cluster_domain="k8s.example", names=("vault.example.com", "10.0.0.7"))
    names = server_names(changed)
    assert "vault.safe.svc.k8s.example" in names.dns
    assert (names.dns[-1], names.ips[-1]) == ("vault.example.com", "10.0.0.7")
    assert not any("cluster.local" in name for name in names.dns)


def test_the_files_are_the_users_alone_and_the_next_commands_are_told(options: Options, lines: Lines) -> None:
    assert main(options, lines.console) == 0
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in options.directory.iterdir()}
    assert modes == {"tls.crt": 0o600, "tls.key": 0o600, "ca.crt": 0o600}
    assert stat.S_IMODE(options.directory.stat().st_mode) == 0o700
    assert list(options.directory.parent.iterdir()) == [options.directory]
    assert "kubectl create secret generic vault-tls-seed -n vault --type=kubernetes.io/tls" in lines.out[0]
    assert "end     2028-01-15T08:00:00Z" in lines.out[0]
    assert "PRIVATE KEY" not in "".join(lines.out + lines.err)


def test_a_program_reads_the_same_from_json(options: Options, lines: Lines) -> None:
    assert main(replace(options, as_json=True), lines.console) == 0
    said = json.loads(lines.out[0])
    made = x509.load_pem_x509_certificate((options.directory / "tls.crt").read_bytes())
    assert int(said["serial"].replace(":", ""), 16) == made.serial_number
    assert (said["directory"], said["notAfter"]) == (str(options.directory), "2028-01-15T08:00:00Z")
    assert said["ipAddresses"] == ["127.0.0.1", "::1"]


def test_the_cas_key_is_nowhere(options: Options, lines: Lines) -> None:
    """The one key in what is written and printed is the server's."""
    assert main(options, lines.console) == 0
    authority = x509.load_pem_x509_certificate((options.directory / "ca.crt").read_bytes())
    texts = [*lines.out, *map(Path.read_text, options.directory.iterdir())]
    keys = [text for text in texts if "PRIVATE KEY" in text]
    assert [text.count("PRIVATE KEY") for text in keys] == [2]  # its begin and its end
    assert load_pem_private_key(keys[0].encode(), None).public_key() != authority.public_key()


def test_openssl_and_the_fetcher_verify_it(tmp_path: Path) -> None:
    """At the present: both look at the real clock."""
    folder = tmp_path / "vault-tls"
    assert main(Options(folder), replace(Lines().console, now=time.time)) == 0
    leaf = verify.verify(folder / "tls.crt", folder / "tls.key", folder / "ca.crt")
    assert "DNS:vault.vault.svc.cluster.local" in leaf.names
    for name in ("vault.vault.svc.cluster.local", "vault-2.vault-internal.vault.svc.cluster.local"):
        command = ["openssl", "verify", "-x509_strict", "-purpose", "sslserver", "-verify_hostname", name, "-CAfile"]
        done = subprocess.run([*command, folder / "ca.crt", folder / "tls.crt"], capture_output=True, check=False)
        assert done.returncode == 0, done.stderr
    assert ssl.create_default_context(cafile=str(folder / "ca.crt")).cert_store_stats()["x509_ca"] == 1


@pytest.mark.parametrize("there", ["file", "folder"])
def test_what_is_there_is_never_changed(options: Options, lines: Lines, there: str) -> None:
    kept = options.directory
    if there == "folder":
        kept.mkdir()
        kept /= "tls.key"
    kept.write_text("mine")
    assert main(options, lines.console) == 1
    assert kept.read_text() == "mine"
    assert "it must not be there yet, or be empty: name another --directory" in lines.err[0]
    assert [path.name for path in options.directory.parent.iterdir()] == ["vault-tls"]


def test_an_empty_folder_is_filled(options: Options, lines: Lines) -> None:
    options.directory.mkdir()
    assert main(options, lines.console) == 0


def test_a_place_that_is_not_there_is_told(options: Options, lines: Lines) -> None:
    assert main(replace(options, directory=options.directory / "a" / "b"), lines.console) == 1
    assert "vault-tls/a cannot be written: No such file or directory" in lines.err[0]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"ttl": "soon"}, "--ttl is 'soon'; it must be a duration such as 90s"),
        ({"names": ("ex_ample",)}, "--name is 'ex_ample'; it must not have underscores"),
        ({"names": ("10.0.0.300",)}, "--name is '10.0.0.300'; it must be an IPv4 or IPv6 address"),
        ({"namespace": "Vault"}, "--namespace is 'Vault'; it must be lower case"),
        ({"cluster_domain": ""}, "--cluster-domain is ''; it must be a DNS name"),
    ],
)
def test_a_wrong_option_is_told_by_its_name_and_nothing_is_written(
    options: Options, lines: Lines, changes: dict[str, str], words: str
) -> None:
    assert main(replace(options, **changes), lines.console) == 2  # type: ignore[arg-type]
    assert words in lines.err[0]
    assert not options.directory.exists()


@given(lifetime=st.integers(1, 3650 * DAY))
def test_the_certificate_and_its_ca_end_together_and_two_are_never_alike(lifetime: int) -> None:
    names = Names(dns=("a.example",))
    one, other = throw_away(names, NOW, lifetime), throw_away(names, NOW, lifetime)
    assert one.leaf.not_after == NOW + lifetime
    ca = x509.load_pem_x509_certificate(one.authority.encode())
    assert ca.not_valid_after_utc.timestamp() == NOW + lifetime
    assert one.authority != other.authority
    x509.load_pem_x509_certificate(one.certificate.encode()).verify_directly_issued_by(ca)
    assert "PRIVATE" not in repr(one)
