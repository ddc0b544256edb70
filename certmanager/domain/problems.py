"""What is said about bad input: the field, the value (made safe to show), the rule and what to do.

Everything that reads what a user wrote (`names`, `annotations`, `request`) ends here, so that no message leaves
anything out and no value can break out of an Event or a log line. In the flow: pod → *annotations* → request or
rejection.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

VALUE_LIMIT: Final = 80
"""Characters of a user's value that are shown."""

MESSAGE_LIMIT: Final = 1000
"""Bytes of a whole message: the API server refuses an Event whose note is longer than 1 kB (events.k8s.io/v1)."""

NOT_SHOWN: Final = "(not shown: it looks like a key or a token)"

_SECRET: Final = re.compile(
    r"PRIVATE KEY-----|LS0tLS1CRUdJT|\bhv[sbr]\.[A-Za-z0-9_-]{8}|(?<![\w.-])[sbr]\.[A-Za-z0-9]{24}|\beyJ[\w-]{8,}\.[\w-]{8}"
)
"""PEM, also in base64; tokens of Vault and OpenBao; JWTs. Someone pasted it into the wrong field: it is not passed on."""

CHANGE: Final = "change the annotation"


class RuleError(ValueError):
    """A value breaks a rule. Holds the rule and the remedy, never the value.

    Attributes:
        rule: what a right value is, beginning with "must".
        remedy: what the user does about it, or None for the field's usual remedy.
    """

    def __init__(self, rule: str, remedy: str | None = None) -> None:
        super().__init__(rule)
        self.rule = rule
        self.remedy = remedy


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong with one field.

    Attributes:
        field: where it stands, as the user wrote it: "annotation podcert.io/ttl".
        value: the value as it may be shown (see `shown`), or None when it is not to be repeated.
        rule: what a right value is.
        remedy: what to do.
    """

    field: str
    value: str | None
    rule: str
    remedy: str = CHANGE

    def __str__(self) -> str:
        value = "" if self.value is None else f'="{self.value}"'
        return f"{self.field}{value}: {self.rule}; {self.remedy}"


def shown(value: str) -> str:
    """`value` cut to 80 characters, with everything escaped that is not printable or could end the quotation.

    Invisible and direction-changing characters (Unicode categories Cc, Cf, Zl …) count as not printable. A value that
    looks like a key or a token is not shown at all.
    """
    if _SECRET.search(value):
        return NOT_SHOWN
    room, pieces = VALUE_LIMIT, []
    for character in value[: VALUE_LIMIT + 1]:
        piece = character if character.isprintable() and character not in '"\\' else _escaped(character)
        room -= len(piece)
        pieces.append(piece)
        if room < 0:
            break
    if room >= 0:
        return "".join(pieces)
    while room < 1:  # one character more for the sign that something is left out
        room += len(pieces.pop())
    return "".join(pieces) + "…"


def _escaped(character: str) -> str:
    if character in '"\\':
        return "\\" + character
    return character.encode("unicode_escape", "backslashreplace").decode("ascii")


def joined(problems: Sequence[Problem]) -> str:
    """All problems in one message of at most 1,000 bytes; what does not fit is counted."""
    texts = [str(problem) for problem in problems]
    whole = " | ".join(texts)
    if len(whole.encode("utf-8", "replace")) <= MESSAGE_LIMIT:
        return whole
    kept: list[str] = []
    for text in texts:
        left = len(texts) - len(kept) - 1
        if len(" | ".join([*kept, text, f"and {left} more problems"]).encode("utf-8", "replace")) > MESSAGE_LIMIT:
            break
        kept.append(text)
    if not kept:
        return cut(texts[0])
    return " | ".join([*kept, f"and {len(texts) - len(kept)} more problems"])


def cut(message: str) -> str:
    """`message` in at most 1,000 bytes, never within a character."""
    data = message.encode("utf-8", "replace")
    if len(data) <= MESSAGE_LIMIT:
        return message
    return data[: MESSAGE_LIMIT - len("…".encode())].decode("utf-8", "ignore") + "…"


def listed(names: Sequence[str], limit: int = 5) -> str:
    """The first few names with commas, and how many more there are."""
    text = ", ".join(shown(name) for name in names[:limit])
    return text if len(names) <= limit else f"{text} and {len(names) - limit} more"
