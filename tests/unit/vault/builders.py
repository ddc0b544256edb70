"""A clock that only tests move, and answers as a server would give them."""

from __future__ import annotations

import json
from typing import Any

from certmanager.vault.errors import Answer


class Clock:
    """Seconds by hand."""

    def __init__(self, now: float = 1000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


def answer(status: int, body: Any = None, headers: dict[str, str] | None = None) -> Answer:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Answer(status, headers or {}, raw)


def refusal(status: int, *errors: str) -> Answer:
    return answer(status, {"errors": list(errors)})
