"""Each login against a real OpenBao: a pod is enrolled, its end, revocation and wrong audience are told, and it recovers."""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import trustme
from cryptography.hazmat.primitives.asymmetric import ec

from certmanager.domain.errors import NotYet
from certmanager.domain.model import Names
from certmanager.vault import AppRoleLogin, CertLogin, JwtLogin, Login, Vault, VaultConfig, connect
from certmanager.x509.maker import X509KeyMaker
from tests.cluster.openbao import DevServer
from tests.contract.vault_tls import write_client
from tests.integration import jwts
from tests.integration.tls_server import tls_server
from tests.unit.domain.builders import request
from tests.unit.vault.builders import Clock

pytestmark = pytest.mark.cluster

NAME = "web.shop.svc.cluster.local"
REQUEST = request(ttl=600, names=Names(dns=(NAME,), common_name=NAME))
MAKER = X509KeyMaker()
SECRET_ID = "auth/approle/role/podcert/secret-id"
CLOCK = Clock()


@dataclass
class Place:
    """A server with PKI, a policy and three auth methods, on http and on https."""

    server: DevServer
    https: str
    authority: Path
    clients: trustme.CA
    issuer: ec.EllipticCurvePrivateKey

    def write(self, path: str, method: str = "POST", **body: Any) -> dict[str, Any]:
        status, answer = self.server.call(method, path, body or None)
        assert status < 300, (path, status, answer)
        return answer or {}

    def wrapped(self, path: str) -> str:
        """A token that wraps what a POST to `path` gives."""
        connection = http.client.HTTPConnection(self.server.url.removeprefix("http://"), timeout=10)
        headers = {"X-Vault-Token": self.server.root_token, "X-Vault-Wrap-TTL": "60s"}
        connection.request("POST", f"/v1/{path}", "{}", headers)
        answer = json.loads(connection.getresponse().read())
        connection.close()
        return str(answer["wrap_info"]["token"])


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("tls-listener")
    clients, issuer = trustme.CA(), ec.generate_private_key(ec.SECP256R1())
    with tls_server(folder) as tls:
        found = Place(tls.server, tls.url, tls.ca_file, clients, issuer)
        _prepare(found)
        yield found


def _prepare(place: Place) -> None:
    place.write("sys/mounts/pki", type="pki")
    place.write("pki/root/generate/internal", common_name="root", key_type="ec", ttl="700h")
    place.write("pki/roles/pods", key_type="any", allow_any_name=True, require_cn=False)
    place.write("sys/policies/acl/pods", policy='path "pki/sign/pods" { capabilities = ["update"] }')
    for method in ("approle", "jwt", "cert"):
        place.write(f"sys/auth/{method}", type=method)
    place.write("auth/approle/role/podcert", token_policies="pods", token_ttl="1h")
    place.write("auth/jwt/config", jwt_validation_pubkeys=[jwts.public_pem(place.issuer)])
    role: dict[str, Any] = {
        "role_type": "jwt",
        "user_claim": "sub",
        "bound_audiences": ["vault"],
        "token_policies": "pods",
    }
    place.write("auth/jwt/role/podcert", **role)
    ca = place.clients.cert_pem.bytes().decode()
    place.write("auth/cert/certs/podcert", certificate=ca, token_policies="pods", allowed_common_names="manager")


@pytest.fixture
def clients() -> Iterator[list[Vault]]:
    made: list[Vault] = []
    yield made
    for client in made:
        client.transport.close()


@pytest.fixture
def approle(place: Place, clients: list[Vault], tmp_path: Path) -> tuple[Vault, Path]:
    """Not wrapped; the file holds a valid secret-id."""
    file = tmp_path / "secret-id"
    file.write_text(_secret_id(place))
    return connected(clients, place, AppRoleLogin("approle", _role_id(place), file)), file


def _role_id(place: Place) -> str:
    return str(place.write("auth/approle/role/podcert/role-id", "GET")["data"]["role_id"])


def _secret_id(place: Place) -> str:
    return str(place.write(SECRET_ID)["data"]["secret_id"])


def connected(clients: list[Vault], place: Place, login: Login, folder: Path | None = None) -> Vault:
    config = VaultConfig(place.server.url)
    if folder is not None:
        certificate, key = str(folder / "cert.pem"), str(folder / "key.pem")
        config = VaultConfig(place.https, ca_file=str(place.authority), client_cert=certificate, client_key=key)
    clients.append(connect(config, login, None, CLOCK))
    return clients[-1]


def certified(clients: list[Vault], place: Place, folder: Path, name: str = "manager") -> Vault:
    """It shows a certificate of this name, and logs in with it."""
    write_client(folder, place.clients, name)
    return connected(clients, place, CertLogin("cert", "podcert", folder / "cert.pem", folder / "key.pem"), folder)


def enrol(client: Vault) -> None:
    """One pod's certificate, verified."""
    CLOCK.now += 10  # a refused login may be tried again
    key, csr = MAKER.request(REQUEST)
    signed = client.pki.sign("pki", "pods", csr, REQUEST.ttl)
    MAKER.bundle(REQUEST, key, signed, client.pki.trust("pki").anchors, time.time())


def failure(client: Vault) -> NotYet:
    with pytest.raises(NotYet) as raised:
        enrol(client)
    return raised.value


def lose(place: Place, client: Vault) -> None:
    """Its token is revoked by an administrator."""
    token = client.session._token
    assert token is not None
    place.write("auth/token/revoke", token=token.value)


def lookup(place: Place, token: str) -> int:
    return place.server.call("GET", "auth/token/lookup-self", token=token)[0]


def test_approle_enrols_and_survives_a_revoked_token(place: Place, approle: tuple[Vault, Path]) -> None:
    client, _ = approle
    enrol(client)
    lose(place, client)
    enrol(client)


def test_a_destroyed_secret_id_is_told_and_a_new_one_heals_it(place: Place, approle: tuple[Vault, Path]) -> None:
    client, file = approle
    enrol(client)
    place.write("auth/approle/role/podcert/secret-id/destroy", secret_id=file.read_text())
    lose(place, client)
    found = failure(client)
    assert (found.reason, file.read_text() in found.message) == ("VaultLoginRefused", False)
    assert "secret-id" in found.message
    file.write_text(_secret_id(place))
    enrol(client)


def test_a_wrapped_secret_id_is_unwrapped_once_and_then_spent_for_everybody_else(
    place: Place, clients: list[Vault], tmp_path: Path
) -> None:
    file = tmp_path / "wrapped"
    file.write_text(place.wrapped(SECRET_ID))
    first, second = (
        connected(clients, place, AppRoleLogin("approle", _role_id(place), file, wrapped=True)) for _ in range(2)
    )
    enrol(first)
    lose(place, first)
    enrol(first)
    found = failure(second)
    assert found.reason == "VaultSecretIdMisused"
    assert "someone else may have unwrapped it" in found.message
    file.write_text(place.wrapped(SECRET_ID))
    enrol(second)


def test_a_wrapping_token_of_something_else_is_told_and_left_alone(
    place: Place, clients: list[Vault], tmp_path: Path
) -> None:
    file = tmp_path / "wrapped"
    token = place.wrapped("sys/wrapping/wrap")
    file.write_text(token)
    found = failure(connected(clients, place, AppRoleLogin("approle", _role_id(place), file, wrapped=True)))
    assert "sys/wrapping/wrap" in found.message
    assert place.server.call("POST", "sys/wrapping/lookup", {"token": token})[0] == 200


def test_a_jwt_enrols_and_its_token_is_revoked_at_the_end(place: Place, clients: list[Vault], tmp_path: Path) -> None:
    file = tmp_path / "jwt"
    file.write_text(jwts.jwt(place.issuer, jwts.claims_now()))
    client = connected(clients, place, JwtLogin("jwt", "podcert", file))
    enrol(client)
    assert client.session._token is not None
    token = client.session._token.value
    assert lookup(place, token) == 200
    client.stop()
    assert lookup(place, token) == 403


@pytest.mark.parametrize(
    ("claims", "words"),
    [
        ({"aud": "other"}, "bound_audiences must hold the audience"),
        (jwts.ended(), "has expired"),
        ({"signature": "broken"}, "must know the issuer's keys"),
    ],
)
def test_a_jwt_that_vault_refuses_is_told_and_a_good_one_heals_it(
    place: Place, clients: list[Vault], tmp_path: Path, claims: dict[str, Any], words: str
) -> None:
    file = tmp_path / "jwt"
    bad = jwts.jwt(place.issuer, jwts.claims_now(**claims))
    file.write_text(bad[:-10] + "AAAAAAAAAA" if "signature" in claims else bad)
    client = connected(clients, place, JwtLogin("jwt", "podcert", file))
    found = failure(client)
    assert found.reason == "VaultLoginRefused"
    assert words in found.message
    assert "the JWT states" in found.message
    file.write_text(jwts.jwt(place.issuer, jwts.claims_now()))
    enrol(client)


def test_a_certificate_enrols_and_a_renewed_one_logs_in_again(
    place: Place, clients: list[Vault], tmp_path: Path
) -> None:
    client = certified(clients, place, tmp_path)
    enrol(client)
    before = client.session._token
    write_client(tmp_path, place.clients, "manager")
    client.session.tick()
    enrol(client)
    assert client.session._token is not before
    lose(place, client)
    enrol(client)


def test_a_certificate_of_another_name_or_ca_is_told_and_the_right_one_heals_it(
    place: Place, clients: list[Vault], tmp_path: Path
) -> None:
    client = certified(clients, place, tmp_path, "stranger")
    assert "is for stranger" in failure(client).message
    write_client(tmp_path, trustme.CA(), "manager")
    assert "auth/cert/certs/podcert" in failure(client).message
    write_client(tmp_path, place.clients, "manager")
    enrol(client)


def test_the_token_of_a_certificate_is_renewed_over_the_same_certificate(
    place: Place, clients: list[Vault], tmp_path: Path
) -> None:
    client = certified(clients, place, tmp_path)
    enrol(client)
    token = client.session._token
    assert token is not None
    assert token.renewable
    assert token.renew_at is not None
    at = token.renew_at
    client.session.tick(at)
    assert client.session._token is token
    assert token.renew_at > at
