"""What the tests of `podcert bootstrap` do with a server: run the command, read and write as root, sign, paste scripts."""

from __future__ import annotations

import ipaddress
import os
import subprocess
from pathlib import Path
from typing import Any

import trustme
from click.testing import CliRunner, Result
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from certmanager.cli import main
from tests.cluster import openbao
from tests.cluster.openbao import DevServer
from tests.integration import jwts

WEB = "web.default.svc.cluster.local"


def bootstrap(server: DevServer, *options: str, token: str | None = None) -> Result:
    environment = {"VAULT_ADDR": server.url, "VAULT_TOKEN": token or server.root_token, "HOME": "/nonexistent"}
    result = CliRunner().invoke(main, ["bootstrap", *options], env=environment)
    assert server.root_token not in result.output
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def last_line(result: Result) -> str:
    return result.stdout.splitlines()[-1]


def read(server: DevServer, path: str, method: str = "GET") -> dict[str, Any]:
    status, body = server.call(method, path)
    assert status == 200, (path, status)
    found: dict[str, Any] = body["data"]
    return found


def write(server: DevServer, path: str, token: str | None = None, **body: Any) -> tuple[int, dict[str, Any]]:
    status, answer = server.call("POST", path, body, token=token)
    return status, answer or {}


def csr(*names: str) -> str:
    """A CSR without a subject, of DNS names, IP addresses and URIs."""
    key = ec.generate_private_key(ec.SECP256R1())
    made = (
        x509.CertificateSigningRequestBuilder()
        .subject_name(x509.Name([]))
        .add_extension(x509.SubjectAlternativeName([general_name(name) for name in names]), critical=True)
        .sign(key, hashes.SHA256())
    )
    return made.public_bytes(serialization.Encoding.PEM).decode()


def general_name(name: str) -> x509.GeneralName:
    if "://" in name:
        return x509.UniformResourceIdentifier(name)
    return x509.IPAddress(ipaddress.ip_address(name)) if name[0].isdecimal() else x509.DNSName(name)


def sign(server: DevServer, name: str, token: str | None = None) -> tuple[int, dict[str, Any]]:
    return write(server, "pki/sign/pods", token, csr=csr(name))


def names(answer: dict[str, Any]) -> list[str]:
    certificate = x509.load_pem_x509_certificate(answer["data"]["certificate"].encode())
    extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    return extension.value.get_values_for_type(x509.DNSName)


_LOGINS = {
    "token": ("auth/token/roles/pods",),
    "kubernetes": ("auth/kubernetes/config", "auth/kubernetes/role/podcert", "sys/auth/kubernetes/tune"),
    "jwt": ("auth/jwt/config", "auth/jwt/role/podcert", "sys/auth/jwt/tune"),
    "approle": ("auth/approle/role/podcert", "sys/auth/approle/tune"),
    "cert": ("auth/cert/certs/podcert", "sys/auth/cert/tune"),
}


def state(server: DevServer, auth: str) -> dict[str, Any]:
    """Everything that bootstrap writes, as the server tells it, without what is made anew on each server."""
    mount = read(server, "sys/mounts")["pki/"]
    (issuer,) = read(server, "pki/issuers", "LIST")["key_info"]
    root = x509.load_pem_x509_certificate(read(server, f"pki/issuer/{issuer}")["certificate"].encode())
    public = root.public_key()
    assert isinstance(public, ec.EllipticCurvePublicKey)
    paths = ["pki/roles/pods", "pki/roles/pods-issue", "sys/policies/acl/pods", "sys/mounts/pki/tune"]
    paths += _LOGINS[auth]
    found: dict[str, Any] = {path: read(server, path) for path in paths}
    found["sys/policies/acl/pods"].pop("modified", None)
    return found | {
        # The CLI says `options: {}`, which is none.
        "mount": {key: value or None for key, value in mount.items() if key not in {"accessor", "uuid"}},
        "root": (
            root.subject.rfc4514_string(),
            public.curve.name,
            (root.not_valid_after_utc - root.not_valid_before_utc).days,
        ),
    }


def paste(server: DevServer, script: str, folder: Path) -> None:
    """Runs a script in a shell that finds OpenBao's CLI as `vault`."""
    folder.mkdir()
    (folder / "vault").symlink_to(openbao.binary())
    environment = {
        "PATH": f"{folder}:{os.environ['PATH']}",
        "HOME": str(folder),
        "VAULT_ADDR": server.url,
        "VAULT_TOKEN": server.root_token,
    }
    done = subprocess.run(["sh", "-eu"], input=script, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def login_options(auth: str, folder: Path) -> list[str]:
    """What each login needs beside its name, with the files for it, and what it may have."""
    ca, token, keys = folder / "ca of kind.pem", folder / "it's a token", folder / "keys.pem"
    ca.write_text(certificate_authority())
    token.write_text("eyJhbGciOiJub25lIn0.eyJzdWIiOiJ4In0.c2ln\n")
    keys.write_text("".join(jwts.public_pem(ec.generate_private_key(ec.SECP256R1())) for _ in range(2)))
    return {
        "token": [],
        "kubernetes": [f"--kubernetes-ca-file={ca}", f"--reviewer-token-file={token}"],
        "jwt": [f"--jwt-public-keys-file={keys}", "--bound-subject=system:serviceaccount:a:b", "--audience=https://v"],
        "approle": ["--secret-id-ttl=10m"],
        "cert": [f"--client-ca-file={ca}", "--client-names=a.example.com,b.example.com"],
    }[auth]


def certificate_authority() -> str:
    return trustme.CA().cert_pem.bytes().decode()


def limited(server: DevServer, name: str, policy: str) -> str:
    """A token with that policy and `default`."""
    server.call("PUT", f"sys/policies/acl/{name}", {"policy": policy})
    token: str = write(server, "auth/token/create", policies=[name])[1]["auth"]["client_token"]
    return token
