"""`podcert ca` as an administrator runs it, on the real API server and OpenBao, with the manager as a process. No node: what a
fetcher would report is written by the tests."""

from __future__ import annotations

import base64
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes

from tests.cluster.paths import REPOSITORY
from tests.integration.manager import Manager, running
from tests.integration.world import World, eventually

pytestmark = pytest.mark.cluster


@pytest.fixture
def manager(world: World) -> Iterator[Manager]:
    with running(world.launch(PODCERT_CA_REFRESH="1")) as started:
        yield started


def environment(world: World, token: str | None = None) -> dict[str, str]:
    return {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(REPOSITORY),
        "HOME": str(world.folder),
        "VAULT_ADDR": world.vault.url,
        "VAULT_TOKEN": token or world.vault.root_token,
        "KUBECONFIG": str(world.cluster.kubeconfig),
    }


def command(world: World, *words: str) -> list[str]:
    return [sys.executable, "-m", "certmanager", "ca", *words, "--mount", world.mount]


def ca(world: World, *words: str, token: str | None = None, kubeconfig: Path | None = None) -> tuple[int, str, str]:
    """Exit status, stdout, stderr."""
    there = environment(world, token) | ({"KUBECONFIG": str(kubeconfig)} if kubeconfig else {})
    done = subprocess.run(
        command(world, *words), env=there, cwd=world.folder, capture_output=True, text=True, timeout=150, check=False
    )
    assert "Traceback" not in done.stderr
    assert world.vault.root_token not in done.stdout + done.stderr
    return done.returncode, done.stdout, done.stderr


def picture(world: World) -> dict[str, Any]:
    status, out, err = ca(world, "status", "-o", "json")
    assert status == 0, err
    return dict(json.loads(out))


def serves(world: World, pod: str) -> None:
    """The pod's fetcher has ended, and its files hold what its Secret holds now."""
    secret = world.secret_of(pod)
    assert secret is not None
    notes = secret["metadata"]["annotations"]
    report = {"serial": notes["podcert.io/serial"], "notAfter": notes["podcert.io/not-after"]}
    ended = {"exitCode": 0, "message": json.dumps(report), "reason": "Completed"}
    fetcher = {"name": "certificate-fetcher", "image": "none", "imageID": "", "ready": True, "restartCount": 0}
    patch = {"status": {"initContainerStatuses": [fetcher | {"state": {"terminated": ended}}]}}
    world.kubectl("patch", "pod", pod, "--subresource=status", "--type=strategic", "-p", json.dumps(patch))


def anchors(world: World, pod: str) -> set[str]:
    """Fingerprints of the certificates in the ca.crt of a pod's Secret, by our own reading."""
    secret = world.secret_of(pod)
    assert secret is not None
    found = x509.load_pem_x509_certificates(base64.b64decode(secret["data"]["ca.crt"]))
    return {one.fingerprint(hashes.SHA256()).hex() for one in found}


def issuers(world: World) -> dict[str, str]:
    """Id and usage of each issuer."""
    keys = world.ask("LIST", f"{world.mount}/issuers")["data"]["keys"]
    return {key: world.ask("GET", f"{world.mount}/issuer/{key}")["data"]["usage"] for key in keys}


def new_root(world: World) -> str:
    """A further root of the same name; its issuer's id."""
    body = {"common_name": f"root of {world.mount}", "key_type": "ec", "ttl": "87600h"}
    return str(world.ask("POST", f"{world.mount}/root/rotate/internal", body)["data"]["issuer_id"])


def test_a_root_of_the_same_name_takes_the_place_of_the_old_one_and_who_cannot_follow_is_named(
    world: World, manager: Manager
) -> None:
    world.pod("web")
    world.pod("fixed")
    world.enrolled("web", "fixed")
    serves(world, "fixed")
    before = picture(world)
    assert (before["phase"], before["counts"]["followed"], before["problems"]) == ("single", 2, [])
    (old,) = before["issuers"]

    status, out, err = ca(world, "rotate", "--dry-run")
    assert (status, len(issuers(world))) == (0, 1)
    assert (
        f"next: vault write {world.mount}/root/rotate/internal 'common_name=root of {world.mount}' key_type=ec" in err
    )
    assert "phase: single" in out

    status, out, err = ca(world, "rotate")
    assert status == 1, out
    assert "stopped: the pods above cannot follow" in err
    line = next(line for line in out.splitlines() if "/fixed (" in line)
    assert "it has no owner: nothing replaces the pod" in line
    assert f"kubectl -n {world.namespace} delete pod fixed" in line
    found = picture(world)
    assert (found["phase"], found["counts"]["followed"], found["counts"]["cannot follow"]) == ("distributing", 1, 1)
    assert len(anchors(world, "web")) == 2
    assert next(one for one in found["issuers"] if one["default"])["id"] == old["id"], "switched too early"

    status, out, err = ca(world, "rotate", "--leave-behind")
    assert status == 0, (out, err)
    assert "a change of the CA is under way, and goes on: distributing" in out
    (new,) = (one for one in picture(world)["issuers"] if one["default"])
    assert (new["subject"], new["id"] != old["id"]) == (old["subject"], True)
    assert anchors(world, "web") == {new["fingerprint"]}
    assert issuers(world)[old["id"]] == "read-only"
    commands = [line for line in out.splitlines() if line.startswith("vault ")]
    assert [line.split()[1:3] for line in commands] == [
        ["write", f"{world.mount}/config/issuers"],
        ["patch", f"{world.mount}/issuer/{old['id']}"],
        ["patch", f"{world.mount}/issuer/{old['id']}"],
    ]
    left = picture(world)
    assert (left["phase"], [pod["pod"] for pod in left["pods"]]) == ("retiring", ["fixed"])
    world.delete_pod("fixed")
    eventually(lambda: picture(world)["phase"] == "single")


def test_an_interrupted_change_goes_on_where_it_was(world: World) -> None:
    with running(world.launch(PODCERT_CA_REFRESH="1")) as manager:
        world.pod("web")
        world.enrolled("web")
        manager.stop()
        run = subprocess.Popen(
            command(world, "rotate"), env=environment(world), cwd=world.folder, stderr=subprocess.PIPE, text=True
        )
        eventually(lambda: len(issuers(world)) == 2, 60)
        time.sleep(1)
        run.send_signal(signal.SIGINT)
        _, err = run.communicate(timeout=30)
        assert (run.returncode, "nothing is lost" in err) == (1, True)
        assert picture(world)["phase"] == "distributing"
        status, _out, err = ca(world, "rotate", "--timeout", "5s")
        assert (status, "the time is over" in err) == (1, True)
    with running(world.launch(PODCERT_CA_REFRESH="1")):
        assert ca(world, "rotate")[0] == 0
        assert len(issuers(world)) == 2, "a second new root was made"
        assert len(anchors(world, "web")) == 1


def test_a_default_that_was_switched_by_hand_is_finished_when_the_old_issuer_is_closed(
    world: World, manager: Manager
) -> None:
    world.pod("web")
    world.enrolled("web")
    (old,) = issuers(world)
    new = new_root(world)
    eventually(lambda: len(anchors(world, "web")) == 2)
    world.ask("POST", f"{world.mount}/config/issuers", {"default": new})
    status, _out, err = ca(world, "rotate")
    closing = "read-only,crl-signing,ocsp-signing"
    assert (status, f"vault patch {world.mount}/issuer/{old} usage={closing}" in err) == (1, True)
    assert len(issuers(world)) == 2
    world.ask("POST", f"{world.mount}/issuer/{old}", {"usage": closing})
    assert picture(world)["phase"] == "issuing"
    assert ca(world, "rotate")[0] == 0
    assert issuers(world)[old] == "read-only"
    assert len(issuers(world)) == 2


def test_a_change_is_taken_back_before_the_switch_and_not_after_it(world: World, manager: Manager) -> None:
    world.pod("web")
    world.enrolled("web")
    (old,) = issuers(world)
    assert "no change of the CA is under way" in ca(world, "abort")[2]
    new = new_root(world)
    eventually(lambda: len(anchors(world, "web")) == 2)
    assert ca(world, "abort", "--dry-run")[0] == 0
    assert issuers(world)[new] != "read-only"
    assert ca(world, "abort")[0] == 0
    assert (issuers(world)[new], "issuing-certificates" in issuers(world)[old]) == ("read-only", True)
    eventually(lambda: len(anchors(world, "web")) == 1)
    assert ca(world, "rotate", "--to", new, "--timeout", "1s")[0] == 1
    assert picture(world)["phase"] == "distributing", "a retired issuer that is named may issue again"


def test_what_would_break_a_change_is_told_with_the_command_that_mends_it(world: World) -> None:
    (old,) = issuers(world)
    config = f"{world.mount}/config/issuers"
    world.ask("POST", config, {"default": old, "default_follows_latest_issuer": True})
    status, _out, err = ca(world, "rotate")
    mended = f"vault write {config} default={old} default_follows_latest_issuer=false"
    assert (status, mended in err, len(issuers(world))) == (1, True, 1)
    world.ask("POST", config, {"default": old, "default_follows_latest_issuer": False})
    world.role("special", key_type="any", issuer_ref=old)
    status, _out, err = ca(world, "rotate")
    assert (status, f"vault patch {world.mount}/roles/special issuer_ref=default" in err) == (1, True)
    assert len(issuers(world)) == 1
    status, _out, err = ca(world, "rotate", "--to", "nobody")
    assert (status, "has no issuer nobody" in err) == (1, True)
    assert "there is nothing to do" in ca(world, "rotate", "--to", old)[1]


def test_what_somebody_says_of_a_pod_in_another_namespace_counts_for_nothing(world: World) -> None:
    with running(world.launch(PODCERT_CA_REFRESH="1")):
        world.pod("web")
        world.enrolled("web")
    secret = world.secret_of("web")
    assert secret is not None
    notes = secret["metadata"]["annotations"]
    new_root(world)
    everything = ",".join(one["fingerprint"] for one in picture(world)["issuers"])
    lie = {**notes, "podcert.io/anchors": everything, "podcert.io/issued-at": "9999-12-31T23:59:59Z"}
    elsewhere = f"{world.namespace}-elsewhere"
    world.create("/api/v1/namespaces", {"metadata": {"name": elsewhere}})
    meta = {"name": secret["metadata"]["name"], "labels": secret["metadata"]["labels"], "annotations": lie}
    world.create(f"/api/v1/namespaces/{elsewhere}/secrets", {"metadata": meta})
    found = picture(world)
    world.cluster.api.call("DELETE", f"/api/v1/namespaces/{elsewhere}")
    assert (found["phase"], found["counts"]["followed"], found["counts"]["waiting"]) == ("distributing", 0, 1)


def test_a_pod_whose_owner_cannot_be_rolled_is_named_and_its_owners_name_is_no_command(
    world: World, manager: Manager
) -> None:
    made = world.pod("lone")
    body = {"metadata": {"name": "owned", "labels": made["metadata"]["labels"]}, "spec": made["spec"]}
    # The garbage collector leaves alone whose owner is of a kind that it does not know.
    body["metadata"]["ownerReferences"] = [
        {"apiVersion": "none/v1", "kind": "StatefulSet", "name": "web; reboot", "uid": "u", "controller": True}
    ]
    world.create(f"{world.core}/pods", body)
    world.enrolled("owned")
    serves(world, "owned")
    new_root(world)
    (found,) = (one for one in picture(world)["pods"] if one["pod"] == "owned")
    assert found["standing"] == "cannot follow"
    assert found["remedy"].startswith(f"replace it: kubectl -n {world.namespace} delete pod owned, ")


def test_an_issuer_that_has_ended_does_not_take_over(world: World) -> None:
    (old,) = issuers(world)
    body = {"common_name": "short", "key_type": "ec", "ttl": "1s"}
    new = str(world.ask("POST", f"{world.mount}/root/rotate/internal", body)["data"]["issuer_id"])
    eventually(lambda: f"ended at {ends(world, new)}" in ca(world, "status")[1])
    status, _out, err = ca(world, "rotate")
    assert (status, "take the change back (podcert ca abort)" in err) == (1, True)
    assert ca(world, "abort")[0] == 0
    status, _out, err = ca(world, "rotate", "--to", new)
    assert (status, "ended at" in err, "name another by --to" in err) == (1, True, True)
    assert world.ask("GET", f"{world.mount}/config/issuers")["data"]["default"] == old


def test_a_root_that_would_end_before_its_certificates_is_not_made(world: World, manager: Manager) -> None:
    world.pod("web")
    world.enrolled("web")
    status, _out, err = ca(world, "rotate", "--ttl", "24h")
    assert (status, "give it more by --ttl" in err, len(issuers(world))) == (1, True, 1)
    body = {"common_name": "short", "key_type": "ec", "ttl": "24h"}
    new = str(world.ask("POST", f"{world.mount}/root/rotate/internal", body)["data"]["issuer_id"])
    problem = "before certificates that it would make"
    assert any(problem in each for each in picture(world)["problems"])
    changed = {"issuer_name": "short", "leaf_not_after_behavior": "truncate"}
    world.ask("POST", f"{world.mount}/issuer/{new}", changed)
    assert picture(world)["problems"] == []


def ends(world: World, issuer: str) -> str:
    """An issuer's end, as it is printed."""
    return str(next(one["notAfter"] for one in picture(world)["issuers"] if one["id"] == issuer))


def test_missing_rights_are_named(world: World) -> None:
    world.ask(
        "PUT",
        f"sys/policies/acl/poor-{world.namespace}",
        {"policy": f'path "{world.mount}/roles" {{ capabilities = ["list"] }}'},
    )
    made = world.ask("POST", "auth/token/create", {"policies": [f"poor-{world.namespace}"]})["auth"]["client_token"]
    status, _out, err = ca(world, "status", token=made)
    assert status == 1
    assert f"lacks read on {world.mount}/config/issuers" in err
    reading = f"""
path "{world.mount}/*" {{ capabilities = ["read", "list"] }}"""
    world.ask("PUT", f"sys/policies/acl/poor-{world.namespace}", {"policy": reading})
    assert ca(world, "status", token=made)[0] == 0
    status, _out, err = ca(world, "rotate", token=made)
    assert (status, f"update on {world.mount}/root/rotate/internal" in err) == (1, True)
    stranger = world.folder / "stranger.kubeconfig"
    token = world.cluster.token(world.namespace, "default", 3600)
    config = json.loads(world.kubeconfig.read_text())
    config["users"][0]["user"]["token"] = token
    stranger.write_text(json.dumps(config))
    status, _out, err = ca(world, "status", kubeconfig=stranger)
    assert (status, 'cannot list resource "secrets"' in err) == (1, True), err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("rotate", "--to", "x", "--ttl", "1h"), "with --to there is none"),
        (("rotate", "--timeout", "soon"), '--timeout="soon": must be'),
        (("status", "--kubeconfig", "/none/config"), "/none/config"),
    ],
)
def test_wrong_usage_gives_status_2_and_says_why(world: World, words: tuple[str, ...], said: str) -> None:
    status, _out, err = ca(world, *words)
    assert status == 2, err
    assert said in err
