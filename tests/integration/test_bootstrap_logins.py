"""`podcert bootstrap --auth jwt|approle|cert` against a real OpenBao: the manager logs in by what was made, others do not."""

from __future__ import annotations

import contextlib
import json
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import trustme
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from certmanager.domain.errors import NotYet
from certmanager.vault.config import VaultConfig
from certmanager.vault.login import Grant, Login
from certmanager.vault.login_approle import AppRoleLogin
from certmanager.vault.login_cert import CertLogin
from certmanager.vault.login_jwt import JwtLogin
from certmanager.vault.transport import Transport
from tests.cluster.openbao import DevServer
from tests.cluster.running import LocalCluster
from tests.contract.vault_tls import write_client
from tests.integration import jwts
from tests.integration.bootstrap_server import WEB, bootstrap, last_line, read, sign, write
from tests.integration.issuer import Issuer, publishing
from tests.integration.tls_server import TlsServer, tls_server

pytestmark = pytest.mark.cluster

MANAGER = "system:serviceaccount:podcert:certificate-manager"
SECRET_ID = "auth/approle/role/podcert/secret-id"


@contextlib.contextmanager
def transport(config: VaultConfig) -> Iterator[Transport]:
    made = Transport(config)
    try:
        yield made
    finally:
        made.close()


def login(server: DevServer, way: Login) -> Grant:
    with transport(VaultConfig(server.url)) as made:
        return way.login(made, None)


def can_sign(server: DevServer, grant: Grant) -> None:
    """The token can do the manager's work, lives as long as it should, and can be renewed."""
    assert sign(server, WEB, grant.token)[0] == 200
    assert write(server, "pki/roles/pods", grant.token, allow_any_name=True)[0] == 403
    assert (grant.ttl, grant.renewable) == (3600.0, True)


def done(server: DevServer, *options: str) -> str:
    """Run the command twice: the second run changes nothing. Returns what the second printed."""
    assert bootstrap(server, *options).exit_code == 0
    again = bootstrap(server, *options)
    assert last_line(again).startswith("0 changed, "), again.output
    return again.stdout


# JWT


@pytest.fixture
def keys(tmp_path: Path) -> tuple[ec.EllipticCurvePrivateKey, Path]:
    """An issuer's key, and the file with its public half, after that of another."""
    issuer, other = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    (tmp_path / "keys.pem").write_text(jwts.public_pem(other) + jwts.public_pem(issuer))
    return issuer, tmp_path / "keys.pem"


def test_a_jwt_of_the_issuers_key_logs_in_and_only_for_subject_and_audience(
    bao: DevServer, keys: tuple[ec.EllipticCurvePrivateKey, Path], tmp_path: Path
) -> None:
    issuer, file = keys
    done(bao, "--auth=jwt", f"--jwt-public-keys-file={file}")
    way = JwtLogin("jwt", "podcert", tmp_path / "jwt")

    def with_claims(**claims: object) -> Grant:
        (tmp_path / "jwt").write_text(jwts.jwt(issuer, jwts.claims_now(**claims)))
        return login(bao, way)

    can_sign(bao, with_claims(sub=MANAGER))
    for claims in ({"sub": f"{MANAGER}-2"}, {"sub": MANAGER, "aud": "elsewhere"}, {"sub": MANAGER, **jwts.ended()}):
        with pytest.raises(NotYet, match="VaultLoginRefused"):
            with_claims(**claims)


def test_a_token_of_the_clusters_service_account_logs_in_without_asking_the_cluster(
    bao: DevServer, control_plane: LocalCluster, tmp_path: Path
) -> None:
    key = load_pem_private_key((control_plane.folder / "pki" / "tokens.key").read_bytes(), None)
    assert isinstance(key, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey)
    (tmp_path / "sa.pub").write_text(jwts.public_pem(key))
    space = "bootstrap-jwt"
    control_plane.kubectl("create", "namespace", space)
    for account in ("certificate-manager", "other"):
        control_plane.kubectl("create", "serviceaccount", account, f"--namespace={space}")
    done(bao, "--auth=jwt", f"--jwt-public-keys-file={tmp_path}/sa.pub", f"--namespace={space}")

    def as_account(account: str) -> Grant:
        jwt = control_plane.kubectl("create", "token", account, f"--namespace={space}", "--audience=vault").stdout
        (tmp_path / "jwt").write_text(jwt)
        return login(bao, JwtLogin("jwt", "podcert", tmp_path / "jwt"))

    can_sign(bao, as_account("certificate-manager"))
    with pytest.raises(NotYet, match="VaultLoginRefused"):
        as_account("other")


@pytest.fixture
def issuer(tmp_path: Path) -> Iterator[Issuer]:
    with publishing(tmp_path) as made:
        yield made


def test_an_issuers_keys_are_fetched_where_it_publishes_them(bao: DevServer, issuer: Issuer, tmp_path: Path) -> None:
    options = ["--auth=jwt", f"--oidc-discovery-url={issuer.url}", "--bound-subject=ci:podcert"]
    refused = bootstrap(bao, *options)
    assert refused.exit_code == 1
    assert "--oidc-discovery-ca-file" in refused.stderr
    done(bao, *options, f"--oidc-discovery-ca-file={issuer.ca_file}")
    claims = jwts.claims_now(sub="ci:podcert", iss=issuer.url)
    (tmp_path / "jwt").write_text(jwts.jwt(issuer.key, claims, kid="1"))
    can_sign(bao, login(bao, JwtLogin("jwt", "podcert", tmp_path / "jwt")))


def test_an_auth_method_that_trusts_another_issuer_is_left_alone(
    bao: DevServer, keys: tuple[ec.EllipticCurvePrivateKey, Path], issuer: Issuer
) -> None:
    by_file = ["--auth=jwt", f"--jwt-public-keys-file={keys[1]}"]
    by_url = ["--auth=jwt", f"--oidc-discovery-url={issuer.url}", f"--oidc-discovery-ca-file={issuer.ca_file}"]
    for first, second in ((by_file, by_url), (by_url, by_file)):
        method = f"--auth-mount=of-{len(first)}"
        assert bootstrap(bao, *first, method).exit_code == 0
        refused = bootstrap(bao, *second, method)
        assert refused.exit_code == 1
        assert "trusts another issuer" in refused.stderr
        assert last_line(bootstrap(bao, *first, method)).startswith("0 changed")


def test_what_somebody_changed_of_the_jwt_login_is_repaired_and_what_bootstrap_does_not_set_is_kept(
    bao: DevServer, keys: tuple[ec.EllipticCurvePrivateKey, Path]
) -> None:
    options = ["--auth=jwt", f"--jwt-public-keys-file={keys[1]}"]
    done(bao, *options)
    role: dict[str, Any] = {"role_type": "jwt", "user_claim": "sub", "bound_subject": "x", "clock_skew_leeway": 7}
    assert write(bao, "auth/jwt/role/podcert", **role)[0] < 300
    pem = read(bao, "auth/jwt/config")["jwt_validation_pubkeys"][0]
    assert write(bao, "auth/jwt/config", jwt_validation_pubkeys=[pem], jwt_supported_algs=["ES256"])[0] < 300
    result = bootstrap(bao, *options)
    assert last_line(result) == "2 changed, 7 unchanged"
    assert f"bound_subject: x → {MANAGER}" in result.stdout
    found, config = read(bao, "auth/jwt/role/podcert"), read(bao, "auth/jwt/config")
    assert (found["bound_subject"], found["role_type"], found["clock_skew_leeway"]) == (MANAGER, "jwt", 7)
    assert (len(config["jwt_validation_pubkeys"]), config["jwt_supported_algs"]) == (2, ["ES256"])


# AppRole


def role_id(server: DevServer) -> str:
    return str(read(server, "auth/approle/role/podcert/role-id")["role_id"])


def test_the_role_id_is_printed_and_a_secret_id_is_put_into_a_file_that_only_its_owner_reads(
    bao: DevServer, tmp_path: Path
) -> None:
    file = tmp_path / "secret-id"
    said = done(bao, "--auth=approle", f"--secret-id-file={file}")
    assert f"role-id of AppRole podcert: {role_id(bao)}" in said
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert file.read_text().strip() not in said
    can_sign(bao, login(bao, AppRoleLogin("approle", role_id(bao), file)))
    found = json.loads(bootstrap(bao, "--auth=approle", "-o", "json").stdout)
    assert found["steps"][-1]["value"] == role_id(bao)
    assert "value" in found["steps"][0]
    assert bootstrap(bao, "--auth=approle", "--dry-run").exit_code == 0


def test_a_secret_id_that_was_destroyed_is_replaced_and_a_good_one_kept(bao: DevServer, tmp_path: Path) -> None:
    file = tmp_path / "it's a secret-id"
    options = ("--auth=approle", f"--secret-id-file={file}")
    done(bao, *options)
    first = file.read_text().strip()
    assert write(bao, f"{SECRET_ID}/destroy", secret_id=first)[0] == 204
    assert "not known to the role" in bootstrap(bao, *options).stdout
    assert file.read_text().strip() != first
    can_sign(bao, login(bao, AppRoleLogin("approle", role_id(bao), file)))
    assert [each.name for each in tmp_path.iterdir()] == [file.name]


def test_a_wrapped_secret_id_is_unwrapped_by_the_manager_and_made_anew_when_it_is_spent(
    bao: DevServer, tmp_path: Path
) -> None:
    file = tmp_path / "wrapped"
    options = ("--auth=approle", f"--secret-id-file={file}", "--wrap-ttl=5m")
    done(bao, *options)
    first = file.read_text()
    can_sign(bao, login(bao, AppRoleLogin("approle", role_id(bao), file, wrapped=True)))
    assert "spent or expired" in bootstrap(bao, *options).stdout
    assert file.read_text() != first
    can_sign(bao, login(bao, AppRoleLogin("approle", role_id(bao), file, wrapped=True)))
    plain = bootstrap(bao, "--auth=approle", f"--secret-id-file={file}")
    assert plain.exit_code == 0, "a spent wrapping token is no reason to stop"
    can_sign(bao, login(bao, AppRoleLogin("approle", role_id(bao), file)))


CONTENTS: dict[str, Callable[[DevServer], str]] = {
    "a password": lambda _: "correct-horse",
    "a manifest": lambda _: "apiVersion: v1\nkind: Secret\n",
    "the administrator's token": lambda server: str(write(server, "auth/token/create")[1]["auth"]["client_token"]),
}


@pytest.mark.parametrize("what", CONTENTS)
def test_a_secret_id_file_that_holds_something_else_is_not_overwritten(
    ready: DevServer, tmp_path: Path, what: str
) -> None:
    file = tmp_path / "file"
    content = CONTENTS[what](ready)
    file.write_text(content)
    result = bootstrap(ready, "--auth=approle", f"--secret-id-file={file}")
    assert result.exit_code == 1
    assert "not overwritten; name another file" in result.stderr
    assert content not in result.output
    assert file.read_text() == content


# TLS certificate


@pytest.fixture(scope="module")
def tls(openbao: DevServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TlsServer]:
    """A server with a TLS listener, which a login by certificate needs."""
    with tls_server(tmp_path_factory.mktemp("tls")) as server:
        yield server


@dataclass(frozen=True)
class Client:
    """A client certificate, and the CA that Vault is told of."""

    folder: Path
    authority: trustme.CA

    @property
    def options(self) -> tuple[str, ...]:
        self.authority.cert_pem.write_to_path(str(self.folder / "ca.pem"))
        return ("--auth=cert", f"--client-ca-file={self.folder}/ca.pem")

    def login(self, tls: TlsServer, name: str, authority: trustme.CA | None = None) -> Grant:
        write_client(self.folder, authority or self.authority, name)
        certificate, key = self.folder / "cert.pem", self.folder / "key.pem"
        config = VaultConfig(tls.url, ca_file=str(tls.ca_file), client_cert=str(certificate), client_key=str(key))
        with transport(config) as made:
            return CertLogin("cert", "podcert", certificate, key).login(made, None)


def test_a_certificate_of_the_ca_and_the_name_logs_in_and_no_other(tls: TlsServer, tmp_path: Path) -> None:
    client = Client(tmp_path, trustme.CA())
    done(tls.server, *client.options)
    can_sign(tls.server, client.login(tls, "certificate-manager.podcert.svc.cluster.local"))
    with pytest.raises(NotYet, match="VaultLoginRefused"):
        client.login(tls, "other.podcert.svc.cluster.local")
    with pytest.raises(NotYet, match="VaultLoginRefused"):
        client.login(tls, "certificate-manager.podcert.svc.cluster.local", trustme.CA())
    named = bootstrap(tls.server, *client.options, "--client-names=manager.example.com")
    assert last_line(named).startswith("1 changed, ")
    can_sign(tls.server, client.login(tls, "manager.example.com"))


def test_what_somebody_changed_of_a_certificate_role_is_repaired(tls: TlsServer, tmp_path: Path) -> None:
    client = Client(tmp_path, trustme.CA())
    assert bootstrap(tls.server, *client.options).exit_code == 0
    write(tls.server, "auth/cert/certs/podcert", allowed_dns_sans="*", display_name="podcert", token_policies="default")
    result = bootstrap(tls.server, *client.options)
    assert last_line(result).startswith("1 changed, ")
    found = read(tls.server, "auth/cert/certs/podcert")
    assert found["allowed_dns_sans"] == ["certificate-manager.podcert.svc.cluster.local"]
    assert (found["display_name"], found["token_policies"]) == ("podcert", ["pods"])
