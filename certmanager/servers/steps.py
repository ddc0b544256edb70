"""What `init` and `unseal` do, round after round, until all servers are where they should be or the time is over.

In the flow: `command` → *steps* → reach, keys, vault.seal. Run again, they do only what is left to do.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from certmanager.domain.errors import NotYet, PodcertError, Refused
from certmanager.servers.keys import KeyStore
from certmanager.servers.reach import Reach, Seen, look
from certmanager.vault import seal
from certmanager.vault.interrupts import undisturbed
from certmanager.vault.seal import Keys, State

ROUND_SECONDS = 0.5
JOIN_SECONDS = 10.0
"""How long a server that was shown all keys may take to join the others before they are shown again."""

Tell = Callable[[str], None]


@dataclass(slots=True)
class Pace:
    """A time limit, and the clock it is measured by; `tell` hears of each server's news once."""

    seconds: float
    tell: Tell
    monotonic: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    _said: dict[str, str] = field(default_factory=dict)
    _began: float | None = None

    def next(self, missing: str) -> None:
        """Waits for the next round. Raises `NotYet` with what is missing when the time is over."""
        now = self.monotonic()
        if self._began is None:
            self._began = now
        if now - self._began >= self.seconds:
            raise NotYet("VaultNotReady", f"not within {self.seconds:g} s: {missing}")
        self.sleep(ROUND_SECONDS)

    def news(self, name: str, text: str) -> None:
        """Tells of a server what has not been told of it last."""
        if self._said.get(name) != text:
            self._said[name] = text
            self.tell(f"{name}  {text}")


@dataclass(frozen=True, slots=True)
class Initialised:
    """How `initialise` ended: the server, and whether it had been initialised before."""

    server: str
    already: bool


def initialise(reach: Reach, store: KeyStore, numbers: tuple[int, int], pace: Pace) -> Initialised:
    """Initialises the first server, unless one of them is initialised already.

    All servers have to answer: one that does not could be the one that has the data.

    Args:
        store: where the keys go.
        numbers: shares, and how many of them unseal.
    """
    seen = _all(reach, pace)
    there = next((each for each in seen if each.state is not State.UNINITIALISED), None)
    if there is not None:
        pace.news(there.server.name, "is initialised already")
        return Initialised(there.server.name, already=True)
    with undisturbed():  # who lost patience here would lose the keys
        _initialise(seen[0], store, numbers, pace)
    return Initialised(seen[0].server.name, already=False)


def _initialise(first: Seen, store: KeyStore, numbers: tuple[int, int], pace: Pace) -> None:
    store.reserve()
    try:
        keys = seal.initialise(first.server.transport, *numbers, automatic=first.status.automatic)
    except PodcertError as error:
        store.release()
        if isinstance(error, NotYet) and error.reason in {"VaultUnreachable", "VaultAnswerUnreadable"}:
            raise NotYet(error.reason, f"{error.message}. {_LOST}") from None
        raise
    _put(store, keys, pace)
    pace.news(first.server.name, f"initialised: {_count(keys, numbers)}")


_LOST = (
    "If the server is initialised now, nobody has its keys: delete its StatefulSet and its volumes (PersistentVolumeClaims), "
    "apply them again, and run this again"
)


def unseal(reach: Reach, keys: Keys, pace: Pace) -> list[Seen]:
    """Unseals every server and waits until one is active and the others stand by; returns them.

    Raises:
        NotYet: not within the time; says which server lacks what.
        Refused: the keys are another Vault's, or none of the servers is initialised.
    """
    shown: dict[str, float] = {}
    while True:
        seen, wanted = _round(reach, pace)
        if len(seen) >= wanted and all(each.state.unsealed for each in seen):
            if _all_vote(seen, keys, pace):
                return seen
            pace.next("not all servers have a vote yet; they are unsealed, and Vault works")
            continue
        answered = [each for each in seen if each.state is not State.UNREACHABLE]
        if len(answered) >= wanted and all(each.state is State.UNINITIALISED for each in answered):
            raise Refused("VaultUninitialised", "no server is initialised: run `podcert vault init` first")
        for each in seen:
            _show(each, keys, pace, shown)
        pace.next(_missing(seen, wanted))


def _all_vote(seen: Sequence[Seen], keys: Keys, pace: Pace) -> bool:
    """Whether Vault does without as many servers as it should; asked with the root token, while that lives."""
    active = next((each.server for each in seen if each.state is State.ACTIVE), None)
    if len(seen) < 2 or active is None or not keys.root_token:
        return True
    try:
        tolerance = seal.failure_tolerance(active.transport, keys.root_token)
    except NotYet:
        return False
    if tolerance is not None:
        pace.news(f"{len(seen)} servers", f"{tolerance} may be away")
    return tolerance is None or tolerance >= (len(seen) - 1) // 2


def _show(seen: Seen, keys: Keys, pace: Pace, shown: dict[str, float]) -> None:
    """Shows a sealed server the keys; one that has seen them joins the others, which takes it seconds."""
    name, now = seen.server.name, pace.monotonic()
    if seen.state is not State.SEALED or seen.status.automatic:
        shown.pop(name, None)
        return
    if name in shown and now - shown[name] < JOIN_SECONDS:
        return
    shown[name] = now
    for share in keys.shares:
        try:
            if seal.unseal(seen.server.transport, share):
                return
        except NotYet:
            return  # the next round sees what has become of it


def _all(reach: Reach, pace: Pace) -> list[Seen]:
    """Waits until all servers answer."""
    while True:
        seen, wanted = _round(reach, pace)
        if len(seen) >= wanted and all(each.state is not State.UNREACHABLE for each in seen):
            return seen
        pace.next(_missing(seen, wanted))


def _round(reach: Reach, pace: Pace) -> tuple[list[Seen], int]:
    seen, wanted = look(reach.servers()), reach.wanted()
    for each in seen:
        pace.news(each.server.name, described(each))
    return seen, wanted


def described(seen: Seen) -> str:
    """A server's state in words."""
    text = seen.state.value
    if seen.state is State.SEALED and seen.status.automatic:
        return f"{text}, to be unsealed by its key service"
    if seen.state is State.SEALED and seen.status.progress:
        return f"{text}, {seen.status.progress} of {seen.status.threshold} keys shown"
    return f"{text}: {seen.problem}" if seen.problem else text


def _missing(seen: Sequence[Seen], wanted: int) -> str:
    if not seen:
        return "no server runs yet; is one installed there (`kubectl apply -k manifests/vault/base`), and its volume bound?"
    lacking = [f"{each.server.name}: {described(each)}" for each in seen if not each.state.unsealed]
    if len(seen) < wanted:
        lacking.append(f"{len(seen)} of {wanted} servers run")
    return "; ".join(lacking)


def _put(store: KeyStore, keys: Keys, pace: Pace) -> None:
    """Keeps the keys; a place that is away for a moment is asked again, for they are told once."""
    while True:
        try:
            store.put(keys)
        except NotYet as error:
            pace.news("keys", f"cannot be kept yet: {error.message}")
            pace.next(f"the keys could not be kept, and are lost: {error.message}. {_LOST}")
        else:
            return


def _count(keys: Keys, numbers: tuple[int, int]) -> str:
    shares, threshold = numbers
    kind = "recovery key" if keys.recovery else "key"
    return f"{shares} {kind}{'' if shares == 1 else 's'}, {threshold} needed"
