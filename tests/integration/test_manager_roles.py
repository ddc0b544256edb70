"""Vault says no: an Event with Vault's own words, a bounded number of tries, and right again when the cause is gone."""

from __future__ import annotations

import base64
import datetime
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest
from cryptography import x509

from tests.integration.manager import Manager, running
from tests.integration.proxy import Proxy, proxying
from tests.integration.world import World, eventually

pytestmark = pytest.mark.cluster

RETRY_SECONDS = 2


@dataclass(frozen=True)
class Case:
    """A role that says no: how it is made and corrected, the pod's annotations, and what the Event says."""

    spoil: Callable[[World, str], object]
    correct: Callable[[World, str], object]
    reason: str
    parts: tuple[str, ...]
    mode: str = "sign"


def _right(world: World, role: str) -> None:
    world.role(role, key_type="any")


CASES: dict[str, Case] = {
    "name": Case(
        lambda world, role: world.role(role, key_type="any", allowed_domains="example.com"),
        _right,
        "VaultRefused",
        (
            "Vault refuses role name at mount",
            "not allowed by this role",
            "allow the name in the role's allowed_domains",
        ),
    ),
    "key": Case(
        lambda world, role: world.role(role, key_type="rsa"),
        _right,
        "VaultRefused",
        ("Vault refuses role key at mount", "role requires keys of type rsa", "set the role's key_type=any"),
    ),
    "absent": Case(
        lambda _world, _role: None,
        _right,
        "VaultRoleMissing",
        ("role absent at mount", "does not exist", "unknown role", "podcert bootstrap"),
    ),
    "forbidden": Case(
        _right,
        lambda world, _role: world.policy(_policy(world, "forbidden")),
        "VaultPolicyForbids",
        ("Vault forbids POST", "permission denied", "the token is valid", "sign/forbidden", '["update"]'),
    ),
    "any-issue": Case(
        lambda world, role: world.role(role, key_type="rsa", key_bits=2048, allowed_domains="example.com"),
        lambda world, role: world.role(role, key_type="ec", key_bits=256),
        "VaultRefused",
        ("Vault refuses role any-issue at mount", "not allowed by this role", "allowed_domains"),
        mode="issue",
    ),
}


def _policy(world: World, *more: str) -> str:
    roles = ["sign/pods", "sign/name", "sign/key", "sign/absent", "issue/any-issue", *(f"sign/{one}" for one in more)]
    return "\n".join(f'path "{world.mount}/{role}" {{ capabilities = ["update"] }}' for role in roles)


@pytest.fixture(scope="module")
def proxy(shared_world: World) -> Iterator[Proxy]:
    with proxying(shared_world.vault.url) as between:
        yield between


@pytest.fixture(scope="module")
def manager(shared_world: World, proxy: Proxy) -> Iterator[Manager]:
    for role, case in CASES.items():
        case.spoil(shared_world, role)
    shared_world.policy(_policy(shared_world))
    retry = f"{RETRY_SECONDS}s"
    launch = shared_world.launch(vault_url=proxy.url, PODCERT_ROLES=",".join(CASES), PODCERT_REFUSAL_RETRY=retry)
    with running(launch) as started:
        yield started


@pytest.mark.parametrize("role", sorted(CASES))
def test_a_role_that_says_no_is_quoted_not_hammered_and_asked_again_when_corrected(
    shared_world: World, proxy: Proxy, manager: Manager, role: str
) -> None:
    world, case, name = shared_world, CASES[role], f"pod-{role}"
    began = time.monotonic()
    world.pod(name, {"role": role, "mode": case.mode})
    message = world.warned(name, case.reason)
    print(f"{role}: {case.reason}: {message}")
    for part in case.parts:
        assert part in message
    path = f"/{case.mode}/{role}"
    eventually(lambda: proxy.count("POST", path, began) >= 2, 30, "asked again after the pause")
    calls, took = proxy.count("POST", path, began), time.monotonic() - began
    print(f"{role}: {calls} calls in {took:.1f} s with a pause of {RETRY_SECONDS} s")
    assert calls <= 1 + took / RETRY_SECONDS
    assert world.secret_of(name) is None
    case.correct(world, role)
    print(f"{role}: corrected, served {world.enrolled(name, seconds=10):.1f} s later")


def test_other_pods_are_served_while_one_is_refused(shared_world: World, manager: Manager) -> None:
    shared_world.pod("forever", {"role": "name", "dns-names": f"forever.{shared_world.namespace}.svc.cluster.local"})
    shared_world.pod("fine")
    shared_world.enrolled("fine")


def test_a_ttl_over_the_roles_maximum_is_taken_as_it_is_issued(shared_world: World, manager: Manager) -> None:
    world = shared_world
    signs = manager.signs()
    world.pod("long", {"ttl": "720h"})
    world.enrolled("long")
    leaf = world.leaf("long")
    lifetime = leaf.not_valid_after_utc - leaf.not_valid_before_utc
    print(f"asked for 720 h, issued for {lifetime}")
    assert lifetime <= datetime.timedelta(hours=72, minutes=1)

    def renewal() -> float:
        return manager.metric("podcert_certificate_renewal_timestamp_seconds", pod="long")

    eventually(lambda: renewal() > 0)
    left = leaf.not_valid_after_utc.timestamp() - renewal()
    assert 23 * 3600 < left < 36 * 3600, "a third of what was issued is left, a little more by jitter"
    world.annotate("long", rotation="none")  # any event makes the manager look again
    world.pod("after-long")
    world.enrolled("after-long")
    assert manager.signs() == signs + 2
    assert world.events("long") == {}


def test_with_the_default_pause_a_refused_pod_that_is_touched_is_not_asked_for_again(world: World) -> None:
    world.role("pods", key_type="rsa")
    sign_only = f'path "{world.mount}/sign/pods" {{ capabilities = ["update"] }}'
    world.ask("PUT", f"sys/policies/acl/{world.mount}-sign-only", {"policy": sign_only})
    world.put_token(world.new_token(policies=[f"{world.mount}-sign-only"]))
    with proxying(world.vault.url) as proxy, running(world.launch(vault_url=proxy.url)) as manager:
        world.pod("touched")
        world.warned("touched", "VaultRefused")
        for number in range(10):
            world.patch("pod/touched", {"metadata": {"annotations": {"example.com/touched": str(number)}}})
        eventually(lambda: manager.metric("podcert_reconcile_total", reason="VaultRefused") >= 2)
        assert proxy.count("POST", "/sign/pods") == 1
        world.annotate("touched", key_type="rsa-2048")
        world.enrolled("touched")
        assert proxy.count("POST", "/sign/pods") == 2
        secret = world.secret_of("touched")
        assert secret is not None
        key = x509.load_pem_x509_certificate(base64.b64decode(secret["data"]["tls.crt"])).public_key()
        assert key.key_size == 2048  # type: ignore[union-attr]


def test_what_the_role_forbids_is_told_by_field_and_vault_is_not_even_asked(world: World) -> None:
    world.role("pods", key_type="rsa")
    with proxying(world.vault.url) as proxy, running(world.launch(vault_url=proxy.url)):
        world.pod("foreseen")
        message = world.warned("foreseen", "RoleForbids")
        print(f"preflight: {message}")
        assert (
            f"role pods at mount {world.mount} forbids this certificate: key_type is rsa; it must be any or ec"
            in message
        )
        assert proxy.count("POST", "/sign/pods") == 0
        world.annotate("foreseen", key_type="rsa-2048")
        world.enrolled("foreseen")
        assert (proxy.count("POST", "/sign/pods"), proxy.count("GET", "/roles/pods")) == (1, 1)


def test_a_mount_that_is_missing_is_told_and_served_when_it_is_there(world: World) -> None:
    world.ask("DELETE", f"sys/mounts/{world.mount}")
    with running(world.launch(PODCERT_REFUSAL_RETRY="2s")) as manager:
        world.pod("early")
        message = world.warned("early", "VaultMountMissing")
        print(f"mount: {message}")
        assert f"Vault has no PKI at {world.mount}" in message
        assert f"vault secrets enable -path={world.mount} pki" in message
        world.ask("POST", f"sys/mounts/{world.mount}", {"type": "pki", "config": {"max_lease_ttl": "87600h"}})
        world.role("pods", key_type="any")
        # Without an issuer Vault answers 500 or 400: not yet, or no; both end with the issuer.
        eventually(lambda: len(world.events("early")) > 1, 30, "the next cause is told too")
        print(f"no issuer: {world.events('early')}")
        world.ask("POST", f"{world.mount}/root/generate/internal", {"common_name": "late root", "ttl": "87600h"})
        print(f"served {world.enrolled('early', seconds=60):.1f} s after the root was made")
        world.judge(["early"])
        assert manager.metric("podcert_bugs_total") == 0
