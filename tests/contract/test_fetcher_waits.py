"""What the fetcher does with each answer of the API server: the real process, real TLS sockets on loopback."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme

from tests.contract import fetcher_server as fake
from tests.contract.fetcher_certificates import Authority, Pem, authority, pem, secret
from tests.contract.fetcher_process import PATIENCE_S, TOKEN, Pod, finish, read_until
from tests.contract.fetcher_server import Answer, FakeApiServer

OTHER_UID = "99999999-7a51-4d5e-9f7b-0c1d2e3f4a5b"


@pytest.fixture(scope="module")
def ca() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def root() -> Authority:
    return authority("root")


@pytest.fixture(scope="module")
def good(root: Authority) -> Pem:
    return pem(root)


@pytest.fixture
def server(ca: trustme.CA) -> Iterator[FakeApiServer]:
    with FakeApiServer(ca) as running:
        yield running


@pytest.fixture
def pod(tmp_path: Path, server: FakeApiServer) -> Pod:
    return Pod(tmp_path, server)


def delivered(pod: Pod, expected: Pem) -> bool:
    return pod.contents() == [expected.certificate, expected.key, expected.anchors]


def test_a_secret_that_is_there_is_published_with_one_read(pod: Pod, server: FakeApiServer, good: Pem) -> None:
    server.reads = [fake.body(secret(good))]
    ended = pod.run()
    assert (ended.status, delivered(pod, good)) == (0, True)
    assert [call.path for call in server.calls] == ["/api/v1/namespaces/default/secrets/server-cert-3f2a9c41"]
    assert server.calls[0].token == f"Bearer {TOKEN}"
    assert len(ended.out.splitlines()) == 1
    for words in (good.serial, good.not_after, "DNS:server.default.svc.cluster.local", "default/server-cert-3f2a9c41"):
        assert words in ended.out


def test_the_termination_message_tells_which_certificate_the_files_hold(
    pod: Pod, server: FakeApiServer, good: Pem
) -> None:
    server.reads = [fake.body(secret(good))]
    assert pod.run().status == 0
    assert pod.termination_message() == {
        "serial": good.serial,
        "notAfter": good.not_after,
        "secret": "server-cert-3f2a9c41",
        "resourceVersion": "4711",
    }


def test_a_termination_log_that_cannot_be_written_is_only_a_warning(pod: Pod, server: FakeApiServer, good: Pem) -> None:
    server.reads = [fake.body(secret(good))]
    ended = pod.run(PODCERT_TERMINATION_LOG="/nowhere/termination-log")
    assert (ended.status, delivered(pod, good)) == (0, True)
    assert "warning: the termination message cannot be written to /nowhere/termination-log" in ended.err


def test_no_role_then_no_secret_then_the_secret(pod: Pod, server: FakeApiServer, good: Pem) -> None:
    server.reads = [fake.status(403), fake.status(403), fake.status(404)]
    server.watches = [fake.status(403), fake.events(("ADDED", secret(good)), then=fake.hang)]
    ended = pod.run()
    assert (ended.status, delivered(pod, good)) == (0, True)
    assert "may not read it yet (403)" in ended.err
    assert "does not exist yet (404)" in ended.err


def test_the_watch_selects_by_name_or_a_role_with_resource_names_refuses_it(
    pod: Pod, server: FakeApiServer, good: Pem
) -> None:
    server.watches = [fake.events(("ADDED", secret(good)), then=fake.hang)]
    assert pod.run().status == 0
    watch = server.calls[1]
    assert watch.path == "/api/v1/namespaces/default/secrets"
    assert watch.query["fieldSelector"] == ["metadata.name=server-cert-3f2a9c41"]


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (fake.status(401), "refuses the ServiceAccount's token (401)"),
        (fake.status(429, "slow down", {"Retry-After": "0"}), "asks for patience (429): slow down"),
        (fake.status(500, "etcd\nleader changed"), "status 500: etcd leader changed"),
        (fake.status(503), "status 503"),
        (fake.status(410), "too old (410)"),
        (fake.status(302, headers={"Location": "https://127.0.0.1:1/"}), "status 302"),
        (fake.body(b"{"), "no JSON object"),
        (fake.body(b"\xff\xfe\x00"), "no JSON object"),
        (fake.body(b"[" * 100_000), "no JSON object"),
        (fake.body(b"[]"), "no JSON object"),
        (fake.body({"kind": "Secret"}), "something else than the Secret"),
        (fake.raw(b"SSH-2.0-OpenSSH_9.6\r\n"), "something else than HTTP"),
        (fake.raw(b""), "broke off"),
        (fake.raw(b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n{"), "the connection ended within a body"),
        (fake.hang, "does not answer in time"),
    ],
)
def test_a_bad_answer_is_not_yet_and_is_said_in_words(
    pod: Pod, server: FakeApiServer, good: Pem, answer: Answer, words: str
) -> None:
    server.reads = [answer, fake.body(secret(good))]
    ended = pod.run()
    assert (ended.status, delivered(pod, good)) == (0, True)
    assert words in ended.err


@pytest.mark.parametrize(
    "watch",
    [
        fake.events(then=fake.raw(b"")),
        fake.events(then=fake.raw(b'10\r\n{"type":')),
        fake.events(),
        fake.events(("ERROR", {"kind": "Status", "code": 410, "message": "too old resource version"}), then=fake.hang),
        fake.events(("ERROR", {"kind": "Status", "code": 500, "message": "no"}), then=fake.hang),
        fake.events(("DELETED", {"metadata": {}}), then=fake.hang),
        fake.status(403),
        fake.status(410),
        fake.status(429),
        fake.body(b"garbage\n"),
        fake.body(b'{"type": 7}\n'),
        fake.raw(b"garbage"),
        fake.hang,
    ],
)
def test_a_watch_that_breaks_leads_to_a_new_read(pod: Pod, server: FakeApiServer, good: Pem, watch: Answer) -> None:
    server.reads = [fake.status(404), fake.body(secret(good))]
    server.watches = [watch]
    ended = pod.run(PODCERT_WATCH_TIMEOUT="500ms")
    assert (ended.status, delivered(pod, good)) == (0, True)
    assert [call.is_watch for call in server.calls] == [False, True, False]


def test_another_pods_secret_is_never_published(pod: Pod, server: FakeApiServer, good: Pem) -> None:
    server.reads = [fake.body(secret(good, uid=OTHER_UID))]
    process = pod.start()
    said = read_until(process, "another pod's certificate")
    assert pod.is_untouched()
    process.terminate()
    assert finish(process).status == 143
    assert OTHER_UID in said


@pytest.mark.parametrize("wrong", [{"managed": None}, {"managed": "false"}, {"uid": None}, {"uid": OTHER_UID}])
def test_a_foreign_secret_is_waited_out_until_the_pods_own_comes(
    pod: Pod, server: FakeApiServer, good: Pem, root: Authority, wrong: dict[str, str | None]
) -> None:
    server.reads = [fake.body(secret(pem(root), **wrong))]  # type: ignore[arg-type]
    server.watches = [fake.events(("MODIFIED", secret(good)), then=fake.hang)]
    ended = pod.run()
    assert (ended.status, delivered(pod, good)) == (0, True)
    assert "a Secret of this name exists" in ended.err
    assert server.calls[1].query["resourceVersion"] == ["4711"]


def test_an_api_server_whose_certificate_is_not_the_clusters_gets_no_token(
    pod: Pod, server: FakeApiServer, good: Pem
) -> None:
    server.reads = [fake.body(secret(good))]
    trustme.CA().cert_pem.write_to_path(pod.root / "ca.crt")
    ended = pod.run(PODCERT_TIMEOUT="800ms")
    assert (ended.status, server.calls, pod.is_untouched()) == (1, [], True)
    assert "does not verify against the cluster's CA" in ended.err


def test_an_api_server_that_is_away_is_waited_for(pod: Pod) -> None:
    process = pod.start(KUBERNETES_SERVICE_PORT="1")
    read_until(process, "cannot be reached: Connection refused")
    process.terminate()
    assert finish(process).status == 143


def test_an_api_server_with_an_ipv6_address_is_reached(ca: trustme.CA, tmp_path: Path, good: Pem) -> None:
    with FakeApiServer(ca, host="::1", reads=[fake.body(secret(good))]) as server:
        pod = Pod(tmp_path, server)
        assert (pod.run().status, delivered(pod, good)) == (0, True)


def test_a_token_that_is_replaced_is_read_again(pod: Pod, server: FakeApiServer, good: Pem) -> None:
    def replace(handler: fake.Handler) -> None:
        (pod.root / "token").write_text("the-next")
        fake.status(401)(handler)

    server.reads = [replace, fake.body(secret(good))]
    assert pod.run().status == 0
    assert [call.token for call in server.calls] == [f"Bearer {TOKEN}", "Bearer the-next"]


def test_a_token_with_a_line_break_is_never_quoted(pod: Pod) -> None:
    (pod.root / "token").write_text(f"{TOKEN}\r\nX-Evil: {TOKEN}")
    ended = pod.run(PODCERT_TIMEOUT="500ms")  # finish() has looked for the token in all lines
    assert (ended.status, "holds no token" in ended.err) == (1, True)


@pytest.mark.parametrize("stuck", [fake.status(404), fake.hang, fake.status(403)])
def test_a_time_limit_ends_it_with_a_clear_message(pod: Pod, server: FakeApiServer, stuck: Answer) -> None:
    server.reads = [stuck]
    ended = pod.run(PODCERT_TIMEOUT="300ms", PODCERT_REQUEST_TIMEOUT="60s")
    assert (ended.status, pod.is_untouched()) == (1, True)
    assert "error: gave up after 0.3 s (PODCERT_TIMEOUT): " in ended.err


@pytest.mark.parametrize("stuck", [fake.status(404), fake.hang, fake.status(500)])
def test_it_says_again_and_again_what_it_waits_for(pod: Pod, server: FakeApiServer, stuck: Answer) -> None:
    server.reads = [stuck]
    process = pod.start(PODCERT_REQUEST_TIMEOUT="60s")
    for _ in range(3):
        read_until(process, "waiting for Secret default/server-cert-3f2a9c41 (")
    process.terminate()
    assert finish(process).status == 143


@pytest.mark.parametrize("stop", [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_ends_it_at_once_and_leaves_nothing(
    pod: Pod, server: FakeApiServer, stop: tuple[signal.Signals, int]
) -> None:
    server.reads = [fake.hang]
    process = pod.start(PODCERT_REQUEST_TIMEOUT="60s")
    read_until(process, "waiting for")
    process.send_signal(stop[0])
    assert (finish(process).status, pod.is_untouched()) == (stop[1], True)


def test_nobody_has_to_listen(pod: Pod, server: FakeApiServer, good: Pem) -> None:
    server.reads = [fake.status(403), fake.body(secret(good))]
    process = pod.start()
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    process.stderr.close()
    try:
        status = process.wait(PATIENCE_S)
    finally:
        process.kill()
    assert (status, delivered(pod, good)) == (0, True)


def test_a_server_that_closes_after_its_answer_is_asked_over_a_new_connection(
    pod: Pod, server: FakeApiServer, good: Pem
) -> None:
    server.reads = [fake.status(403, headers={"Connection": "close"}), fake.body(secret(good))]
    ended = pod.run(PODCERT_MESSAGE_INTERVAL="60s")  # or a busy machine has it say that there is no answer yet
    assert (ended.status, "the API server" in ended.err) == (0, False)
