"""Looks for secrets in what was logged: written apart from the manager's own redaction, so that neither hides the other's gap.

By shape (PEM private keys, also in base64; tokens of Vault and OpenBao; JWTs), and by value: what a test knows to be secret,
as it is, in base64, and any one line of it.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable
from dataclasses import dataclass

SHAPES: dict[str, re.Pattern[str]] = {
    "private key": re.compile(r"-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY-----"),
    "private key in base64": re.compile(r"LS0tLS1CRUdJTi[A-Za-z0-9+/]{8,}"),
    "token of Vault": re.compile(r"\bhv[sbr]\.[A-Za-z0-9_-]{12,}"),
    "token of OpenBao": re.compile(r"(?<![\w.-])[sbr]\.[A-Za-z0-9]{24,}"),
    "JWT": re.compile(r"\beyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}"),
}
SHORTEST = 24
"""Characters; a shorter piece of a secret may stand in a log by chance."""


@dataclass(frozen=True, order=True)
class Finding:
    """Something secret: its line (from 1) and what it is, never the thing itself."""

    line: int
    kind: str


def pieces(secret: bytes) -> set[str]:
    """The forms in which a secret could stand in a line: whole, in base64, and its single lines."""
    text = secret.decode("ascii", "replace")
    coded = base64.b64encode(secret).decode()
    lines = {line for line in text.splitlines() if not line.startswith("-----")}
    return {piece for piece in {text.strip(), coded, coded[:60], *lines} if len(piece) >= SHORTEST}


def scan(text: str, secrets: Iterable[bytes] = ()) -> list[Finding]:
    """Everything secret in `text`, one finding for each kind and line; `secrets` are known values.

    A PEM block over several lines is one finding, at its first line.
    """
    known = set().union(*(pieces(secret) for secret in secrets))
    found = set()
    for number, line in enumerate(text.splitlines(), 1):
        kinds = {kind for kind, shape in SHAPES.items() if shape.search(line)}
        if not kinds and any(piece in line for piece in known):
            kinds = {"known secret"}
        found |= {Finding(number, kind) for kind in kinds}
    return sorted(found)
