"""Logins by something signed: the cluster's ServiceAccount token, a JWT of another issuer, a TLS certificate."""

from __future__ import annotations

import datetime
import itertools
from functools import cached_property

import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from tests.contract.vault_tls import write_client
from tests.integration import jwts
from tests.integration.ways import Case, Place, Way
from tests.integration.world import eventually

REFUSED = "VaultLoginRefused"
ROLE = "podcert"
ACCOUNT = "certificate-manager"
ISSUER = "https://kubernetes.default.svc.cluster.local"


class Kubernetes(Way):
    """The manager's ServiceAccount token, bound to an object and to an audience, as the kubelet projects it."""

    name = "kubernetes"
    title = "by Kubernetes auth"
    _numbers = itertools.count()

    def set_up(self) -> None:
        api = self.world.cluster.api
        api.create(f"{self.world.core}/serviceaccounts", {"metadata": {"name": "reviewer"}})
        subject = {"kind": "ServiceAccount", "name": "reviewer", "namespace": self.world.namespace}
        role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "system:auth-delegator"}
        binding = {"metadata": {"name": self.mount}, "roleRef": role, "subjects": [subject]}
        api.create("/apis/rbac.authorization.k8s.io/v1/clusterrolebindings", binding)
        self.enable("kubernetes")
        config = {
            "kubernetes_host": self.world.cluster.apiserver_url,
            "kubernetes_ca_cert": self.world.cluster.ca_file.read_text(),
            "token_reviewer_jwt": self.world.cluster.token(self.world.namespace, "reviewer"),
        }
        self.world.ask("POST", f"auth/{self.mount}/config", config)
        bound = {
            "bound_service_account_names": ACCOUNT,
            "bound_service_account_namespaces": "podcert",
            "audience": "vault",
            "token_policies": self.world.namespace,
        }
        self.world.ask("POST", f"auth/{self.mount}/role/{ROLE}", bound)

    def settings(self) -> dict[str, str]:
        return {
            "PODCERT_AUTH": "kubernetes",
            "PODCERT_AUTH_MOUNT": self.mount,
            "PODCERT_AUTH_ROLE": ROLE,
            "PODCERT_AUTH_JWT_FILE": str(self.place.file("jwt")),
        }

    def good(self) -> None:
        self.place.write("jwt", self.token("vault"))

    def cases(self) -> tuple[Case, ...]:
        return (
            Case("expiry", "the token ends", self.let_end, REFUSED, ("has expired", "end 2023-11-14T22:23:20Z")),
            Case(
                "revocation",
                "what it is bound to is deleted",
                self.revoke,
                REFUSED,
                ("that it is bound to was deleted", "audience vault"),
            ),
            Case(
                "wrong",
                "a token for another audience",
                lambda: self.place.write("jwt", self.token("other")),
                REFUSED,
                ("the role's audience must be that of", "audience other"),
            ),
        )

    def token(self, audience: str) -> str:
        """Bound to a Secret of its own, which stands for the pod that the kubelet would bind it to."""
        name = f"bound-{self.mount}-{next(self._numbers)}"
        path = "/api/v1/namespaces/podcert"
        made = self.world.cluster.api.create(f"{path}/secrets", {"metadata": {"name": name}})
        self.bound = f"{path}/secrets/{name}"
        reference = {"apiVersion": "v1", "kind": "Secret", "name": name, "uid": made["metadata"]["uid"]}
        spec = {"audiences": [audience], "expirationSeconds": 600, "boundObjectRef": reference}
        asked = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec}
        path = f"{path}/serviceaccounts/{ACCOUNT}/token"
        return str(self.world.cluster.api.create(path, asked)["status"]["token"])

    def let_end(self) -> None:
        """The API server gives none of less than ten minutes: this one is made with its key, and ended long ago."""
        key = load_pem_private_key((self.world.cluster.folder / "pki" / "tokens.key").read_bytes(), None)
        assert isinstance(key, rsa.RSAPrivateKey)
        path = f"/api/v1/namespaces/podcert/serviceaccounts/{ACCOUNT}"
        uid = self.world.get(path)["metadata"]["uid"]
        own = {"namespace": "podcert", "serviceaccount": {"name": ACCOUNT, "uid": uid}}
        subject = f"system:serviceaccount:podcert:{ACCOUNT}"
        claims = {"iss": ISSUER, "sub": subject, "aud": ["vault"], "kubernetes.io": own, **jwts.ended()}
        self.place.write("jwt", jwts.jwt(key, claims))

    def revoke(self) -> None:
        """The object that the token is bound to goes; the API server knows within seconds."""
        token = self.place.file("jwt").read_text()
        assert self.world.cluster.api.call("DELETE", self.bound)[0] == 200
        path = "/apis/authentication.k8s.io/v1/tokenreviews"
        review = {"kind": "TokenReview", "apiVersion": "authentication.k8s.io/v1"}
        review["spec"] = {"token": token, "audiences": ["vault"]}  # type: ignore[assignment]
        api = self.world.cluster.api
        eventually(lambda: not api.create(path, review)["status"].get("authenticated"), what="the token's end")


class Jwt(Way):
    """A JWT of an issuer whose public key Vault knows."""

    name = "jwt"
    title = "by JWT"

    def __init__(self, place: Place) -> None:
        super().__init__(place)
        self.key = ec.generate_private_key(ec.SECP256R1())

    def set_up(self) -> None:
        self.enable("jwt")
        bound = {"role_type": "jwt", "user_claim": "sub", "bound_audiences": ["vault"]}
        self.world.ask("POST", f"auth/{self.mount}/role/{ROLE}", bound | {"token_policies": self.world.namespace})

    def settings(self) -> dict[str, str]:
        return {
            "PODCERT_AUTH": "jwt",
            "PODCERT_AUTH_MOUNT": self.mount,
            "PODCERT_AUTH_ROLE": ROLE,
            "PODCERT_AUTH_JWT_FILE": str(self.place.file("jwt")),
        }

    def good(self) -> None:
        self.trust(self.key)
        self.give(aud="vault")

    def give(self, **claims: object) -> None:
        """A JWT with these claims."""
        self.place.write("jwt", jwts.jwt(self.key, jwts.claims_now(**claims)))

    def trust(self, key: jwts.Key) -> None:
        """The issuer's key, as Vault knows it."""
        self.world.ask("POST", f"auth/{self.mount}/config", {"jwt_validation_pubkeys": [jwts.public_pem(key)]})

    def cases(self) -> tuple[Case, ...]:
        other = ec.generate_private_key(ec.SECP256R1())
        return (
            Case(
                "expiry", "the JWT ends", lambda: self.give(**jwts.ended()), REFUSED, ("the JWT has expired", "2023-")
            ),
            Case(
                "revocation",
                "the issuer's key is taken from Vault",
                lambda: self.trust(other),
                REFUSED,
                ("must know the issuer's keys", "the JWT states"),
            ),
            Case(
                "wrong",
                "a JWT for another audience",
                lambda: self.give(aud="other"),
                REFUSED,
                ("bound_audiences must hold the audience", "audience other"),
            ),
        )


class Certificate(Way):
    """A client certificate, shown on the connection itself."""

    name = "cert"
    title = "by TLS certificate"

    @cached_property
    def clients(self) -> trustme.CA:
        """The CA of good certificates."""
        return trustme.CA()

    def set_up(self) -> None:
        self.enable("cert")
        bound = {"certificate": self.clients.cert_pem.bytes().decode(), "allowed_common_names": "manager"}
        bound["token_policies"] = self.world.namespace
        self.world.ask("POST", f"auth/{self.mount}/certs/{ROLE}", bound)

    def settings(self) -> dict[str, str]:
        return {
            "VAULT_ADDR": self.place.tls.url,
            "VAULT_CACERT": str(self.place.tls.ca_file),
            "VAULT_CLIENT_CERT": str(self.place.file("cert.pem")),
            "VAULT_CLIENT_KEY": str(self.place.file("key.pem")),
            "PODCERT_AUTH": "cert",
            "PODCERT_AUTH_MOUNT": self.mount,
            "PODCERT_AUTH_ROLE": ROLE,
        }

    def good(self) -> None:
        self.world.vault.call("DELETE", f"auth/{self.mount}/crls/revoked")
        write_client(self.world.folder, self.clients, "manager")

    def cases(self) -> tuple[Case, ...]:
        return (
            Case("expiry", "the certificate ends", self.let_end, REFUSED, ("has expired", "end 20")),
            Case(
                "revocation",
                "its serial is on the CRL",
                self.revoke,
                REFUSED,
                ("accepted this certificate before: it was revoked", "serial"),
            ),
            Case(
                "wrong",
                "a certificate of another CA",
                lambda: write_client(self.world.folder, trustme.CA(), "manager"),
                REFUSED,
                ("no role trusts its CA", "is for manager"),
            ),
        )

    def let_end(self) -> None:
        """One that ended a minute ago."""
        now = datetime.datetime.now(datetime.UTC)
        first, last = now - datetime.timedelta(hours=1), now - datetime.timedelta(minutes=1)
        made = self.clients.issue_cert("manager", common_name="manager", not_before=first, not_after=last)
        self.place.write("cert.pem", b"".join(blob.bytes() for blob in made.cert_chain_pems).decode())
        self.place.write("key.pem", made.private_key_pem.bytes().decode())

    def revoke(self) -> None:
        """By its CA."""
        leaf = x509.load_pem_x509_certificates(self.place.file("cert.pem").read_bytes())[0]
        now = datetime.datetime.now(datetime.UTC)
        revoked = x509.RevokedCertificateBuilder().serial_number(leaf.serial_number).revocation_date(now).build()
        crl = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(leaf.issuer)
            .last_update(now)
            .next_update(now + datetime.timedelta(hours=1))
            .add_revoked_certificate(revoked)
            .sign(load_pem_private_key(self.clients.private_key_pem.bytes(), None), hashes.SHA256())  # type: ignore[arg-type]
        )
        body = {"crl": crl.public_bytes(serialization.Encoding.PEM).decode()}
        self.world.ask("POST", f"auth/{self.mount}/crls/revoked", body)
