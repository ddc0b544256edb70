"""What the fetcher does with each bundle, good and bad: the real process, the real OpenSSL."""

import base64
import os
import stat
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import trustme
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, PrivateFormat

from tests.contract import fetcher_server as fake
from tests.contract.fetcher_certificates import (
    CLIENT_AUTH,
    CODE_SIGNING,
    SERVER_AUTH,
    Pem,
    authority,
    new_key,
    pem,
    secret,
)
from tests.contract.fetcher_process import Pod, finish, read_until
from tests.contract.fetcher_server import FakeApiServer

ROOT = authority("root")
INTERMEDIATE = authority("intermediate", ROOT)
STRANGER = authority("root")  # the same name, another key
GOOD = pem(ROOT)
HOUR = timedelta(hours=1)


@pytest.fixture
def server() -> Iterator[FakeApiServer]:
    with FakeApiServer(trustme.CA()) as running:
        yield running


@pytest.fixture
def pod(tmp_path: Path, server: FakeApiServer) -> Pod:
    return Pod(tmp_path, server)


def with_(**fields: bytes) -> Callable[[], dict[str, Any]]:
    """The good Secret with other contents under `crt`, `key` or `ca`; empty bytes take the field away."""

    def make() -> dict[str, Any]:
        made = secret(GOOD)
        for name, value in fields.items():
            field = {"crt": "tls.crt", "key": "tls.key", "ca": "ca.crt"}[name]
            made["data"][field] = base64.b64encode(value).decode()
            if not value:
                del made["data"][field]
        return made

    return make


def encrypted_key() -> bytes:
    return new_key().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"swordfish"))


@pytest.mark.parametrize(
    "contents",
    [
        pem(ROOT, key=new_key("ed25519")),
        pem(ROOT, key=new_key("rsa")),
        pem(ROOT, usages=(SERVER_AUTH,)),
        pem(ROOT, usages=(CLIENT_AUTH,)),
        pem(INTERMEDIATE, chain=(INTERMEDIATE,), anchors=(ROOT,)),
        pem(INTERMEDIATE, anchors=(INTERMEDIATE,)),
        pem(ROOT, anchors=(STRANGER, ROOT)),
        pem(ROOT, ends=timedelta(days=3650)),
    ],
    ids=["ed25519", "rsa", "server", "client", "intermediate", "anchor under a root", "two anchors", "ten years"],
)
def test_a_good_bundle_is_published_byte_for_byte(pod: Pod, server: FakeApiServer, contents: Pem) -> None:
    server.reads = [fake.body(secret(contents))]
    ended = pod.run()
    assert (ended.status, pod.contents()) == (0, [contents.certificate, contents.key, contents.anchors])
    told = pod.termination_message()
    assert (told["serial"], told["notAfter"]) == (contents.serial, contents.not_after)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (with_(key=pem(ROOT).key), "its tls.key does not fit its tls.crt"),
        (with_(key=new_key("rsa").private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"x"))),
         "its tls.key is encrypted"),
        (with_(key=encrypted_key()), "its tls.key is encrypted"),
        (with_(key=b"no pem"), "cannot be read as PEM"),
        (with_(key=b""), "its tls.key is missing or empty"),
        (with_(key=b"\n"), "its tls.key is not base64 of a PEM text"),
        (with_(crt=b"no pem"), "cannot be read as PEM"),
        (with_(crt=b""), "its tls.crt is missing or empty"),
        (with_(crt=GOOD.certificate + GOOD.key), "its tls.crt holds a private key"),
        (with_(ca=GOOD.anchors + GOOD.key), "its ca.crt holds a private key"),
        (with_(ca=b"no pem"), "its ca.crt cannot be read as PEM certificates"),
        (with_(ca=b""), "its ca.crt is missing or empty"),
        (lambda: secret(pem(ROOT, begins=-2 * HOUR, ends=-HOUR)), "certificate has expired"),
        (lambda: secret(pem(ROOT, begins=HOUR, ends=2 * HOUR)), "certificate is not yet valid"),
        (lambda: secret(pem(ROOT, anchors=(STRANGER,))), "does not verify against its ca.crt"),
        (lambda: secret(pem(INTERMEDIATE, anchors=(ROOT,))), "unable to get local issuer certificate"),
        (lambda: secret(pem(ROOT, usages=(CODE_SIGNING,))), "suitable certificate purpose"),
        (lambda: secret(GOOD) | {"data": {"tls.crt": "%%%", "tls.key": "a", "ca.crt": 7}}, "its tls.crt is not base64"),
        (lambda: secret(GOOD) | {"data": None}, "its tls.crt is missing or empty"),
    ],
)  # fmt: skip
def test_a_bad_bundle_is_not_yet_says_why_and_is_replaced(
    pod: Pod, server: FakeApiServer, make: Callable[[], dict[str, Any]], words: str
) -> None:
    server.reads = [fake.body(make())]
    process = pod.start()
    said = read_until(process, words)
    process.terminate()
    assert (finish(process).status, pod.is_untouched()) == (143, True)
    assert "PRIVATE KEY" not in said

    server.watches = [fake.events(("MODIFIED", secret(GOOD)), then=fake.hang)]
    ended = pod.run()
    assert (ended.status, pod.contents()) == (0, [GOOD.certificate, GOOD.key, GOOD.anchors])


def test_modes_do_not_depend_on_the_umask_and_the_group_is_the_volumes(pod: Pod, server: FakeApiServer) -> None:
    if os.geteuid() == 0:  # as the kubelet does for an fsGroup; only root may give away a group
        os.chown(pod.volume, -1, 4242)
    pod.volume.chmod(0o2777)
    server.reads = [fake.body(secret(GOOD))]
    before = os.umask(0o077)
    try:
        ended = pod.run()
    finally:
        os.umask(before)
    assert (ended.status, "warning" in ended.err) == (0, False)
    volume = pod.volume.stat()
    found = {name: (pod.volume / name).stat() for name in ("cert.pem", "key.pem", "ca-cert.pem", "..data")}
    assert {name: oct(stat.S_IMODE(entry.st_mode)) for name, entry in found.items()} == {
        "cert.pem": "0o644",
        "key.pem": "0o640",
        "ca-cert.pem": "0o644",
        "..data": "0o750",
    }
    assert {entry.st_gid for entry in found.values()} == {volume.st_gid}


def test_without_an_fsgroup_it_says_which_uid_alone_can_read_the_key(pod: Pod, server: FakeApiServer) -> None:
    pod.volume.chmod(0o777)
    server.reads = [fake.body(secret(GOOD))]
    assert f"key.pem is readable only by UID {os.geteuid()}" in pod.run().err


def test_a_second_run_in_the_same_pod_replaces_the_files(pod: Pod, server: FakeApiServer) -> None:
    later = pem(ROOT)
    for contents in (GOOD, later):
        server.reads = [fake.body(secret(contents))]
        assert pod.run().status == 0
    assert pod.contents() == [later.certificate, later.key, later.anchors]
    assert len(list(pod.volume.iterdir())) == 5  # three links, ..data, and one directory


def test_a_volume_that_is_not_there_is_said_before_anything_is_waited_for(pod: Pod, server: FakeApiServer) -> None:
    ended = pod.run(PODCERT_DIRECTORY=str(pod.root / "no" / "where"))
    assert (ended.status, server.calls) == (3, [])
    assert "is not a directory: mount an emptyDir volume" in ended.err


def test_a_name_that_is_a_directory_is_said_and_nothing_is_lost(pod: Pod, server: FakeApiServer) -> None:
    (pod.volume / "key.pem").mkdir()
    server.reads = [fake.body(secret(GOOD))]
    ended = pod.run()
    assert (ended.status, (pod.volume / "key.pem").is_dir()) == (3, True)
    assert "the files cannot be written into" in ended.err


def test_help_tells_every_variable_and_every_exit_status(pod: Pod) -> None:
    ended = pod.run("--help")
    assert ended.status == 0
    for words in ("PODCERT_TIMEOUT", "--secret-name", "POD_UID", "143  asked to stop"):
        assert words in ended.out


def test_a_flag_is_stronger_than_its_variable(pod: Pod, server: FakeApiServer) -> None:
    server.reads = [fake.body(secret(GOOD, name="by-flag"))]
    ended = pod.run("--secret-name", "by-flag", PODCERT_SECRET_NAME="by-variable")
    assert (ended.status, server.calls[0].path.rpartition("/")[2]) == (0, "by-flag")


@pytest.mark.parametrize("variable", ["POD_NAME", "POD_NAMESPACE", "POD_UID"])
def test_a_missing_downward_variable_is_told_with_the_snippet(pod: Pod, variable: str) -> None:
    ended = pod.run(**{variable: ""})
    assert (ended.status, len(ended.err.splitlines())) == (2, 1)
    assert f"{variable} is not set" in ended.err
    assert f"{{name: {variable}, valueFrom: {{fieldRef: " in ended.err
