"""The Secret's name: what the API server takes, and the same as the manager's."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from certmanager.domain import names as manager_names
from fetcher.names import is_dns_subdomain, secret_name

UID = "3f2a9c41-7a51-4d5e-9f7b-0c1d2e3f4a5b"
LABELS = st.from_regex(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", fullmatch=True)
PODS = st.lists(LABELS, min_size=1, max_size=12).map(".".join).map(lambda name: name[:253].rstrip("-."))
LONG_PODS = st.lists(LABELS, min_size=12, max_size=60).map(".".join).map(lambda name: name[:253].rstrip("-."))
UIDS = st.uuids().map(str)


def test_the_name_is_the_pods_name_and_the_first_eight_of_its_uid() -> None:
    assert secret_name("server-0", UID) == "server-0-cert-3f2a9c41"


@given(pod=PODS | LONG_PODS, uid=UIDS)
def test_every_name_is_one_that_kubernetes_takes(pod: str, uid: str) -> None:
    assert is_dns_subdomain(secret_name(pod, uid))


@given(pod=PODS | LONG_PODS, uid=UIDS)
def test_the_manager_gives_the_same_name(pod: str, uid: str) -> None:
    assert secret_name(pod, uid) == manager_names.secret_name(pod, uid)


@pytest.mark.parametrize("length", [238, 239])
def test_a_pod_name_of_up_to_239_characters_is_kept_whole(length: int) -> None:
    assert secret_name("a" * length, UID) == "a" * length + "-cert-3f2a9c41"


@pytest.mark.parametrize("length", [240, 253])
def test_a_longer_pod_name_is_cut_and_hashed(length: int) -> None:
    pod = "a" * length
    name = secret_name(pod, UID)
    assert name == "a" * 228 + "-" + hashlib.sha256(pod.encode()).hexdigest()[:10] + "-cert-3f2a9c41"
    assert len(name) == 253


@pytest.mark.parametrize("end", ["-", ".", "--"])
def test_dashes_and_dots_at_the_cut_are_dropped(end: str) -> None:
    pod = "a" * (228 - len(end)) + end + "b" * 20
    assert secret_name(pod, UID).startswith(
        "a" * (228 - len(end)) + "-" + hashlib.sha256(pod.encode()).hexdigest()[:10]
    )


def test_long_names_with_the_same_beginning_stay_apart() -> None:
    assert secret_name("a" * 240 + "x", UID) != secret_name("a" * 240 + "y", UID)


@pytest.mark.parametrize("pod", ["", "Server", "server_0", "-server", "server-", "a..b", "a" * 254, "server\n", "../x"])
def test_what_is_no_pod_name_is_refused(pod: str) -> None:
    with pytest.raises(ValueError, match="is not the name of a pod"):
        secret_name(pod, UID)


@pytest.mark.parametrize("uid", ["", "3f2a9c4", "3F2A9C41-7a51", "3f2a-9c41", "3f2a9c41/7a51", "3f2a9c41\n"])
def test_what_is_no_uid_is_refused(uid: str) -> None:
    with pytest.raises(ValueError, match="is not the uid of a pod"):
        secret_name("server-0", uid)
