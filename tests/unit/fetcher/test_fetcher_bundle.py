"""Whose Secret it is, what is in it, and that nothing of it is ever shown."""

import base64
import datetime
import traceback
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fetcher import bundle
from fetcher.api import parse_event, parse_object
from fetcher.errors import NotYetError, Waiting
from fetcher.verify import colons, rfc3339

UID = "3f2a9c41-7a51-4d5e-9f7b-0c1d2e3f4a5b"
CANARY = "Y2FuYXJ5LWNhbmFyeQ"
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["metadata", "labels", "data", "tls.crt"]), inner),
    max_leaves=10,
)


def own(**metadata: Any) -> dict[str, Any]:
    right = {"labels": {"podcert.io/managed": "true"}, "annotations": {"podcert.io/pod-uid": UID}}
    return {"metadata": right | metadata}


def test_a_secret_with_our_label_and_this_pods_uid_is_its_own() -> None:
    bundle.require_own(own(), UID)


@pytest.mark.parametrize(
    "metadata",
    [
        {"labels": {}},
        {"labels": None},
        {"labels": {"podcert.io/managed": True}},
        {"labels": {"podcert.io/managed": "false"}},
        {"annotations": {}},
        {"annotations": None},
        {"annotations": {"podcert.io/pod-uid": UID[:8]}},
        {"annotations": {"podcert.io/pod-uid": ""}},
    ],
)
def test_any_other_is_foreign(metadata: dict[str, Any]) -> None:
    with pytest.raises(NotYetError) as caught:
        bundle.require_own(own(**metadata), UID)
    assert caught.value.waiting is Waiting.FOREIGN


@given(secret=st.dictionaries(st.sampled_from(["metadata", "data"]), JSON))
def test_a_secret_of_any_shape_is_refused_in_words(secret: dict[str, Any]) -> None:
    for judge in (lambda: bundle.require_own(secret, UID), lambda: bundle.decode(secret)):
        with pytest.raises(NotYetError):
            judge()


@given(
    contents=st.tuples(
        *[st.binary(min_size=1).filter(lambda content: content.strip() and b"PRIVATE KEY" not in content)] * 3
    )
)
def test_contents_come_back_byte_for_byte(contents: tuple[bytes, bytes, bytes]) -> None:
    names = ("tls.crt", "tls.key", "ca.crt")
    data = {name: base64.b64encode(content).decode() for name, content in zip(names, contents, strict=True)}
    found = bundle.decode({"metadata": {"resourceVersion": "7"}, "data": data})
    assert (found.certificate, found.key, found.anchors, found.resource_version) == (*contents, "7")


def test_a_bundles_repr_shows_no_content() -> None:
    assert "canary" not in repr(bundle.Bundle(b"canary", b"canary", b"canary"))


@pytest.mark.parametrize(
    "broken",
    [
        lambda: bundle.decode({"data": {"tls.crt": CANARY + "!"}}),
        lambda: bundle.decode({"data": {"tls.crt": CANARY + "\u00e9"}}),
        lambda: parse_object(f'{{"data": "{CANARY}'.encode()),
        lambda: parse_object(b"\xff" + CANARY.encode()),
        lambda: parse_event(f'{{"type": "ADDED", "object": "{CANARY}"}}\n'.encode()),
    ],
)
def test_no_traceback_shows_what_could_not_be_read(broken: Any) -> None:
    with pytest.raises(NotYetError) as caught:
        broken()
    assert CANARY not in "".join(traceback.format_exception(caught.value))


@given(st.integers(min_value=1, max_value=2**160 - 1))
def test_a_serial_is_pairs_of_lower_case_digits(serial: int) -> None:
    written = colons(f"{serial:X}")
    assert all(len(pair) == 2 for pair in written.split(":"))
    assert int(written.replace(":", ""), 16) == serial
    assert written == written.lower()


@given(st.datetimes(min_value=datetime.datetime(1970, 1, 1), max_value=datetime.datetime(9999, 12, 31)))  # noqa: DTZ001
def test_a_time_of_openssl_becomes_rfc_3339(moment: datetime.datetime) -> None:
    months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
    written = f"{months[moment.month - 1]} {moment.day:2} {moment:%H:%M:%S} {moment.year} GMT"
    assert rfc3339(written) == moment.replace(microsecond=0).isoformat() + "Z"
