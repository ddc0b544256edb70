"""A sidecar with a seed directory: what is served while there is no certificate of the pod's own, and when it gives way."""

import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
import trustme

from tests.contract import fetcher_server as fake
from tests.contract.fetcher_certificates import Pem, authority, pem
from tests.contract.fetcher_process import Pod
from tests.contract.fetcher_server import FakeApiServer
from tests.contract.fetcher_sidecar import Application, Sidecar, held, later, version

CA, THROWN_AWAY = authority("root"), authority("throw-away")
SEED, SECOND_SEED = pem(THROWN_AWAY), pem(THROWN_AWAY)
FIRST, SECOND = pem(CA), pem(CA)
EXPIRED = pem(CA, begins=timedelta(hours=-2), ends=timedelta(hours=-1))
Start = Callable[..., Sidecar]


@pytest.fixture
def server() -> Iterator[FakeApiServer]:
    with FakeApiServer(trustme.CA()) as running:
        yield running


@pytest.fixture
def pod(tmp_path: Path, server: FakeApiServer) -> Pod:
    server.reads = [fake.status(403)]
    made = Pod(tmp_path, server)
    (tmp_path / "seed").mkdir()
    write_seed(made, SEED)
    return made


@pytest.fixture
def start(pod: Pod) -> Iterator[Start]:
    running: list[Sidecar] = []

    def begin(*arguments: str, **changes: str) -> Sidecar:
        seeded = {"PODCERT_SEED_DIR": str(pod.root / "seed"), **changes}
        running.append(Sidecar(pod, *arguments, flag=True, **seeded))
        return running[-1]

    yield begin
    for sidecar in running:
        sidecar.kill()


def write_seed(pod: Pod, contents: Pem) -> None:
    files = {"tls.crt": contents.certificate, "tls.key": contents.key, "ca.crt": contents.anchors}
    for name, content in files.items():
        (pod.root / "seed" / name).write_bytes(content)


def leave(pod: Pod, server: FakeApiServer, start: Start, contents: Pem) -> None:
    """An earlier pod's sidecar has left these files in the volume."""
    server.reads = [fake.body(version(contents, 1))]
    server.watches = [fake.hang]
    sidecar = start(PODCERT_SEED_DIR="")
    sidecar.until(f"serial {contents.serial}")
    assert (sidecar.stop(), held(pod, contents)) == (0, True)
    (pod.root / "termination-log").unlink()
    server.reads = [fake.status(403)]


def expire(pod: Pod) -> None:
    """The files in the volume are those of a certificate that has ended."""
    for name, content in (("cert.pem", EXPIRED.certificate), ("key.pem", EXPIRED.key)):
        (pod.volume / "..data" / name).write_bytes(content)


@pytest.mark.parametrize("status", [403, 404, 500])
def test_without_a_secret_the_seed_is_there_at_once_and_the_startup_probe_lets_the_application_start(
    pod: Pod, server: FakeApiServer, start: Start, status: int
) -> None:
    server.reads = [fake.status(status)]
    sidecar = start()
    sidecar.until("it serves until Secret default/server-cert-3f2a9c41 is there")
    assert held(pod, SEED)
    assert pod.run("--check").status == 0
    assert f"wrote the certificate of the seed {pod.root}/seed to {pod.volume}: DNS:" in sidecar.text
    assert sidecar.stop() == 0


def test_the_seed_is_there_while_the_api_server_is_away(pod: Pod, start: Start) -> None:
    start(KUBERNETES_SERVICE_PORT="1").until("it serves until Secret")
    assert held(pod, SEED)


def test_the_seeds_serial_is_not_told_to_the_manager(pod: Pod, start: Start) -> None:
    for _ in range(2):  # the second finds it in the volume
        sidecar = start()
        sidecar.until("following Secret default/server-cert-3f2a9c41")
        assert sidecar.stop() == 0
        assert not (pod.root / "termination-log").exists()


def test_the_pods_own_certificate_takes_the_seeds_place_and_the_application_is_signalled(
    pod: Pod, server: FakeApiServer, start: Start
) -> None:
    event = threading.Event()
    server.reads = [fake.status(404)]
    server.watches = [later(event, ("ADDED", version(FIRST, 1)), ("MODIFIED", version(SECOND, 2)))]
    with Application("podcert-seeded") as application:
        sidecar = start("--signal", "HUP", "--process", "podcert-seeded")
        sidecar.until("it serves until Secret")
        event.set()
        assert [application.line() for _ in range(2)] == [f"HUP {application.pid}"] * 2
        sidecar.until(f"serial {SECOND.serial}")
        assert held(pod, SECOND)
        assert pod.termination_message()["serial"] == SECOND.serial
        assert (sidecar.stop(), application.others()) == (0, [])


def test_a_secret_that_is_there_already_is_taken_and_the_seed_never_shown(
    pod: Pod, server: FakeApiServer, start: Start
) -> None:
    server.reads = [fake.body(version(FIRST, 1))]
    server.watches = [fake.hang]
    sidecar = start()
    sidecar.until(f"serial {FIRST.serial}")
    assert (held(pod, FIRST), "seed" in sidecar.text) == (True, False)


def test_files_of_an_earlier_pod_that_are_still_good_are_served_rather_than_the_seed(
    pod: Pod, server: FakeApiServer, start: Start
) -> None:
    leave(pod, server, start, FIRST)
    sidecar = start()
    sidecar.until("following Secret default/server-cert-3f2a9c41; the files stay as they are")
    assert (held(pod, FIRST), "seed" in sidecar.text) == (True, False)


def test_files_of_an_earlier_pod_that_have_expired_make_way_for_the_seed(
    pod: Pod, server: FakeApiServer, start: Start
) -> None:
    leave(pod, server, start, FIRST)
    expire(pod)
    start().until("it serves until Secret")
    assert held(pod, SEED)


def test_a_certificate_that_expires_under_a_running_sidecar_makes_way_for_the_seed_and_the_application_is_signalled(
    pod: Pod, server: FakeApiServer, start: Start
) -> None:
    short = pem(CA, ends=timedelta(seconds=3))
    server.reads = [fake.body(version(short, 1))]
    server.watches = [later(threading.Event()), fake.status(500)]
    with Application("podcert-expires") as application:
        sidecar = start("--signal", "HUP", "--process", "podcert-expires", PODCERT_WATCH_TIMEOUT="1s")
        sidecar.until(f"serial {short.serial}")
        sidecar.until("it serves until Secret")
        assert held(pod, SEED)
        assert application.line() == f"HUP {application.pid}"


BAD = {
    "mismatch": (replace(SEED, key=FIRST.key), "its tls.key does not fit its tls.crt"),
    "expired": (EXPIRED, "its certificate does not verify against its ca.crt: certificate has expired"),
    "stranger": (replace(SEED, anchors=FIRST.anchors), "its certificate does not verify against its ca.crt"),
    "key among the anchors": (replace(SEED, anchors=SEED.anchors + SEED.key), "its ca.crt holds a private key"),
    "empty": (replace(SEED, key=b"\n"), "tls.key cannot be used: empty; it must hold PEM"),
    "garbage": (replace(SEED, certificate=b"nonsense"), "its tls.crt and tls.key cannot be read as PEM"),
    "endless": (replace(SEED, anchors=b"x" * (1 << 20) + b"x"), "ca.crt cannot be used: larger than 1048576 bytes"),
}


@pytest.mark.parametrize(("bad", "words"), BAD.values(), ids=BAD)
def test_a_bad_seed_is_told_once_and_a_mended_one_is_taken_without_a_restart(
    pod: Pod, start: Start, bad: Pem, words: str
) -> None:
    write_seed(pod, bad)
    sidecar = start()
    sidecar.until(words)
    assert pod.is_untouched()
    write_seed(pod, SEED)
    sidecar.until("it serves until Secret")
    assert (held(pod, SEED), sidecar.text.count(words)) == (True, 1)


def test_a_seed_that_is_not_there_is_told_by_its_file(pod: Pod, start: Start) -> None:
    (pod.root / "seed" / "tls.crt").unlink()
    start().until(f"{pod.root}/seed/tls.crt cannot be used: No such file or directory; it must hold PEM")


def test_a_new_seed_takes_the_place_of_the_old_one_also_after_a_restart(pod: Pod, start: Start) -> None:
    first = start()
    first.until(f"serial {SEED.serial}")
    write_seed(pod, SECOND_SEED)
    first.until(f"serial {SECOND_SEED.serial}")
    assert (first.stop(), held(pod, SECOND_SEED)) == (0, True)
    write_seed(pod, SEED)
    start().until(f"serial {SEED.serial}")
    assert held(pod, SEED)


def test_the_seed_counts_as_the_first_files_for_a_time_limit(pod: Pod, start: Start) -> None:
    sidecar = start(PODCERT_TIMEOUT="1s", PODCERT_WATCH_TIMEOUT="1s")
    sidecar.until("it serves until Secret")
    sidecar.until("following Secret")
    assert sidecar.stop() == 0


def test_a_seed_for_a_fetcher_that_ends_is_refused_by_its_variable(pod: Pod) -> None:
    ended = pod.run(PODCERT_SEED_DIR=str(pod.root / "seed"))
    assert ended.status == 2
    assert "PODCERT_SEED_DIR is " in ended.err
    assert "add --refresh" in ended.err
