"""The fetcher as a sidecar: the real process follows a Secret and tells a real application of each change."""

import contextlib
import itertools
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import trustme

from tests.contract import fetcher_server as fake
from tests.contract.fetcher_certificates import Pem, authority, pem
from tests.contract.fetcher_process import ROOT, Pod
from tests.contract.fetcher_server import FakeApiServer
from tests.contract.fetcher_sidecar import Application, Sidecar, WebServer, held, later, read_pair, version, without_end

CA = authority("root")
FIRST, SECOND, THIRD = pem(CA), pem(CA), pem(CA)
QUICK = "1500ms"


@pytest.fixture
def server() -> Iterator[FakeApiServer]:
    with FakeApiServer(trustme.CA()) as running:
        yield running


@pytest.fixture
def pod(tmp_path: Path, server: FakeApiServer) -> Pod:
    return Pod(tmp_path, server)


@pytest.fixture
def change(server: FakeApiServer) -> threading.Event:
    """FIRST is there; SECOND comes when this event is set."""
    event = threading.Event()
    server.reads = [fake.body(version(FIRST, 1))]
    server.watches = [later(event, ("MODIFIED", version(SECOND, 2)))]
    return event


@pytest.fixture
def start(pod: Pod) -> Iterator[Callable[..., Sidecar]]:
    running: list[Sidecar] = []

    def begin(*arguments: str, flag: bool = True, **changes: str) -> Sidecar:
        running.append(Sidecar(pod, *arguments, flag=flag, **changes))
        return running[-1]

    yield begin
    for sidecar in running:
        sidecar.kill()


Start = Callable[..., Sidecar]


def test_it_stays_and_swaps_the_files_when_the_secret_changes(pod: Pod, change: threading.Event, start: Start) -> None:
    sidecar = start()
    sidecar.until(f"serial {FIRST.serial}")
    assert held(pod, FIRST)
    change.set()
    sidecar.until(f"serial {SECOND.serial}")
    assert held(pod, SECOND)
    assert sidecar.stop() == 0
    assert (pod.termination_message()["serial"], pod.termination_message()["resourceVersion"]) == (SECOND.serial, "2")


def test_the_variable_does_what_the_flag_does(pod: Pod, change: threading.Event, start: Start) -> None:
    sidecar = start(flag=False, PODCERT_REFRESH="true")
    sidecar.until(f"serial {FIRST.serial}")
    change.set()
    sidecar.until(f"serial {SECOND.serial}")
    assert sidecar.stop() == 0


def test_a_real_process_gets_the_signal_after_each_swap_and_none_at_the_start(
    pod: Pod, change: threading.Event, start: Start
) -> None:
    with Application("podcert-app-1") as application:
        sidecar = start("--signal", "HUP", "--process", "podcert-app-1")
        sidecar.until(f"serial {FIRST.serial}")
        change.set()
        assert application.line() == f"HUP {application.pid}"
        said = sidecar.until("reloaded: ")
        assert f"sent SIGHUP to podcert-app-1 (process {application.pid})" in said
        assert held(pod, SECOND)
        assert (sidecar.stop(), application.others()) == (0, [])


def test_a_child_of_the_same_name_gets_no_signal(change: threading.Event, start: Start) -> None:
    with Application("podcert-app-2", workers=2) as application:
        sidecar = start("--signal", "SIGHUP", "--process", "podcert-app-2")
        sidecar.until(f"serial {FIRST.serial}")
        change.set()
        assert application.line() == f"HUP {application.pid}"
        sidecar.until("reloaded: ")
        assert application.others() == []


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_real_server_gets_the_request(change: threading.Event, start: Start, method: str) -> None:
    with WebServer([204]) as web:
        sidecar = start("--http", method, f"http://127.0.0.1:{web.port}/-/reload?a=1")
        sidecar.until(f"serial {FIRST.serial}")
        change.set()
        sidecar.until("was answered with status 204")
        assert web.requests == [f"{method} /-/reload?a=1"]


def test_a_command_is_run_with_its_arguments_and_no_shell(pod: Pod, change: threading.Event, start: Start) -> None:
    sidecar = start("--exec", "/bin/cp", str(pod.volume / "cert.pem"), str(pod.root / "$(a) b;c"))
    sidecar.until(f"serial {FIRST.serial}")
    change.set()
    sidecar.until("reloaded: ran /bin/cp")
    assert (pod.root / "$(a) b;c").read_bytes() == SECOND.certificate


def test_a_failed_reload_is_tried_again_until_it_succeeds(pod: Pod, change: threading.Event, start: Start) -> None:
    with WebServer([500, 503, 200]) as web:
        sidecar = start("--http", "POST", f"http://127.0.0.1:{web.port}/")
        sidecar.until(f"serial {FIRST.serial}")
        change.set()
        said = sidecar.until("was answered with status 200")
        assert [line for line in said.splitlines() if "the reload failed" in line][:2] == [
            f"certificate-fetcher: the reload failed: POST http://127.0.0.1:{web.port}/ was answered with status {status}; "
            f"next try in {pause} s"
            for status, pause in ((500, 1), (503, 2))
        ]
        assert len(web.requests) == 3
        assert "reload" not in pod.termination_message()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--signal", "HUP", "--process", "podcert-nobody"], "no process is called podcert-nobody"),
        (["--http", "GET", "http://127.0.0.1:1/"], "GET http://127.0.0.1:1/ cannot be reached: Connection refused"),
        (["--exec", "/bin/sh", "-c", "exit 7"], "/bin/sh ended with status 7"),
        (["--exec", "/bin/sleep", "60"], "/bin/sleep did not end within "),
    ],
)
def test_a_reload_that_keeps_failing_ends_the_sidecar_with_status_4_and_the_new_files_stay(
    pod: Pod, change: threading.Event, start: Start, arguments: list[str], words: str
) -> None:
    sidecar = start("--reload-timeout", QUICK, *arguments)
    sidecar.until(f"serial {FIRST.serial}")
    change.set()
    assert sidecar.wait() == 4
    assert held(pod, SECOND)
    told = pod.termination_message()
    assert (told["serial"], told["secret"], told["resourceVersion"]) == (SECOND.serial, "server-cert-3f2a9c41", "2")
    assert told["reload"].startswith(words)
    assert len(told["reload"]) <= 200
    assert f"could not be reloaded: {words}" in sidecar.text


def test_restarted_in_the_same_volume_it_tries_the_reload_that_it_owes_and_swaps_nothing(
    pod: Pod, server: FakeApiServer, change: threading.Event, start: Start
) -> None:
    with WebServer([500, 500, 500, 200]) as web:
        arguments = ("--reload-timeout", QUICK, "--http", "GET", f"http://127.0.0.1:{web.port}/")
        first = start(*arguments)
        first.until(f"serial {FIRST.serial}")
        change.set()
        assert first.wait() == 4
        server.reads = [fake.body(version(SECOND, 2))]
        server.watches = [fake.hang]
        before = (pod.volume / "..data").readlink()
        web.answers = [200]
        second = start(*arguments)
        said = second.until("reloaded: ")
        assert "found in place the certificate of Secret default/server-cert-3f2a9c41" in said
        assert (pod.volume / "..data").readlink() == before
        assert "reload" not in pod.termination_message()
        assert second.stop() == 0
        asked = len(web.requests)
        server.calls.clear()
        third = start(*arguments)  # nothing is owed any more
        third.until_calls(server, lambda call: call.is_watch, 1)
        assert (third.stop(), len(web.requests)) == (0, asked)


def test_a_restarted_sidecar_takes_the_newest_secret_before_it_tries_a_reload_that_fails(
    pod: Pod, server: FakeApiServer, change: threading.Event, start: Start
) -> None:
    arguments = ("--reload-timeout", "1ms", "--exec", "/bin/false")
    first = start(*arguments)
    first.until(f"serial {FIRST.serial}")
    change.set()
    assert first.wait() == 4
    server.reads = [fake.body(version(THIRD, 3))]
    assert start(*arguments).wait() == 4
    assert held(pod, THIRD)


def test_restarted_with_the_api_server_away_it_reloads_what_is_there(
    pod: Pod, change: threading.Event, start: Start
) -> None:
    first = start("--reload-timeout", "1ms", "--exec", "/bin/false")
    first.until(f"serial {FIRST.serial}")
    change.set()
    assert first.wait() == 4
    second = start("--exec", "/bin/true", KUBERNETES_SERVICE_PORT="1")
    second.until("reloaded: ran /bin/true")
    second.until("following Secret default/server-cert-3f2a9c41; the files stay as they are: the API server at ")
    assert (held(pod, SECOND), second.stop()) == (True, 0)


EXPIRED = pem(CA, begins=timedelta(hours=-2), ends=timedelta(hours=-1))
STRANGER = pem(authority("root"), anchors=(CA,))


@pytest.mark.parametrize("bad", [EXPIRED, STRANGER], ids=["expired", "stranger"])
def test_a_new_secret_that_does_not_verify_leaves_the_files_and_the_next_good_one_comes(
    pod: Pod, server: FakeApiServer, start: Start, bad: Pem
) -> None:
    event = threading.Event()
    good = later(event, ("MODIFIED", version(SECOND, 3)), inside=True)
    server.reads = [fake.body(version(FIRST, 1))]
    server.watches = [fake.events(("MODIFIED", version(bad, 2)), then=good)]
    sidecar = start()
    sidecar.until("the files stay as they are: the Secret is there, but its certificate does not verify")
    assert held(pod, FIRST)
    event.set()
    sidecar.until(f"serial {SECOND.serial}")
    assert (held(pod, SECOND), sidecar.stop()) == (True, 0)


@pytest.mark.parametrize(
    "trouble",
    [
        fake.events(("DELETED", version(FIRST, 2)), then=fake.hang),
        fake.raw(b""),
        fake.status(500),
        fake.status(403),
        fake.status(410),
    ],
    ids=["deleted", "cut", "500", "403", "410"],
)
def test_whatever_becomes_of_the_watch_the_files_stay_and_the_next_secret_comes(
    pod: Pod, server: FakeApiServer, start: Start, trouble: fake.Answer
) -> None:
    event = threading.Event()
    server.reads = [fake.body(version(FIRST, 1)), fake.status(404)]
    server.watches = [trouble, later(event, ("ADDED", version(SECOND, 3)))]
    sidecar = start()
    sidecar.until("following Secret default/server-cert-3f2a9c41; the files stay as they are: ")
    assert held(pod, FIRST)
    event.set()
    sidecar.until(f"serial {SECOND.serial}")
    assert (held(pod, SECOND), sidecar.stop()) == (True, 0)


def test_a_change_of_the_secret_that_is_none_of_its_files_swaps_and_reloads_nothing(
    pod: Pod, server: FakeApiServer, start: Start
) -> None:
    event = threading.Event()
    server.reads = [fake.body(version(FIRST, 1))]
    server.watches = [later(event, ("MODIFIED", version(FIRST, 2)), ("MODIFIED", version(SECOND, 3)))]
    with WebServer([200]) as web:
        sidecar = start("--http", "GET", f"http://localhost:{web.port}/")
        sidecar.until(f"serial {FIRST.serial}")
        event.set()
        sidecar.until("reloaded: ")
        assert (held(pod, SECOND), len(web.requests), sidecar.text.count("wrote")) == (True, 1, 2)


@pytest.mark.parametrize("moment", ["waiting", "following", "reloading"])
def test_sigterm_ends_it_at_once_with_status_0(pod: Pod, server: FakeApiServer, start: Start, moment: str) -> None:
    event = threading.Event()
    if moment != "waiting":
        server.reads = [fake.body(version(FIRST, 1))]
        server.watches = [later(event, ("MODIFIED", version(SECOND, 2)))]
    command = f"echo $$ > {pod.root}/pid; echo begun; sleep 60"
    sidecar = start("--exec", "/bin/sh", "-c", command)
    sidecar.until("waiting for Secret" if moment == "waiting" else f"serial {FIRST.serial}")
    if moment == "reloading":
        event.set()
        sidecar.until("begun")
    assert sidecar.stop() == 0
    if moment == "reloading":
        assert not Path(f"/proc/{(pod.root / 'pid').read_text().strip()}").exists()


EARLY = """
import os, runpy, signal, sys

class Finder:
    def find_spec(self, name, *_):
        if name == "fetcher.cli":
            os.kill(os.getpid(), signal.SIGTERM)

sys.meta_path.insert(0, Finder())
runpy.run_module("fetcher", run_name="__main__")
"""


def test_sigterm_is_heard_before_the_imports_that_take_most_of_a_start(pod: Pod) -> None:
    """A status of its own, not death by the signal: for a container's first process the kernel has no such default."""
    ended = subprocess.run([sys.executable, "-c", EARLY], cwd=ROOT, env=pod.environment(), check=False, timeout=20)
    assert ended.returncode == 143


def test_a_time_limit_is_for_the_first_files_only(pod: Pod, change: threading.Event, start: Start) -> None:
    sidecar = start(PODCERT_TIMEOUT="2s", PODCERT_WATCH_TIMEOUT="1s")
    sidecar.until(f"serial {FIRST.serial}")
    with pytest.raises(subprocess.TimeoutExpired):
        sidecar.process.wait(2.5)
    assert sidecar.stop() == 0


def test_the_check_fails_without_files_and_succeeds_with_them_and_fails_when_they_have_expired(
    pod: Pod, server: FakeApiServer
) -> None:
    before = pod.run("--check")
    assert (before.status, before.err) == (1, f"certificate-fetcher: no files are in {pod.volume} yet\n")
    server.reads = [fake.body(version(FIRST, 1))]
    assert pod.run().status == 0
    assert (pod.run("--check").status, pod.run("--check", "--directory", str(pod.root)).status) == (0, 1)
    (pod.volume / "..data" / "key.pem").write_bytes(SECOND.key)
    after = pod.run("--check")
    assert (after.status, "does not fit" in after.err) == (1, True)
    for name, content in (("cert.pem", EXPIRED.certificate), ("key.pem", EXPIRED.key)):
        (pod.volume / "..data" / name).write_bytes(content)
    assert "the files are there, but their certificate does not verify" in pod.run("--check").err


def test_ten_thousand_reads_during_swaps_never_get_a_key_and_a_certificate_of_two_generations(
    pod: Pod, server: FakeApiServer, start: Start
) -> None:
    sets = [pem(CA) for _ in range(8)]
    numbers = itertools.count(2)
    done = threading.Event()

    def next_secret() -> dict[str, Any]:
        number = next(numbers)
        return version(sets[number % len(sets)], number)

    server.reads = [fake.body(version(sets[0], 1))]
    server.watches = [without_end(next_secret, done)]
    sidecar = start()
    sidecar.until("wrote the certificate")
    drain = threading.Thread(target=sidecar.drain)
    drain.start()
    pairs: list[tuple[bytes, bytes]] = []
    swaps = 0
    try:
        # Many more reads than are asked for, if the machine swaps slowly: without swaps they would show nothing.
        while len(pairs) < 10_000 or (swaps < 50 and len(pairs) < 1_000_000):
            with contextlib.suppress(FileNotFoundError):  # swapped and removed meanwhile: begin anew
                pairs.append(read_pair(pod.volume))
                swaps += len(pairs) > 1 and pairs[-1] != pairs[-2]
    finally:
        done.set()
        sidecar.process.terminate()
        drain.join()
    assert set(pairs) <= {(each.certificate, each.key) for each in sets}
    assert swaps >= 50
    assert sidecar.wait() == 0
