"""Where unseal keys are kept, whatever is there before; and how a server's pod tells its address."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from certmanager.domain.errors import Refused
from certmanager.servers.keys import ROOM, KeysFile, from_json, to_dict
from certmanager.servers.reach import address
from certmanager.servers.unsafe_secret import parse_place
from certmanager.vault.seal import Keys

KEYS = Keys(("c2hhcmU=", "b3RoZXI="), 2, "token-of-this-test")

texts = st.text(min_size=1)
keys = st.builds(Keys, st.lists(texts, max_size=5).map(tuple), st.integers(0, 255), texts, st.lists(texts).map(tuple))


@given(keys)
def test_what_is_written_is_what_is_read_also_when_the_blanks_were_not_cut(kept: Keys) -> None:
    data = json.dumps(to_dict(kept)).encode()
    assert from_json(data, "file") == kept
    assert from_json(data + b" " * ROOM, "file") == kept


@given(
    st.binary() | st.recursive(st.none() | st.integers() | st.text(), st.lists).map(lambda v: json.dumps(v).encode())
)
def test_anything_else_is_refused_without_being_quoted(data: bytes) -> None:
    with pytest.raises(Refused) as raised:
        from_json(data, "keys file k")
    assert raised.value.message.startswith("keys file k: must be JSON with unseal_keys_b64")
    assert raised.value.__context__ is None


def test_the_format_is_that_of_vaults_own_command() -> None:
    own = {"unseal_keys_b64": ["c2hhcmU="], "unseal_keys_hex": ["7368617265"], "root_token": "t", "unseal_threshold": 1}
    assert from_json(json.dumps(own).encode(), "f") == Keys(("c2hhcmU=",), 1, "t")


def test_neither_keys_nor_token_are_in_a_repr() -> None:
    assert "c2hhcmU" not in repr(KEYS)
    assert "token-of" not in repr(KEYS)


def test_a_keys_file_is_its_owners_alone_from_the_first_moment(tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        file = KeysFile(tmp_path / "k")
        file.reserve()
        assert stat.S_IMODE((tmp_path / "k").stat().st_mode) == 0o600
        assert (tmp_path / "k").stat().st_size == ROOM
        assert file.read() is None
        file.put(KEYS)
    finally:
        os.umask(old)
    assert stat.S_IMODE((tmp_path / "k").stat().st_mode) == 0o600
    assert file.read() == KEYS
    assert (tmp_path / "k").read_text().endswith("}\n")
    assert not file.exposed
    file.release()
    assert file.read() == KEYS, "what is kept is not given up"


def test_a_reservation_that_was_not_used_is_given_up_or_used_by_the_next(tmp_path: Path) -> None:
    path = tmp_path / "k"
    first = KeysFile(path)
    first.reserve()
    first.release()
    assert not path.exists()
    first.reserve()
    path.chmod(0o644)
    second = KeysFile(path)  # the first was killed
    second.reserve()
    second.put(KEYS)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert second.read() == KEYS


@pytest.mark.parametrize("there", ["file", "link", "folder"])
def test_nothing_that_is_there_is_overwritten(tmp_path: Path, there: str) -> None:
    path, target = tmp_path / "k", tmp_path / "target"
    target.write_text("")
    if there == "file":
        path.write_text("{}")
    elif there == "link":
        path.symlink_to(target)
    else:
        path.mkdir()
    with pytest.raises(Refused, match=r"never overwritten|cannot be written"):
        KeysFile(path).reserve()
    assert path.exists()
    assert target.read_text() == ""


@pytest.mark.parametrize(
    "place", ["vault", "vault/keys", "Vault/unsafe", "vault/unsafe/keys", "/unsafe", "vault/Unsafe"]
)
def test_a_secret_for_keys_has_to_say_that_it_is_unsafe(place: str) -> None:
    with pytest.raises(ValueError, match="must"):
        parse_place(place)


def test_a_secret_that_says_so_is_taken() -> None:
    assert parse_place("vault/my-unsafe-keys") == ("vault", "my-unsafe-keys")


def pod(*env: dict[str, Any]) -> dict[str, Any]:
    metadata = {"name": "vault-1", "namespace": "vault"}
    return {"metadata": metadata, "spec": {"containers": [{"env": list(env)}]}, "status": {"podIP": "10.0.0.7"}}


def field(name: str, path: str) -> dict[str, Any]:
    return {"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}}


NAME = field("POD_NAME", "metadata.name")
DNS = {"name": "VAULT_API_ADDR", "value": "https://$(POD_NAME).vault-internal.vault.svc.cluster.local:8200"}


@pytest.mark.parametrize(
    ("env", "expected"),
    [
        ((NAME, DNS), ("https", "vault-1.vault-internal.vault.svc.cluster.local", 8200)),
        ((NAME, {**DNS, "value": "http://$(POD_NAME):8300"}), ("http", "vault-1", 8300)),
        ((field("POD_IP", "status.podIP"), {**DNS, "value": "https://$(POD_IP):8200"}), ("https", "10.0.0.7", 8200)),
        ((NAME, {**DNS, "name": "BAO_API_ADDR"}), ("https", "vault-1.vault-internal.vault.svc.cluster.local", 8200)),
        ((), ("https", "", 8200)),
        (({"name": "VAULT_API_ADDR", "value": "nonsense"},), ("https", "", 8200)),
        (({"name": "VAULT_API_ADDR", "value": "http://[::1"},), ("https", "", 8200)),
        (({"name": "VAULT_API_ADDR", "value": "http://h:99999"},), ("https", "", 8200)),
    ],
)
def test_a_pod_tells_its_scheme_and_the_name_of_its_certificate(
    env: tuple[dict[str, Any], ...], expected: tuple[str, str, int]
) -> None:
    assert address(pod(*env)) == expected


# What the API server could send at the worst: the fields that are read, with anything in them.
shapes = (
    st.none()
    | st.text(max_size=3)
    | st.lists(st.fixed_dictionaries({"env": st.just([None, {"name": 1, "value": []}])}))
)


@given(st.fixed_dictionaries({"containers": shapes}) | shapes)
def test_a_pod_of_any_shape_has_an_address(spec: object) -> None:
    scheme, _, _ = address({"spec": spec, "status": spec, "metadata": spec})
    assert scheme in {"http", "https"}
