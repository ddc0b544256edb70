"""Drives a change of the CA from phase to phase: waits until every pod that can follow has followed, then takes the next step.

In the flow: look → *the step that ends the phase, or a pause* → look. The default issuer is switched only when every file has
the new anchor, and the old one is retired only when no pod serves a leaf of it. Nothing is remembered: whoever is interrupted
begins again with a look.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final

from certmanager.ca import vault
from certmanager.ca.look import Eyes, Picture, too_short
from certmanager.ca.terms import NewRoot
from certmanager.ca.text import printable, progress, stuck_lines
from certmanager.domain.ca_change import Issuer, Phase, leaving
from certmanager.domain.ca_pods import Standing
from certmanager.domain.errors import NotYet, Refused
from certmanager.domain.trust import State
from certmanager.vault.bootstrap.api import Admin
from certmanager.vault.bootstrap.step import Write
from certmanager.vault.interrupts import undisturbed

LOOKS: Final = 2
"""In a row that have to say the same: a pod that was on its way during the first one is seen by the second."""

LEAST_PAUSE: Final = 2.0
BUSY: Final = 4.0
"""Pause between two looks, seconds, and at least so many times as long as a look takes: many pods are asked for less often."""

AWAY_PAUSE: Final = 5.0
"""Seconds between two looks while a server is away."""


class Outcome(Enum):
    """How a run ended."""

    DONE = "done"
    STUCK = "stopped"
    TIMEOUT = "timeout"


@dataclass(frozen=True, slots=True)
class Course:
    """What is to be done, and how.

    Attributes:
        to: id or name of the issuer that is to become the default; None: a new root.
        root: makes the new root's terms from the current issuer.
        leave_behind: goes on without the pods that cannot follow.
        timeout: seconds for all of it; None: none.
    """

    root: Callable[[Issuer], NewRoot]
    to: str | None = None
    leave_behind: bool = False
    timeout: float | None = None


@dataclass(frozen=True, slots=True)
class Clock:
    """Monotonic seconds, and a pause."""

    monotonic: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep


class Driver:
    """One run.

    Args:
        admin: Vault, with the administrator's token.
        eyes: how to look.
        course: what is to be done.
        say: told of each step and of progress.
    """

    def __init__(
        self, admin: Admin, eyes: Eyes, course: Course, say: Callable[[str], None], clock: Clock = Clock()
    ) -> None:
        self._admin = admin
        self._eyes = eyes
        self._course = course
        self._say = say
        self._clock = clock
        self._to = course.to
        self._said = ""
        self._named: set[str] = set()

    def run(self) -> tuple[Outcome, Picture]:
        """Begins or goes on, until the change is done or cannot go on.

        Raises:
            NotYet: Vault or the API server is away at the very beginning; later it is waited for.
            Refused: something that only a person can change.
        """
        began = self._clock.monotonic()
        picture = self._eyes.look(self._to)
        if self._idle(picture):
            starting = first_steps(picture, self._course)
            if not starting and self._course.to is not None:
                self._say(f"{self._course.to} is the default issuer already: there is nothing to do")
                return Outcome.DONE, picture
            self._take(picture, starting)
            picture = self._eyes.look(self._to)
        else:
            refuse_another(picture, self._course.to)
            self._say(f"a change of the CA is under way, and goes on: {picture.phase}")
        return self._until_done(picture, began)

    def _idle(self, picture: Picture) -> bool:
        """Nothing is under way; what an earlier change left behind is nothing to wait for."""
        left = picture.phase is Phase.RETIRING and not picture.of(Standing.WAITING) and self._course.leave_behind
        return picture.phase is Phase.SINGLE or left

    def _until_done(self, picture: Picture, began: float) -> tuple[Outcome, Picture]:
        same, last = 0, (picture.phase, False)
        while True:
            self._report(picture)
            blocked = bool(picture.of(Standing.STUCK)) and not self._course.leave_behind
            here = (picture.phase, blocked)
            same, last = (same + 1 if here == last and not picture.of(Standing.WAITING) else 0), here
            if same >= LOOKS and blocked:
                return Outcome.STUCK, picture
            if same >= LOOKS and picture.phase in (Phase.SINGLE, Phase.RETIRING):
                return Outcome.DONE, picture
            if same >= LOOKS:
                self._take(picture, last_steps(picture))
                same = 0
            elif self._over(began):
                return Outcome.TIMEOUT, picture
            found = self._again(began)
            if found is None:
                return Outcome.TIMEOUT, picture
            picture = found

    def _again(self, began: float) -> Picture | None:
        """The next look, after a pause; one that fails because a server is away is no look. None when the time is over."""
        pause = LEAST_PAUSE
        while True:
            self._clock.sleep(pause)
            looked_at = self._clock.monotonic()
            try:
                picture = self._eyes.look(self._to)
            except NotYet as error:
                self._tell(f"{error.message}; it is tried again")
                if self._over(began):
                    return None
                pause = AWAY_PAUSE
            else:
                self._clock.sleep(max(0.0, BUSY * (self._clock.monotonic() - looked_at) - LEAST_PAUSE))
                return picture

    def _over(self, began: float) -> bool:
        return self._course.timeout is not None and self._clock.monotonic() - began > self._course.timeout

    def _take(self, picture: Picture, steps: Sequence[Write]) -> None:
        """Sends writes, none of them before it is known that all may be sent."""
        if picture.problems:
            raise Refused("CannotGoOn", "; ".join(picture.problems))
        self._admin.require(steps)
        with undisturbed():  # between the switch of the default and the close of the old issuer nothing may come
            for step in steps:
                self._say(step.command)
                answer = self._admin.write(step.call, step.payload)
                made = answer.get("data")
                if step.call.path.endswith("root/rotate/internal") and isinstance(made, dict):
                    # From here on it is known which one is the next, whatever pods' owners write on their Secrets.
                    self._to = str(made.get("issuer_id") or "") or self._to

    def _report(self, picture: Picture) -> None:
        self._tell(progress(picture))
        problems = [f"problem: {printable(problem)}" for problem in picture.problems]
        for line in (*problems, *map(stuck_lines, picture.of(Standing.STUCK))):
            if line not in self._named:
                self._named.add(line)
                self._say(line)

    def _tell(self, line: str) -> None:
        if line != self._said:
            self._said = line
            self._say(line)


def first_steps(picture: Picture, course: Course) -> list[Write]:
    """What begins a change; nothing when the wanted issuer is the default. Raises `Refused`."""
    mount, default = picture.authorities.mount, picture.authorities.default
    if course.to is not None:
        return _beginning_with(picture, course.to)
    if default is None or picture.doubts:
        raise Refused("CannotGoOn", "; ".join(picture.problems or picture.doubts))
    if not default.root:
        raise Refused(
            "IntermediateCA",
            f"the default issuer of {mount} ({default.label}) is an intermediate CA, whose successor Vault cannot make alone: "
            "have one signed and imported, then name it by --to (docs/ca.md)",
        )
    root = course.root(default)
    if root.ttl <= picture.lifetime:
        raise Refused(
            "IssuerTooShort",
            f"the new root would live for {root.ttl} s, and pods' certificates live for {picture.lifetime:.0f} s, which Vault "
            "would refuse: give it more by --ttl",
        )
    return [vault.new_root(mount, root)]


def _beginning_with(picture: Picture, reference: str) -> list[Write]:
    wanted, mount = picture.authorities.find(reference), picture.authorities.mount
    if wanted is None:
        names = ", ".join(issuer.label for issuer in picture.authorities.issuers)
        raise Refused("IssuerMissing", f"{mount} has no issuer {reference}; it has {names}: name one of them by --to")
    if not wanted.has_key:
        raise Refused(
            "IssuerMissing", f"{mount} has no key for the issuer {reference}, and cannot sign with it; name another"
        )
    if wanted.default:
        return []
    if not wanted.serves(picture.lifetime, picture.now):
        raise Refused("IssuerTooShort", f"{too_short(wanted, picture.now)}; name another by --to")
    return [vault.set_state(mount, wanted, State.ISSUING)]


def refuse_another(picture: Picture, to: str | None) -> None:
    """Raises `Refused` when a change to another issuer than `to` is under way."""
    wanted, coming = picture.authorities.find(to) if to else None, picture.change.next
    if to is not None and (wanted is None or coming is None or wanted.id != coming.id):
        name = coming.label if coming else "another issuer"
        raise Refused(
            "ChangeUnderWay", f"a change to {name} is under way ({picture.phase}); finish it first, without --to"
        )


def last_steps(picture: Picture) -> list[Write]:
    """What ends the phase: the switch to the new issuer, or the old one's retirement."""
    mount, change = picture.authorities.mount, picture.change
    if picture.phase is Phase.DISTRIBUTING and change.next is not None:
        # In this order: an issuer that is closed while it is the default would refuse every pod.
        return [vault.make_default(mount, change.next), *(_closing(picture, issuer) for issuer in change.old)]
    if picture.phase is Phase.ISSUING:
        return [vault.set_state(mount, issuer, State.RETIRED) for issuer in leaving(picture.authorities, change.old)]
    return []


def undoing_steps(picture: Picture) -> list[Write]:
    """What takes a change back before the switch: the new issuer is retired. Raises `Refused` too late, or too early."""
    if picture.phase is not Phase.DISTRIBUTING or picture.change.next is None:
        state = "no change of the CA is under way" if picture.phase is Phase.SINGLE else f"the phase is {picture.phase}"
        raise Refused("CannotGoBack", f"{state}: only a change that is still distributing its anchor can be taken back")
    mount = picture.authorities.mount
    return [
        vault.set_state(mount, issuer, State.RETIRED) for issuer in leaving(picture.authorities, [picture.change.next])
    ]


def upcoming(picture: Picture, course: Course) -> Iterator[str]:
    """The commands that a run would send next."""
    idle = picture.phase is Phase.SINGLE
    for step in first_steps(picture, course) if idle else last_steps(picture):
        yield step.command


def _closing(picture: Picture, issuer: Issuer) -> Write:
    return vault.set_state(picture.authorities.mount, issuer, State.CLOSING)
