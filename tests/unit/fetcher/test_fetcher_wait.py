"""The loop: how long it pauses, what it says, when it reads anew. Time is a number here."""

from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from fetcher.errors import NotYetError, Waiting
from fetcher.progress import Progress
from fetcher.wait import Backoff, Clock, secrets

NAMES = {"namespace": "shop", "pod": "server-0", "secret": "server-0-cert-3f2a9c41"}
SECRET: dict[str, Any] = {"metadata": {"name": "server-0-cert-3f2a9c41", "resourceVersion": "7"}}


class Hands:
    """A clock that moves when something sleeps, and a list of what was said."""

    def __init__(self) -> None:
        self.time = 0.0
        self.pauses: list[float] = []
        self.lines: list[str] = []
        self.clock = Clock(lambda: self.time, self.sleep, lambda: 0.0)
        self.progress = Progress(NAMES, self.lines.append, lambda: self.time, interval=5.0)

    def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.time += seconds


class Script:
    """A source whose answers are given; each watch lasts `lasts` seconds."""

    def __init__(self, hands: Hands, reads: Iterator[Any], watches: Callable[[], list[Any]], lasts: float) -> None:
        self.hands, self.reads, self.watches, self.lasts = hands, reads, watches, lasts
        self.versions: list[str] = []

    def get(self) -> dict[str, Any]:
        return given_or_raised(next(self.reads))

    def watch(self, resource_version: str) -> Iterator[dict[str, Any]]:
        self.versions.append(resource_version)
        for event in self.watches():
            yield given_or_raised(event)
        self.hands.time += self.lasts


def given_or_raised(answer: Any) -> dict[str, Any]:
    if isinstance(answer, NotYetError):
        raise answer
    return dict(answer)


def failures(waiting: Waiting, count: int) -> Iterator[Any]:
    yield from (NotYetError(waiting, "no") for _ in range(count))
    yield SECRET


def test_a_role_that_is_not_there_is_asked_for_quickly_in_the_first_second_then_once_a_second() -> None:
    hands = Hands()
    assert list(
        islice(secrets(Script(hands, failures(Waiting.FORBIDDEN, 30), list, 0), hands.progress, hands.clock), 1)
    )
    assert set(hands.pauses[:20]) == {0.05}
    assert hands.pauses[-1] == 1.0
    assert hands.pauses == sorted(hands.pauses)


def test_a_server_in_trouble_is_asked_patiently() -> None:
    hands = Hands()
    list(islice(secrets(Script(hands, failures(Waiting.SERVER, 7), list, 0), hands.progress, hands.clock), 1))
    assert hands.pauses == [0.25, 0.5, 1.0, 2.0, 4.0, 5.0, 5.0]


def test_a_watch_that_ends_at_once_every_time_makes_no_storm() -> None:
    hands = Hands()
    source = Script(hands, iter([SECRET] * 20), list, 0.0)
    list(islice(secrets(source, hands.progress, hands.clock), 10))
    assert (len(hands.pauses), hands.pauses[-1]) == (9, 5.0)


def test_a_watch_that_lived_is_made_anew_without_a_pause_after_a_new_read() -> None:
    hands = Hands()
    source = Script(hands, iter([SECRET] * 20), list, 30.0)
    list(islice(secrets(source, hands.progress, hands.clock), 5))
    assert (hands.pauses, source.versions) == ([], ["7"] * 4)


def test_without_a_secret_the_watch_starts_from_what_is_there() -> None:
    hands = Hands()
    source = Script(hands, iter([NotYetError(Waiting.ABSENT, "no")]), lambda: [SECRET], 0)
    assert list(islice(secrets(source, hands.progress, hands.clock), 1)) == [SECRET]
    assert (source.versions, hands.pauses) == ([""], [])


@given(
    tries=st.lists(st.tuples(st.sampled_from(list(Waiting)), st.floats(0, 20), st.floats(0, 30) | st.none())),
    random=st.floats(0, 1, exclude_max=True),
)
def test_no_pause_is_shorter_than_the_floor_or_longer_than_its_cap(
    tries: list[tuple[Waiting, float, float | None]], random: float
) -> None:
    backoff, now = Backoff(0.0, lambda: random), 0.0
    for waiting, step, retry_after in tries:
        now += step
        pause = backoff.pause(NotYetError(waiting, "no", retry_after), now)
        cap = 1.0 if waiting in {Waiting.FORBIDDEN, Waiting.ABSENT} else 5.0
        assert 0.05 <= pause <= max(cap, retry_after or 0.0)


def test_what_the_server_asks_for_is_granted() -> None:
    assert Backoff(0.0, lambda: 0.0).pause(NotYetError(Waiting.THROTTLED, "no", 9.0), 0.0) == 9.0


def test_after_a_calm_while_a_failure_counts_as_the_first() -> None:
    backoff = Backoff(0.0, lambda: 0.0)
    reason = NotYetError(Waiting.SERVER, "no")
    assert [backoff.pause(reason, now) for now in (0.0, 1.0, 2.0, 13.1)] == [0.25, 0.5, 1.0, 0.25]


def test_a_new_kind_of_failure_is_said_at_once_and_a_repeated_one_is_not() -> None:
    hands = Hands()
    for _ in range(5):
        hands.progress.failed(NotYetError(Waiting.FORBIDDEN, "no Role"))
        hands.progress.failed(NotYetError(Waiting.ABSENT, "no Secret"))
    assert hands.lines == [
        "waiting for Secret shop/server-0-cert-3f2a9c41 (0 s): no Role",
        "waiting for Secret shop/server-0-cert-3f2a9c41 (0 s): no Secret",
    ]


def test_after_ten_seconds_it_says_what_to_check() -> None:
    hands = Hands()
    hands.progress.failed(NotYetError(Waiting.ABSENT, "no Secret"))
    hands.time = 10.0
    hands.progress.tick()
    assert hands.lines[1].startswith("waiting for Secret shop/server-0-cert-3f2a9c41 (10 s): no Secret [check: ")
    assert "podcert.io/enroll=true" in hands.lines[1]
    assert "kubectl -n shop describe pod server-0" in hands.lines[1]


def test_there_is_advice_for_everything_that_is_waited_for() -> None:
    hands = Hands()
    for waiting in Waiting:
        hands.progress.failed(NotYetError(waiting, "no"))
        assert len(hands.progress.summary()) > len("no; ") + 20


def test_one_who_has_a_certificate_already_waits_longer_for_a_server_in_trouble() -> None:
    hands = Hands()
    source = Script(hands, failures(Waiting.SERVER, 10), list, 0)
    list(islice(secrets(source, hands.progress, hands.clock, lambda: 30.0), 1))
    assert hands.pauses == [0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0, 30.0]


def test_a_certificate_that_ends_soon_does_not_make_it_wait_less_than_one_who_has_none() -> None:
    hands = Hands()
    source = Script(hands, failures(Waiting.SERVER, 7), list, 0)
    list(islice(secrets(source, hands.progress, hands.clock, lambda: -100.0), 1))
    assert hands.pauses == [0.25, 0.5, 1.0, 2.0, 4.0, 5.0, 5.0]


def test_when_the_files_are_there_each_kind_of_failure_is_said_at_once_and_then_once_a_minute() -> None:
    hands = Hands()
    hands.progress.failed(NotYetError(Waiting.SERVER, "away"))
    hands.progress.settled()
    for _ in range(121):
        hands.progress.failed(NotYetError(Waiting.SERVER, "away"))
        hands.progress.settled()
        hands.time += 1
    hands.progress.failed(NotYetError(Waiting.ABSENT, "gone"))
    following = "following Secret shop/server-0-cert-3f2a9c41; the files stay as they are: "
    assert hands.lines[1:] == [following + "away"] * 3 + [following + "gone"]


def test_each_read_that_brings_no_secret_is_told_to_who_has_something_else_to_show() -> None:
    hands = Hands()
    reads = iter([NotYetError(Waiting.FORBIDDEN, "no"), NotYetError(Waiting.ABSENT, "no"), SECRET])
    missed: list[float] = []
    source = Script(hands, reads, list, 2.0)
    list(islice(secrets(source, hands.progress, hands.clock, missed=lambda: missed.append(hands.time)), 1))
    assert missed == [0.0, 0.05]
