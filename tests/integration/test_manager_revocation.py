"""The manager revokes on the real API server and OpenBao: of pods that are gone, of replaced certificates, on request."""

from __future__ import annotations

import base64
import json
import re
import ssl
from collections.abc import Callable
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from certmanager.vault.bootstrap import BootstrapPlan
from certmanager.vault.bootstrap.steps import policy_text
from tests.integration.manager import Manager, running
from tests.integration.proxy import Fault, proxying
from tests.integration.world import World, eventually

pytestmark = pytest.mark.cluster

BOTH = "deleted,rotated"
NONE = {"rotation": "none"}


@pytest.fixture
def place(world: World) -> World:
    """A place whose manager's policy allows to revoke."""
    world.policy(policy_text(BootstrapPlan(mount=world.mount, revoke=True)))
    return world


def serial(pem: x509.Certificate) -> str:
    return pem.serial_number.to_bytes((pem.serial_number.bit_length() + 7) // 8, "big").hex(":")


def revoked(world: World, certificate: x509.Certificate) -> bool:
    """Whether the mount's CRL has it, as OpenBao publishes it."""
    text = world.ask("GET", f"{world.mount}/cert/crl")["data"]["certificate"]
    crl = x509.load_pem_x509_crl(text.encode())
    return crl.get_revoked_certificate_by_serial_number(certificate.serial_number) is not None


def enrolled(world: World, name: str, annotations: dict[str, str] | None = None) -> x509.Certificate:
    world.pod(name, annotations)
    eventually(lambda: world.secret_of(name) is not None, 30, f"a Secret for {name}")
    return world.leaf(name)


def note(world: World, pod: str, finalizers: list[str] | None = None, **notes: str) -> None:
    """Annotates a pod's Secret as a user does."""
    secret = world.secret_of(pod)
    assert secret is not None
    metadata: dict[str, Any] = {"annotations": {f"podcert.io/{name}": value for name, value in notes.items()}}
    if finalizers is not None:
        metadata["finalizers"] = finalizers
    world.patch(f"secret/{secret['metadata']['name']}", {"metadata": metadata})


def serves(world: World, pod: str, certificate: x509.Certificate) -> None:
    """The pod's fetcher says which certificate its files hold, by its termination message."""
    message = json.dumps(
        {"serial": serial(certificate), "notAfter": certificate.not_valid_after_utc.isoformat().replace("+00:00", "Z")}
    )
    times = {"startedAt": "2026-01-01T00:00:00Z", "finishedAt": "2026-01-01T00:00:01Z"}
    ended = {"exitCode": 0, "message": message, **times}
    state = {"name": "certificate-fetcher", "image": "none", "imageID": "", "ready": True, "restartCount": 0}
    status = {"initContainerStatuses": [state | {"state": {"terminated": ended}}]}
    arguments = ("patch", "pod", pod, "--subresource=status", "--type=merge", "-p", json.dumps({"status": status}))
    world.kubectl(*arguments)


def gone(world: World) -> Callable[[], bool]:
    return lambda: not world.secrets()


def replaced(world: World, pod: str, before: x509.Certificate) -> x509.Certificate:
    eventually(lambda: world.leaf(pod).serial_number != before.serial_number, 30, f"another certificate for {pod}")
    return world.leaf(pod)


def clean(manager: Manager) -> None:
    assert manager.metric("podcert_bugs_total") == 0
    assert "PRIVATE KEY" not in manager.log()
    assert not re.search(r"MII[A-Za-z0-9+/]{40}", manager.log()), "no certificate or key in the log"


@pytest.mark.parametrize("no_store", [False, True])
def test_the_certificates_of_deleted_pods_are_revoked_and_their_secrets_go(place: World, no_store: bool) -> None:
    place.role("pods", key_type="any", no_store=no_store)
    with running(place.launch(PODCERT_REVOKE="deleted")) as manager:
        stays = enrolled(place, "stays")
        leaves = [enrolled(place, f"goes-{number}") for number in range(5)]
        for number in range(5):
            place.delete_pod(f"goes-{number}")
        eventually(lambda: len(place.secrets()) == 1, 60, "the Secrets go")
        assert all(revoked(place, leaf) for leaf in leaves)
        assert not revoked(place, stays)
        assert manager.metric("podcert_revocations_total", result="revoked") == 5
        clean(manager)


def test_it_costs_one_write_for_each_certificate_and_none_where_it_is_off(place: World) -> None:
    figures = {}
    tls = ssl.create_default_context(cafile=str(place.cluster.ca_file))
    for value in ("none", "deleted"):
        with proxying(place.cluster.apiserver_url, tls) as api:
            kubeconfig = place.write_kubeconfig(place.folder / "counted.kubeconfig", api.url)
            with running(place.launch(kubeconfig=kubeconfig, PODCERT_REVOKE=value)) as manager:
                for number in range(5):
                    enrolled(place, f"{value}-{number}")
                for number in range(5):
                    place.delete_pod(f"{value}-{number}")
                eventually(gone(place), 60, "the Secrets go")
                assert manager.metric("podcert_bugs_total") == 0
            figures[value] = sum(api.count(method, "/secrets") for method in ("POST", "PUT", "PATCH", "DELETE")) / 5
    print(f"FIGURE writes of Secrets for a pod that comes and goes: {figures}")
    assert figures == {"none": 1.0, "deleted": 2.0}


def test_a_replaced_certificate_is_revoked_once_the_fetchers_files_hold_the_next(place: World) -> None:
    with running(place.launch(PODCERT_REVOKE="rotated")) as manager:
        first = enrolled(place, "web", NONE)
        serves(place, "web", first)
        eventually(lambda: manager.metric("podcert_reconcile_total", kind="pod") > 1)
        note(place, "web", renew=serial(first))
        second = replaced(place, "web", first)
        secret = place.secret_of("web")
        assert secret is not None
        held = json.loads(secret["metadata"]["annotations"]["podcert.io/superseded"])
        assert [old["serial"] for old in held] == [serial(first)]
        assert not revoked(place, first)
        serves(place, "web", second)
        eventually(lambda: revoked(place, first), 30, "the first is revoked")
        assert not revoked(place, second)
        eventually(lambda: "podcert.io/superseded" not in place.secret_of("web")["metadata"]["annotations"])  # type: ignore[index]
        eventually(lambda: "CertificateRevoked" in place.events("web", "Normal"), 30, "an Event")
        place.delete_pod("web")
        eventually(gone(place), 60)
        assert not revoked(place, second), "rotated alone: the pod went before its time"
        clean(manager)


def test_on_request_one_pods_certificate_is_replaced_and_revoked_at_once_or_when_it_may_be(place: World) -> None:
    """Nothing is asked of the setting, and the finalizer comes by the manager where somebody annotates by hand."""
    with running(place.launch()) as manager:
        now, later = enrolled(place, "now", NONE), enrolled(place, "later", NONE)
        serves(place, "later", later)
        note(place, "now", revoke=f"{serial(now)},now")
        note(place, "later", revoke=serial(later))
        replaced(place, "now", now)
        second = replaced(place, "later", later)
        assert revoked(place, now)
        assert not revoked(place, later)
        serves(place, "later", second)
        eventually(lambda: revoked(place, later), 30)
        eventually(
            lambda: not any(one["metadata"].get("finalizers") for one in place.secrets()), 30, "no finalizer stays"
        )
        assert manager.metric("podcert_revocations_total", result="revoked") == 2
        assert manager.signs() == 4
        clean(manager)


def test_what_is_deleted_while_vault_is_away_is_revoked_when_it_answers(place: World) -> None:
    with proxying(place.vault.url) as vault:
        launch = place.launch(vault_url=vault.url, PODCERT_REVOKE=BOTH, VAULT_CLIENT_TIMEOUT="2s")
        with running(launch) as manager:
            leaf = enrolled(place, "web")
            vault.refuse()
            place.delete_pod("web")
            eventually(lambda: bool(place.secrets()[0]["metadata"].get("deletionTimestamp")), 60, "the collector came")
            eventually(lambda: manager.metric("podcert_revocations_total", result="failed") > 0, 30)
            assert len(place.secrets()) == 1
            vault.serve()
            eventually(gone(place), 30, "the Secret goes")
            assert revoked(place, leaf)
            clean(manager)


@pytest.mark.parametrize("killed", ["before", "in between"])
def test_a_killed_manager_is_followed_by_one_that_goes_on(place: World, killed: str) -> None:
    with proxying(place.vault.url) as vault, running(place.launch(vault_url=vault.url, PODCERT_REVOKE=BOTH)) as manager:
        leaf = enrolled(place, "web")
        if killed == "before":
            manager.kill()
        else:
            vault.hurt(lambda asked: Fault(slow=1.0) if asked.path.endswith("/revoke") else None)
        place.delete_pod("web")
        if killed == "before":
            eventually(lambda: bool(place.secrets()[0]["metadata"].get("deletionTimestamp")), 60)
        else:
            eventually(lambda: vault.count("POST", "/revoke") > 0, 60)
            manager.kill()
        assert len(place.secrets()) == 1
        manager.start()
        eventually(gone(place), 60, "the Secret goes")
        assert revoked(place, leaf)
        clean(manager)


def test_a_policy_that_forbids_it_is_told_and_the_secret_goes_when_it_allows_it(world: World) -> None:
    launch = world.launch(PODCERT_REVOKE="deleted", PODCERT_REFUSAL_RETRY="1s")
    with running(launch) as manager:
        leaf = enrolled(world, "web")
        world.delete_pod("web")
        eventually(lambda: manager.metric("podcert_revocations_total", result="refused") > 1, 60)
        assert len(world.secrets()) == 1
        assert f'path "{world.mount}/revoke"' in manager.log().replace('\\"', '"')
        again = enrolled(world, "web")
        world.policy(policy_text(BootstrapPlan(mount=world.mount, revoke=True)))
        eventually(lambda: len(world.secrets()) == 1, 60, "only the living pod's Secret is left")
        assert revoked(world, leaf)
        assert not revoked(world, again)
        clean(manager)


def test_a_namespace_that_is_deleted_goes_and_its_certificates_are_revoked(place: World) -> None:
    with running(place.launch(PODCERT_REVOKE="deleted")) as manager:
        leaves = [enrolled(place, f"pod-{number}") for number in range(3)]
        place.cluster.api.call("DELETE", f"/api/v1/namespaces/{place.namespace}")
        for number in range(3):
            place.delete_pod(f"pod-{number}")
        eventually(lambda: all(revoked(place, leaf) for leaf in leaves), 60, "all are revoked")
        eventually(lambda: place.get(f"/api/v1/namespaces/{place.namespace}") is None, 60, "the namespace goes")
        assert manager.metric("podcert_bugs_total") == 0


def test_a_secret_that_is_deleted_by_hand_is_made_anew_and_the_old_certificate_is_not_forgotten(place: World) -> None:
    with running(place.launch(PODCERT_REVOKE=BOTH)) as manager:
        first = enrolled(place, "web", NONE)
        serves(place, "web", first)
        secret = place.secret_of("web")
        assert secret is not None
        place.kubectl("delete", "secret", secret["metadata"]["name"], "--wait=false")
        uid = secret["metadata"]["uid"]
        eventually(lambda: uid not in {one["metadata"]["uid"] for one in place.secrets()} and place.secrets(), 30)
        second = place.leaf("web")
        assert second != first
        assert not revoked(place, first)
        serves(place, "web", second)
        eventually(lambda: revoked(place, first), 30)
        assert not revoked(place, second)
        clean(manager)


def test_nobody_has_anothers_certificate_revoked_by_writing_it_into_a_secret(place: World) -> None:
    """A tenant who may write Secrets of one namespace, and knows another's certificate from a handshake."""
    with running(place.launch(PODCERT_REVOKE=BOTH, PODCERT_REFUSAL_RETRY="1s")) as manager:
        victim = enrolled(place, "victim")
        for name in ("swaps", "lists", "forges"):
            enrolled(place, name)
        pem = victim.public_bytes(Encoding.PEM)
        put(place, "swaps", tls_crt=pem)
        put(place, "forges", **forged(victim))
        old = {
            "serial": serial(victim), "mount": place.mount, "not_after": victim.not_valid_after_utc.timestamp(), "since": 0.0,
            "certificate": base64.b64encode(victim.public_bytes(Encoding.DER)).decode(), "proof": "", "asked": True,
        }  # fmt: skip
        note(place, "lists", superseded=json.dumps([old | {"proof": base64.b64encode(b"x" * 70).decode()}]))
        for name in ("swaps", "lists", "forges"):
            place.delete_pod(name)
        eventually(lambda: manager.metric("podcert_revocations_total", result="unproven") >= 1, 60)
        eventually(lambda: len(place.secrets()) <= 2, 60)
        assert not revoked(place, victim)
        clean(manager)


def put(world: World, pod: str, **files: bytes) -> None:
    """Overwrites files of a pod's Secret."""
    secret = world.secret_of(pod)
    assert secret is not None
    data = {name.replace("_", "."): base64.b64encode(content).decode() for name, content in files.items()}
    world.patch(f"secret/{secret['metadata']['name']}", {"data": data})


def forged(of: x509.Certificate) -> dict[str, bytes]:
    """A certificate of one's own with another's serial number and names, its key, and itself as its CA."""
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import NoEncryption, PrivateFormat

    key = ec.generate_private_key(ec.SECP256R1())
    builder = x509.CertificateBuilder(of.subject, of.subject, key.public_key(), of.serial_number)
    builder = builder.not_valid_before(of.not_valid_before_utc).not_valid_after(of.not_valid_after_utc)
    names = of.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    made = builder.add_extension(names.value, critical=False).sign(key, hashes.SHA256()).public_bytes(Encoding.PEM)
    return {
        "tls_crt": made,
        "tls_key": key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
        "ca_crt": made,
    }
