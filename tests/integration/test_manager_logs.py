"""No key, token or Secret's body in any log, Event or metric of a run at level debug with everything that can go wrong."""

from __future__ import annotations

import base64
import json

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tests.integration.logscan import Finding, scan
from tests.integration.manager import running
from tests.integration.proxy import Asked, Fault, proxying
from tests.integration.test_manager_api_outage import meeting
from tests.integration.world import World, eventually

PODS = 20


def new_key() -> str:
    """A private key, PKCS#8 PEM."""
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return ec.generate_private_key(ec.SECP256R1()).private_bytes(*form).decode()


TOKEN = "hvs." + "CAESIJ" + "planted" * 4


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        (new_key(), "private key"),
        (json.dumps({"message": new_key()}), "private key"),
        (base64.b64encode(new_key().encode()).decode(), "private key in base64"),
        (f"token={TOKEN}", "token of Vault"),
        ("token: s." + "a1B2" * 6, "token of OpenBao"),
        ("Authorization: Bearer eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJrdWJlIn0.c2ln", "JWT"),
    ],
)
def test_the_scanner_knows_each_kind_by_its_shape(line: str, kind: str) -> None:
    assert scan(f"before\n{line}\nafter") == [Finding(2, kind)]


def test_the_scanner_knows_a_secret_by_any_line_of_it_and_takes_names_for_names() -> None:
    key = new_key()
    assert scan(f"x {key.splitlines()[1]} y", [key.encode()]) == [Finding(1, "known secret")]
    assert (
        scan("s.default.svc.cluster.local hvs. -----BEGIN CERTIFICATE----- web-0-cert-12345678", [key.encode()]) == []
    )


def _leak(key: str, token: str) -> list[Fault]:
    """Answers of Vault that hold what must not be quoted."""
    return [
        Fault(200, json.dumps({"data": {"private_key": key, "certificate": key}}).encode()),
        Fault(200, f'{{"data": "{token}", broken'.encode()),
        Fault(500, json.dumps({"errors": [f"failed for token {token}: {key}"]}).encode()),
    ]


@pytest.mark.cluster
def test_a_whole_run_at_level_debug_holds_no_secret_but_the_planted_ones(world: World) -> None:
    key, token = new_key(), world.token()
    answers = _leak(key, token)
    turn = iter(range(10**6))

    def sometimes(asked: Asked) -> Fault | None:
        number = next(turn) if "/sign/" in asked.path or "/issue/" in asked.path else 1
        return answers[number // 2 % len(answers)] if number % 2 == 0 else None

    names = [f"talk-{number}" for number in range(PODS)]
    with proxying(world.vault.url) as proxy, running(world.launch(vault_url=proxy.url)) as manager:
        proxy.hurt(sometimes)
        for number, name in enumerate(names):
            world.pod(name, {"mode": "issue"} if number % 2 else {})
        world.pod("leaky", {"role": token, "common-name": "-----BEGIN PRIVATE KEY-----"})
        world.warned("leaky", "InvalidAnnotation")
        world.enrolled(*names, seconds=120)
        world.judge(names)
        world.patch(f"secret/{world.secrets()[0]['metadata']['name']}", {"data": {"tls.crt": ""}})
        eventually(lambda: manager.metric("podcert_reconcile_total", reason="CertificateUnreadable") > 0)
        world.ask("POST", "auth/token/revoke", {"token": token})
        world.pod("late")
        world.warned("late", "VaultTokenRefused", 60)
        metrics, log = manager.metrics(), manager.log()
        bugs = manager.metric("podcert_bugs_total")
    said = json.dumps(world.get(f"{world.core}/events"), indent=0)
    bodies = [base64.b64decode(one["data"]["tls.key"]) for one in world.secrets()]
    identity = json.loads(world.kubeconfig.read_text())["users"][0]["user"]["token"]
    secrets = [*bodies, key.encode(), token.encode(), identity.encode(), world.vault.root_token.encode()]
    everything = "\n".join([log, manager.log(), metrics])
    lines = everything.splitlines()
    for name in names:
        assert sum(name in line for line in lines) >= 1, f"no line about {name}"
    print(
        f"\nFIGURE {len(lines)} lines of log and metrics, {len(said.splitlines())} of Events, {len(secrets)} known secrets"
    )
    assert scan(everything, secrets) == []
    assert scan(said, secrets) == []
    planted = [*lines[:10], new_key(), *lines[10:20], f"a token {TOKEN} by mistake", *lines[20:]]
    assert [one.kind for one in scan("\n".join(planted), secrets)] == ["private key", "token of Vault"]
    assert bugs == 0


@pytest.mark.cluster
def test_a_run_with_an_api_server_that_quotes_bodies_holds_no_secret(world: World) -> None:
    """An admission webhook's or a proxy's message may quote what was sent; it is not ours to repeat."""
    key = new_key()
    coded = base64.b64encode(key.encode()).decode()
    status = {"kind": "Status", "status": "Failure", "reason": "Invalid", "message": f"bad: {coded} {key}", "code": 422}
    refusal = Fault(422, json.dumps(status).encode(), {"Content-Type": "application/json"})
    with meeting(world) as (proxy, manager):
        proxy.hurt(lambda asked: refusal if asked.method == "POST" and "/secrets" in asked.path else None)
        world.pod("quoted")
        message = world.warned("quoted", "KubernetesInvalid")
        print(f"KubernetesInvalid: {message}")
        said = json.dumps(world.get(f"{world.core}/events"), indent=0)
        assert scan(manager.log() + "\n" + said + "\n" + message, [key.encode()]) == []
        assert manager.metric("podcert_bugs_total") == 0
