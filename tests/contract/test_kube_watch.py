"""The watch against an API server that misbehaves: it loses nothing, repeats nothing for ever, and stops when told."""

from __future__ import annotations

import json
import queue
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import pytest

from certmanager.domain.model import Service
from certmanager.kube import project
from certmanager.kube.watch import Pace, Reflector, Resource
from tests.contract.kube_server import (
    Answer,
    Connection,
    Request,
    Server,
    client,
    fails,
    page,
    quiet,
    service,
    serving,
    status,
)

Seen = tuple[str, object]


class Recorder:
    """A sink that remembers."""

    def __init__(self) -> None:
        self.seen: queue.Queue[Seen] = queue.Queue()

    def replace(self, items: Sequence[Service], version: int) -> None:
        self.seen.put(("replace", ([item.name for item in items], version)))

    def upsert(self, view: Service) -> None:
        self.seen.put(("upsert", view.name))

    def delete(self, view: Service) -> None:
        self.seen.put(("delete", view.name))

    def next(self) -> Seen:
        return self.seen.get(timeout=5)


PACE = Pace(page=2, silence=0.3, first=0.01, longest=0.05, jitter=lambda: 0.0, wall=lambda: 1000.0)


@contextmanager
def following(server: Server, sink: Recorder, pace: Pace = PACE) -> Iterator[Reflector[Service]]:
    resource = Resource("services", "/api/v1/services", project.service, "a=b")
    reflector = Reflector(client(server), resource, sink, pace)
    reflector.start()
    try:
        yield reflector
    finally:
        reflector.stop()
        assert not reflector.alive


def events(*given: tuple[str, dict[str, object]], then: Callable[[Connection], None] = Connection.end) -> Answer:
    def answer(connection: Connection, _request: Request) -> None:
        connection.begin()
        for kind, item in given:
            connection.event(kind, item)
        then(connection)

    return answer


def eventually(fact: Callable[[], bool]) -> None:
    """Waits for a fact, bounded."""
    for _ in range(1000):
        if fact():
            return
        time.sleep(0.005)
    pytest.fail("it did not come about")


def test_a_list_is_read_in_pages_and_the_watch_goes_on_from_its_version() -> None:
    pages = [page(7, service("a", 1), service("b", 2), more="next"), page(7, service("c", 3))]
    sink = Recorder()
    with serving(list=pages, watch=[quiet]) as server, following(server, sink) as reflector:
        assert sink.next() == ("replace", (["a", "b", "c"], 7))
        assert reflector.synced.wait(5)
        assert reflector.last_seen == 1000.0
        eventually(lambda: len(server.of("watch")) > 0)
        first, second = server.of("list")
        assert (first.query["limit"], first.query["labelSelector"], second.query["continue"]) == ("2", "a=b", "next")
        watch = server.of("watch")[0].query
        assert (watch["resourceVersion"], watch["allowWatchBookmarks"], watch["labelSelector"]) == ("7", "true", "a=b")
        assert watch["timeoutSeconds"] == "290"


def test_events_reach_the_sink_and_a_watch_that_ends_resumes_after_the_last_of_them() -> None:
    first = events(("ADDED", service("a", 11)), ("MODIFIED", service("a", 12)), ("DELETED", service("b", 13)))
    sink = Recorder()
    with serving(list=[page(7)], watch=[first, quiet]) as server, following(server, sink):
        assert [sink.next() for _ in range(4)] == [
            ("replace", ([], 7)),
            ("upsert", "a"),
            ("upsert", "a"),
            ("delete", "b"),
        ]
        eventually(lambda: len(server.of("watch")) > 1)
        assert server.of("watch")[1].query["resourceVersion"] == "13"
        assert len(server.of("list")) == 1


def test_a_bookmark_moves_the_version_and_touches_nothing() -> None:
    bookmark = events(("BOOKMARK", {"metadata": {"resourceVersion": "99"}}))
    sink = Recorder()
    with serving(list=[page(7)], watch=[bookmark, quiet]) as server, following(server, sink):
        eventually(lambda: len(server.of("watch")) > 1)
        assert server.of("watch")[1].query["resourceVersion"] == "99"
        assert sink.next()[0] == "replace"
        assert sink.seen.empty()


@pytest.mark.parametrize("form", ["as the answer's status", "as an event"])
def test_410_lists_anew(form: str) -> None:
    expired = fails(410) if form == "as the answer's status" else events(("ERROR", status(410, "too old")))
    lists = [page(7, service("a", 1)), page(20, service("b", 18))]
    sink = Recorder()
    with serving(list=lists, watch=[expired, quiet]) as server, following(server, sink):
        assert sink.next() == ("replace", (["a"], 7))
        assert sink.next() == ("replace", (["b"], 20))
        eventually(lambda: len(server.of("watch")) > 1)
        assert server.of("watch")[1].query["resourceVersion"] == "20"


def test_410_between_two_pages_begins_the_list_again() -> None:
    lists = [page(7, service("a", 1), more="next"), fails(410), page(9, service("b", 2))]
    sink = Recorder()
    with serving(list=lists, watch=[quiet]) as server, following(server, sink):
        assert sink.next() == ("replace", (["b"], 9))
        assert "continue" not in server.of("list")[2].query


def test_429_is_waited_for_as_long_as_the_server_asks(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    sink = Recorder()
    with serving(list=[fails(429, Retry_After="1"), page(7)], watch=[quiet]) as server, following(server, sink):
        assert sink.next() == ("replace", ([], 7))
    assert "again in 1.0 s" in caplog.text


def silent(connection: Connection) -> None:
    connection.hang()


def garbled(connection: Connection) -> None:
    connection.chunk(b"<html>proxy error</html>\n")
    connection.hang()


def half_a_line(connection: Connection) -> None:
    connection.chunk(json.dumps({"type": "ADDED", "object": service("half", 15)}).encode()[:40])
    connection.end()


def reset(connection: Connection) -> None:
    time.sleep(0.1)  # a reset also discards what the client has not read yet
    connection.reset()


@pytest.mark.parametrize("trouble", [silent, garbled, half_a_line, reset])
def test_whatever_breaks_a_watch_it_resumes_where_it_was(trouble: Callable[[Connection], None]) -> None:
    first = events(("ADDED", service("a", 11)), then=trouble)
    second = events(("ADDED", service("b", 12)), then=Connection.hang)
    sink = Recorder()
    with serving(list=[page(7)], watch=[first, second]) as server, following(server, sink):
        assert [sink.next() for _ in range(3)] == [("replace", ([], 7)), ("upsert", "a"), ("upsert", "b")]
        assert server.of("watch")[1].query["resourceVersion"] == "11"
        assert len(server.of("list")) == 1


def test_an_event_that_can_never_be_read_is_stepped_over_by_a_list() -> None:
    poison = events(then=garbled)
    sink = Recorder()
    lists = [page(7), page(9, service("a", 8))]
    with serving(list=lists, watch=[poison, poison, poison, quiet]) as server, following(server, sink):
        assert sink.next() == ("replace", ([], 7))
        assert sink.next() == ("replace", (["a"], 9))
        assert len(server.of("watch")) >= 3


def test_an_event_in_two_chunks_arrives_whole_and_two_in_one_chunk_arrive_both() -> None:
    a, b = (json.dumps({"type": "ADDED", "object": service(name, 11)}).encode() + b"\n" for name in ("a", "b"))

    def chunks(connection: Connection, _request: Request) -> None:
        connection.begin()
        connection.chunk(a[:30])
        connection.chunk(a[30:] + b)
        connection.hang()

    sink = Recorder()
    with serving(list=[page(7)], watch=[chunks]) as server, following(server, sink):
        assert [sink.next() for _ in range(3)] == [("replace", ([], 7)), ("upsert", "a"), ("upsert", "b")]


def test_stop_ends_a_watch_that_waits() -> None:
    sink = Recorder()
    slow = Pace(silence=60.0, first=0.01)
    with serving(list=[page(7)], watch=[quiet]) as server, following(server, sink, slow) as reflector:
        eventually(lambda: len(server.of("watch")) == 1 and reflector.problem is None)
        stopped = threading.Thread(target=reflector.stop)
        stopped.start()
        stopped.join(5)
        assert not reflector.alive


def test_an_api_server_that_is_away_is_told_and_then_found_again() -> None:
    sink = Recorder()
    lists = [fails(503), fails(500), lambda connection, _request: connection.reset(), page(7)]
    with serving(list=lists, watch=[quiet]) as server, following(server, sink) as reflector:
        eventually(lambda: reflector.problem is not None or reflector.synced.is_set())
        assert sink.next() == ("replace", ([], 7))
        eventually(lambda: reflector.problem is None)
        assert len(server.of("list")) == 4


def test_a_watch_that_ends_at_once_is_not_asked_for_in_a_tight_loop() -> None:
    sink = Recorder()
    calm = Pace(silence=1.0, first=0.2, longest=0.4, jitter=lambda: 1.0)
    with serving(list=[page(7)], watch=[events()]) as server, following(server, sink, calm) as reflector:
        eventually(lambda: reflector.problem is not None)
        assert len(server.of("watch")) <= 2


def test_an_error_in_the_sink_lists_anew_and_does_not_end_the_watch() -> None:
    class Failing(Recorder):
        failed = False

        def upsert(self, view: Service) -> None:
            if not self.failed:
                self.failed = True
                raise RuntimeError("bug")
            super().upsert(view)

    sink = Failing()
    watches = [events(("ADDED", service("a", 11))), events(("ADDED", service("b", 12)), then=Connection.hang)]
    with serving(list=[page(7), page(11, service("a", 11))], watch=watches) as server, following(server, sink):
        assert [sink.next() for _ in range(3)] == [("replace", ([], 7)), ("replace", (["a"], 11)), ("upsert", "b")]


def test_an_object_that_cannot_be_read_is_left_out_of_the_list_and_of_the_watch() -> None:
    def picky(item: Mapping[str, Any]) -> Service:
        view = project.service(item)
        if view.name == "poison":
            raise OverflowError("what no one thought of")
        return view

    resource = Resource("services", "/api/v1/services", picky, "")
    lists = [page(7, service("a", 1), service("poison", 2))]
    watches = [events(("ADDED", service("poison", 8)), ("ADDED", service("b", 9)), then=Connection.hang)]
    sink = Recorder()
    with serving(list=lists, watch=watches) as server:
        reflector = Reflector(client(server), resource, sink, PACE)
        reflector.start()
        try:
            assert [sink.next() for _ in range(2)] == [("replace", (["a"], 7)), ("upsert", "b")]
        finally:
            reflector.stop()


def test_410_after_an_outage_lists_without_the_outage_s_long_pause(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    sink = Recorder()
    pace = Pace(first=0.1, longest=5.0, jitter=lambda: 1.0)
    watches = [fails(503), fails(503), fails(410), fails(410), quiet]
    with serving(list=[page(7), page(8), page(9)], watch=watches) as server, following(server, sink, pace):
        assert [sink.next() for _ in range(3)] == [("replace", ([], version)) for version in (7, 8, 9)]
    pauses = [record.message.rpartition("again in ")[2] for record in caplog.records if "again in" in record.message]
    assert pauses == ["0.1 s", "0.2 s", "0.1 s", "0.2 s"]


@pytest.mark.parametrize(("failures", "low", "high"), [(1, 0.25, 0.5), (2, 0.5, 1.0), (4, 2.0, 4.0), (50, 5.0, 10.0)])
def test_pauses_double_up_to_ten_seconds(failures: int, low: float, high: float) -> None:
    assert Pace(jitter=lambda: 0.0).pause(failures) == low
    assert Pace(jitter=lambda: 1.0).pause(failures) == high
