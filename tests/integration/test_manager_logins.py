"""The manager as a process logs in by AppRole and by JWT, enrols a pod, and revokes its token when it ends."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from tests.cluster import pki
from tests.integration.manager import running
from tests.integration.world import World, eventually

pytestmark = pytest.mark.cluster


def approle(world: World) -> dict[str, str]:
    """Settings and an AppRole of this world's own."""
    mount = f"approle-{world.namespace}"
    world.ask("POST", f"sys/auth/{mount}", {"type": "approle"})
    world.ask("POST", f"auth/{mount}/role/podcert", {"token_policies": world.namespace, "token_ttl": "1h"})
    role_id = world.ask("GET", f"auth/{mount}/role/podcert/role-id")["data"]["role_id"]
    secret_id = world.ask("POST", f"auth/{mount}/role/podcert/secret-id")["data"]["secret_id"]
    file = world.folder / "secret-id"
    pki.write(file, secret_id.encode())
    return {
        "PODCERT_AUTH": "approle",
        "PODCERT_AUTH_MOUNT": mount,
        "PODCERT_AUTH_ROLE_ID": role_id,
        "PODCERT_AUTH_SECRET_ID_FILE": str(file),
    }


def jwt(world: World) -> dict[str, str]:
    """Settings, and a JWT of an issuer that this world's auth method trusts."""
    mount, issuer = f"jwt-{world.namespace}", ec.generate_private_key(ec.SECP256R1())
    public = issuer.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    role = {"role_type": "jwt", "user_claim": "sub", "bound_audiences": ["vault"], "token_policies": world.namespace}
    world.ask("POST", f"sys/auth/{mount}", {"type": "jwt"})
    world.ask("POST", f"auth/{mount}/config", {"jwt_validation_pubkeys": [public.decode()]})
    world.ask("POST", f"auth/{mount}/role/podcert", role)
    now = int(time.time())
    claims = {"sub": "manager", "aud": "vault", "iat": now - 5, "nbf": now - 5, "exp": now + 600}
    text = ".".join(_encoded(json.dumps(part).encode()) for part in ({"alg": "ES256"}, claims))
    numbers = decode_dss_signature(issuer.sign(text.encode(), ec.ECDSA(hashes.SHA256())))
    file = world.folder / "jwt"
    signature = b"".join(number.to_bytes(32, "big") for number in numbers)
    pki.write(file, f"{text}.{_encoded(signature)}".encode())
    return {"PODCERT_AUTH": "jwt", "PODCERT_AUTH_MOUNT": mount, "PODCERT_AUTH_JWT_FILE": str(file)}


def _encoded(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def tokens(world: World) -> set[str]:
    """Accessors of every token that Vault knows."""
    return set(world.ask("LIST", "auth/token/accessors")["data"]["keys"])


@pytest.mark.parametrize("method", [approle, jwt])
def test_a_manager_that_logs_in_enrols_a_pod_and_leaves_no_token_behind(
    world: World, method: Callable[[World], dict[str, str]]
) -> None:
    settings = method(world)
    before = tokens(world)
    with running(world.launch(kubeconfig=None, vault_url="", **settings)):
        world.pod("web")
        world.enrolled("web")
        assert len(tokens(world) - before) == 1
    eventually(lambda: not tokens(world) - before)
