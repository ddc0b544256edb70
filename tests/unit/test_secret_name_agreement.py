"""Manager and fetcher never import each other, and yet they must agree on the name of a pod's Secret."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from certmanager.domain import names as manager
from fetcher import names as fetcher

UID = "12345678-aaaa-bbbb-cccc-1234567890ab"
LABEL = st.from_regex(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?", fullmatch=True)
POD = st.lists(LABEL, min_size=1, max_size=60).map(lambda labels: ".".join(labels)[:253].rstrip("-."))


@pytest.mark.parametrize(
    "pod",
    [
        "a",
        "web-0",
        "a" * 238,
        "a" * 239,
        "a" * 240,
        "a" * 253,
        "a" * 227 + "-" + "b" * 20,
        "a" * 220 + "-" * 15 + "b" * 18,
    ],
)
def test_both_packages_give_the_same_name(pod: str) -> None:
    assert fetcher.secret_name(pod, UID) == manager.secret_name(pod, UID)


@given(POD, st.uuids().map(str))
def test_both_packages_give_the_same_name_to_every_pod(pod: str, uid: str) -> None:
    assert fetcher.secret_name(pod, uid) == manager.secret_name(pod, uid)


@given(POD, st.uuids().map(str))
def test_the_name_is_one_that_the_api_server_takes(pod: str, uid: str) -> None:
    assert fetcher.is_dns_subdomain(manager.secret_name(pod, uid))
