"""Takes secrets out of a text: the choke point that every line of the log goes through, as its last step.

Works on the finished line, whatever it came from: a message, a field, a nested value, a traceback, another library. So it
need not know where a secret can hide, only what one looks like. Too much is replaced rather than too little.
"""

from __future__ import annotations

import re
from typing import Final

MARK: Final = "[redacted]"

_PEM: Final = (
    r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY-----(?:(?!-----END)(?:\\{1,8}[nrt]|[^\"\\]))*"
    r"(?:-----END [A-Z0-9 ]{0,40}-----)?"
)
_PEM_BASE64: Final = r"LS0tLS1CRUdJT(?:[A-Za-z0-9+/=_-]|\\{1,8}n(?=[A-Za-z0-9+/=]{8})|\r?\n(?=[A-Za-z0-9+/=]{40}))*"
"""`-----BEGIN` in base64, as in a Secret's `data`: its first 13 characters do not depend on what follows."""
_JWT: Final = r"eyJ[A-Za-z0-9_-]{4,}\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*"
_VAULT: Final = r"hv[sbr]\.[A-Za-z0-9_.-]{8,}"
"""Vault's tokens: service, batch, recovery."""

_MARKED: Final = re.compile("|".join((_PEM, _PEM_BASE64, _JWT, _VAULT)))
_MARKS: Final = ("-----BEGIN", "LS0tLS1CRUdJT", "eyJ", "hvs.", "hvb.", "hvr.")
"""One of these is in everything that `_MARKED` finds; looking for them first makes an ordinary line five times cheaper."""
_SHORT: Final = re.compile(r"(?<![A-Za-z0-9_.-])[sbr]\.[A-Za-z0-9]{20,}(?:\.[A-Za-z0-9]+)?")
"""Tokens of OpenBao, and of Vault before 1.10."""
_NAMES: Final = ("authorization", "x-vault-token")
_HEADER: Final = re.compile(
    r"""(?P<name>authorization|x-vault-token)(?P<gap>[\\"']{0,4}\s{0,4}[:=,]\s{0,4}(?:b(?=[\\"']))?[\\"']{0,4})"""
    r"""(?P<value>(?:(?:bearer|basic)\s+)?[^\s"'\\,;}\])]+)""",
    re.IGNORECASE,
)


def redact(text: str) -> str:
    """The text with every private key, token and credential header replaced by `[redacted]`.

    A JSON line stays JSON: nothing that is replaced holds an unescaped quotation mark.
    """
    if any(mark in text for mark in _MARKS):
        text = _MARKED.sub(MARK, text)
    text = _SHORT.sub(MARK, text)
    lower = text.lower()
    if any(name in lower for name in _NAMES):
        text = _HEADER.sub(rf"\g<name>\g<gap>{MARK}", text)
    return text
