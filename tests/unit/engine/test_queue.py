"""The work queue: what workers may rely on."""

from __future__ import annotations

import threading

from hypothesis import given
from hypothesis import strategies as st

from certmanager.engine.queue import WorkQueue
from tests.unit.engine.fakes import FakeClock


def make() -> tuple[WorkQueue[str], FakeClock]:
    clock = FakeClock()
    return WorkQueue[str](clock.monotonic), clock


def test_a_key_added_twice_is_handed_out_once() -> None:
    queue, _ = make()
    queue.add("a")
    queue.add("a")
    assert queue.get(0) == "a"
    assert queue.get(0) is None


def test_keys_come_in_the_order_in_which_they_were_added() -> None:
    queue, _ = make()
    for key in ("c", "a", "b"):
        queue.add(key)
    assert [queue.get(0) for _ in range(3)] == ["c", "a", "b"]


def test_a_key_in_hand_is_not_given_to_a_second_worker_but_comes_back_when_it_is_done() -> None:
    queue, _ = make()
    queue.add("a")
    assert queue.get(0) == "a"
    queue.add("a")
    assert queue.get(0) is None
    queue.done("a")
    assert queue.get(0) == "a"
    queue.done("a")
    assert queue.get(0) is None


def test_a_delayed_key_comes_when_its_time_has_come() -> None:
    queue, clock = make()
    queue.add("a", delay=5)
    clock.advance(4.9)
    assert queue.get(0) is None
    clock.advance(0.1)
    assert queue.get(0) == "a"


def test_the_earliest_of_several_delays_counts_and_the_others_are_forgotten() -> None:
    queue, clock = make()
    queue.add("a", delay=9)
    queue.add("a", delay=3)
    queue.add("a", delay=6)
    clock.advance(3)
    assert queue.get(0) == "a"
    queue.done("a")
    clock.advance(60)
    assert queue.get(0) is None


def test_adding_now_overtakes_a_delay() -> None:
    queue, clock = make()
    queue.add("a", delay=9)
    queue.add("a")
    assert queue.get(0) == "a"
    queue.done("a")
    clock.advance(60)
    assert queue.get(0) is None


def test_a_delayed_key_that_falls_due_while_it_is_in_hand_comes_back_when_it_is_done() -> None:
    queue, clock = make()
    queue.add("a")
    assert queue.get(0) == "a"
    queue.add("a", delay=1)
    clock.advance(2)
    assert queue.get(0) is None
    queue.done("a")
    assert queue.get(0) == "a"


def test_a_stopped_queue_wakes_its_waiting_workers_and_takes_nothing_more() -> None:
    queue = WorkQueue[str](FakeClock().monotonic)
    got: list[str | None] = []
    thread = threading.Thread(target=lambda: got.append(queue.get()))
    thread.start()
    queue.stop()
    thread.join(10)
    queue.add("a")
    assert got == [None]
    assert queue.get(0) is None


def test_depth_and_oldest_tell_how_far_behind_the_workers_are() -> None:
    queue, clock = make()
    queue.add("a")
    clock.advance(2)
    queue.add("b")
    queue.add("later", delay=50)
    clock.advance(1)
    assert (queue.depth(), queue.oldest(), queue.waiting()) == (2, 3.0, 1)


@given(st.lists(st.tuples(st.sampled_from("abc"), st.floats(0, 100)), max_size=30))
def test_no_key_is_ever_lost_and_none_comes_early(adds: list[tuple[str, float]]) -> None:
    queue, clock = make()
    earliest: dict[str, float] = {}
    for key, delay in adds:
        queue.add(key, delay)
        earliest[key] = min(delay, earliest.get(key, delay))
    came: dict[str, float] = {}
    for _ in range(2000):
        while (key_now := queue.get(0)) is not None:
            came[key_now] = clock.monotonic()
            queue.done(key_now)
        clock.advance(0.06)
    assert set(came) == set(earliest)
    assert all(came[key] >= at - 1e-6 for key, at in earliest.items())
