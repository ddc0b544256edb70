"""A change of the CA, driven through a mount and pods that are made of plain data: in whatever order pods follow, and wherever
the command is interrupted, no two pods ever refuse each other."""

from __future__ import annotations

import signal
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from certmanager.ca.drive import Clock, Course, Driver, Outcome
from certmanager.ca.look import Picture
from certmanager.ca.terms import NewRoot
from certmanager.domain.ca_change import Authorities, Issuer, Phase, change_of
from certmanager.domain.ca_pods import Standing, Verdict
from certmanager.domain.errors import NotYet, Refused
from certmanager.domain.trust import State, state_of
from certmanager.vault.bootstrap.step import Write
from certmanager.vault.interrupts import undisturbed

NOW, LIFETIME = 1e6, 600.0
LOOKS = 400
"""After so many a run that does not end has failed."""


class Interrupted(Exception):
    """Ctrl-C."""


@dataclass
class Pod:
    """Its anchors and its leaf's issuer; `follows` is False for one that nothing replaces."""

    anchors: frozenset[str]
    issuer: str
    follows: bool = True


@dataclass
class World:
    """Vault and the cluster. Every look lets one pod follow, as the manager would have it: the next of `order`."""

    order: list[int]
    pods: list[Pod]
    issuers: list[Issuer] = field(default_factory=lambda: [issuer("1", State.ISSUING, default=True)])
    interruptions: list[int] = field(default_factory=list)
    away: set[int] = field(default_factory=set)
    looks: int = 0
    broken: list[str] = field(default_factory=list)

    @property
    def authorities(self) -> Authorities:
        return Authorities("pki", tuple(self.issuers))

    # What the driver takes for its eyes

    def look(self, to: str | None = None) -> Picture:
        self.looks += 1
        assert self.looks < LOOKS, "it does not end"
        if self.looks in self.away:
            raise NotYet("Away", "the API server is away")
        if self.interruptions and self.looks >= self.interruptions[0]:
            self.interruptions.pop(0)
            raise Interrupted
        self.follow()
        change = change_of(self.authorities, {pod.issuer for pod in self.pods}, to)
        verdicts = []
        for number, pod in enumerate(self.pods):
            reached = change.goal.reached(pod.anchors, pod.issuer)
            standing = Standing.FOLLOWED if reached else Standing.WAITING if pod.follows else Standing.STUCK
            verdicts.append(Verdict("a", f"p{number}", "w", "restart", standing, "why", "remedy"))
        behind = any(verdict.standing is not Standing.FOLLOWED for verdict in verdicts)
        phase = Phase.RETIRING if change.phase is Phase.SINGLE and behind else change.phase
        return Picture(self.authorities, change, phase, tuple(verdicts), now=NOW, lifetime=LIFETIME)

    def follow(self) -> None:
        """The manager does what is due for one pod."""
        trusted = self.authorities.trusted
        closing = {one.fingerprint for one in self.issuers if one.state is not State.ISSUING}
        default = self.authorities.default
        assert default is not None
        number = self.order[self.looks % len(self.order)] if self.order else 0
        for at in range(len(self.pods)):
            pod = self.pods[(number + at) % len(self.pods)]
            if pod.follows and (pod.anchors != trusted or pod.issuer in closing):
                assert default.state is State.ISSUING, "the default issuer is closed: every pod is refused"
                pod.anchors, pod.issuer = trusted, default.fingerprint
                break
        self.judge()

    def judge(self) -> None:
        """No pod that follows refuses another one of them."""
        able = [pod for pod in self.pods if pod.follows]
        self.broken += [f"look {self.looks}" for one in able for two in able if one.issuer not in two.anchors]

    # What it takes for Vault

    def require(self, writes: Iterable[Write]) -> None:
        pass

    def write(self, call: object, payload: dict[str, str]) -> dict[str, object]:
        path, made = str(call).partition(" ")[2], str(len(self.issuers) + 1)
        if path.endswith("root/rotate/internal"):
            self.issuers.append(issuer(made, State.ISSUING))
        elif path.endswith("config/issuers"):
            self.issuers = [replace(one, default=one.id == payload["default"]) for one in self.issuers]
        else:
            state = state_of(payload["usage"].split(","))
            self.issuers = [
                replace(one, state=state) if one.id == path.rpartition("/")[2] else one for one in self.issuers
            ]
        default = self.authorities.default
        assert default is not None
        assert default.state is State.ISSUING, "the default issuer is closed: every pod is refused"
        return {"data": {"issuer_id": made}}


def issuer(number: str, state: State, *, default: bool = False) -> Issuer:
    prints = frozenset({number})
    return Issuer(number, "", "CN=root", float(number), 1e9, state, number, prints, prints, default=default)


def pods(count: int, stuck: int = 0) -> list[Pod]:
    return [Pod(frozenset({"1"}), "1", follows=at >= stuck) for at in range(count)]


def drive(world: World, said: list[str] | None = None, **course: object) -> Outcome:
    """Runs, and runs again when it is interrupted, as a person would."""
    ticks = iter(range(10**6))
    clock = Clock(lambda: float(next(ticks)), lambda _seconds: None)
    terms = Course(**{"root": lambda _current: NewRoot("root", "ec-256", 3600), **course})  # type: ignore[arg-type]
    while True:
        lines: list[str] = [] if said is None else said
        try:
            return Driver(world, world, terms, lines.append, clock).run()[0]  # type: ignore[arg-type]
        except Interrupted:
            continue


@given(
    st.integers(0, 6),
    st.lists(st.integers(0, 5), max_size=20),
    st.lists(st.integers(2, 40), max_size=4, unique=True).map(sorted),
    st.sets(st.integers(2, 40), max_size=5),
)
def test_no_two_pods_ever_refuse_each_other(count: int, order: list[int], stops: list[int], away: set[int]) -> None:
    # A run that begins with an interruption or an outage has done nothing yet, and would be begun anew.
    world = World(order, pods(count), interruptions=stops, away=away)
    for _attempt in range(10):
        try:
            outcome = drive(world)
        except NotYet:
            continue
        assert outcome is Outcome.DONE
        break
    assert world.broken == []
    default = world.authorities.default
    assert default is not None
    assert default.id != "1"
    assert world.issuers[0].state is State.RETIRED
    assert {(pod.anchors, pod.issuer) for pod in world.pods} <= {(default.anchors, default.fingerprint)}


def test_it_stops_before_the_switch_at_those_who_cannot_follow_and_names_them_once() -> None:
    world, said = World([0], pods(4, stuck=1)), list[str]()
    assert drive(world, said) is Outcome.STUCK
    assert world.authorities.default == world.issuers[0]
    assert len([line for line in said if line.startswith("a/p0")]) == 1
    assert drive(world, leave_behind=True) is Outcome.DONE
    assert world.issuers[0].state is State.RETIRED
    assert world.broken == []


def test_what_was_left_behind_once_does_not_hold_the_next_change_up() -> None:
    world = World([0], pods(3, stuck=1))
    assert drive(world, leave_behind=True) is Outcome.DONE
    assert drive(world) is Outcome.STUCK, "it is named again, and nothing is begun"
    assert len(world.issuers) == 2
    assert drive(world, leave_behind=True) is Outcome.DONE
    assert [one.state for one in world.issuers] == [State.RETIRED, State.RETIRED, State.ISSUING]


def test_a_default_that_was_switched_by_hand_is_asked_about_before_anything_is_done() -> None:
    world = World([0], pods(3), issuers=[issuer("1", State.ISSUING), issuer("2", State.ISSUING, default=True)])
    for pod in world.pods:
        pod.anchors = frozenset({"1", "2"})
    with pytest.raises(Refused, match="vault patch pki/issuer/1 usage=read-only,crl-signing,ocsp-signing"):
        drive(world)
    world.issuers[0] = replace(world.issuers[0], state=State.CLOSING)
    assert drive(world) is Outcome.DONE
    assert (len(world.issuers), world.issuers[0].state) == (2, State.RETIRED)


def test_a_secret_that_claims_to_be_of_the_new_issuer_already_holds_nothing_up() -> None:
    liar = Pod(frozenset({"1"}), "2", follows=False)
    world = World([0], [*pods(2), liar])
    assert drive(world, leave_behind=True) is Outcome.DONE
    assert (len(world.issuers), world.issuers[0].state) == (2, State.RETIRED)


def test_ctrl_c_waits_for_writes_that_belong_together() -> None:
    done = []

    def two_writes() -> None:
        with undisturbed():
            signal.raise_signal(signal.SIGINT)
            done.append("close")

    with pytest.raises(KeyboardInterrupt):
        two_writes()
    assert done == ["close"]


def test_a_pod_that_never_comes_is_waited_for_until_the_time_is_over() -> None:
    world = World([0], pods(2))
    world.follow = lambda: None  # type: ignore[method-assign]
    said: list[str] = []
    assert drive(world, said, timeout=20.0) is Outcome.TIMEOUT
    assert "waiting for a/p0, a/p1" in said[-1]
    assert world.authorities.default == world.issuers[0]


def test_a_server_that_is_away_for_a_while_is_waited_for_and_that_is_said_once() -> None:
    world, said = World([0], pods(3), away={4, 5, 6}), list[str]()
    assert drive(world, said) is Outcome.DONE
    assert said.count("the API server is away; it is tried again") == 1


def test_a_server_that_stays_away_ends_the_run_when_its_time_is_over() -> None:
    world = World([0], pods(2), away=set(range(4, LOOKS)))
    assert drive(world, timeout=30.0) is Outcome.TIMEOUT


def test_a_look_that_failed_is_no_second_look() -> None:
    world = World([0], [], away={3})
    said: list[str] = []
    world.follow = lambda: said.append(f"look {world.looks}")  # type: ignore[method-assign]
    assert drive(world, said) is Outcome.DONE
    switched = next(at for at, line in enumerate(said) if "config/issuers" in line)
    assert sum(line.startswith("look") for line in said[:switched]) == 3, "one to begin, and two of the new issuer"


def test_another_change_is_not_begun_while_one_is_under_way() -> None:
    world = World([0], pods(1), issuers=[issuer("1", State.CLOSING), issuer("2", State.ISSUING, default=True)])
    with pytest.raises(Refused, match="a change to 2 is under way"):
        drive(world, to="1")


def test_no_issuer_that_has_ended_takes_over() -> None:
    ended = replace(issuer("2", State.ISSUING), not_after=NOW)
    world = World([0], pods(2), issuers=[issuer("1", State.ISSUING, default=True), ended])
    said: list[str] = []
    with pytest.raises(Refused, match=r"issuer 2 ended at 1970-01-12T13:46:40Z.*podcert ca abort"):
        drive(world, said)
    assert "problem: the issuer 2 ended" in "\n".join(said)
    assert world.authorities.default == world.issuers[0]
    world.issuers[1], world.pods = replace(ended, state=State.RETIRED), []
    with pytest.raises(Refused, match="name another by --to"):
        drive(world, to="2")
    assert world.issuers[1].state is State.RETIRED


def test_a_root_that_ends_before_the_certificates_that_it_would_make_is_not_made_and_does_not_take_over() -> None:
    short = replace(issuer("2", State.ISSUING), not_after=NOW + LIFETIME)
    world = World([0], pods(2), issuers=[issuer("1", State.ISSUING, default=True), short])
    with pytest.raises(Refused, match="before certificates that it would make"):
        drive(world)
    assert world.authorities.default == world.issuers[0]
    world.issuers[1] = replace(short, strict=False)
    assert drive(world) is Outcome.DONE, "Vault makes them shorter"
    world = World([0], pods(2))
    with pytest.raises(Refused, match="give it more by --ttl"):
        drive(world, root=lambda _current: NewRoot("root", "ec-256", int(LIFETIME)))
    assert len(world.issuers) == 1


def test_a_default_issuer_that_may_not_issue_is_told_instead_of_waiting_for_what_it_would_make() -> None:
    closed = replace(issuer("1", State.RETIRED), default=True)
    with pytest.raises(Refused, match=r"the default issuer 1 may not issue.* vault patch pki/issuer/1 usage="):
        drive(World([0], [], issuers=[closed]))
    world = World([0], pods(1), issuers=[replace(closed, state=State.CLOSING), issuer("2", State.ISSUING)])
    world.follow = lambda: None  # type: ignore[method-assign]
    said: list[str] = []
    assert drive(world, said, timeout=5.0) is Outcome.TIMEOUT
    assert len([line for line in said if line.startswith("problem: the default issuer 1 may not issue")]) == 1


def test_an_intermediate_has_no_successor_that_vault_could_make_alone() -> None:
    below = replace(issuer("1", State.ISSUING, default=True), anchors=frozenset({"root"}))
    with pytest.raises(Refused, match="is an intermediate CA"):
        drive(World([0], [], issuers=[below]))
