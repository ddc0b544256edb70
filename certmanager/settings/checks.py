"""The kinds of settings: how each is read from text, and the rule that it is held to. Fields are declared with these types.

A rule raises ValueError with what the value must be; `reading` puts the variable before it, and the value stays out.
"""

from __future__ import annotations

import re
from typing import Annotated, Final

from pydantic import AfterValidator, BeforeValidator
from pydantic_settings import NoDecode

from certmanager.domain.model import RevokeWhen
from certmanager.domain.names import parse_duration, parse_issuer

_PATH: Final = re.compile(r"[A-Za-z0-9_-]+(/[A-Za-z0-9_-]+)*")
_DOMAIN: Final = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")


def duration(value: object) -> object:
    """Text such as `90s` in seconds, nothing as None."""
    if value in (None, ""):
        return None
    return parse_duration(value) if isinstance(value, str) else value


def _split(value: object, separator: str = ",") -> object:
    if not isinstance(value, str):
        return value
    return tuple(part.strip() for part in value.split(separator) if part.strip())


def _split_windows(value: object) -> object:
    return _split(value, ";")  # a crontab line has commas


def _split_revoked(value: object) -> object:
    return () if value == "none" else _split(value)


def _path(value: str) -> str:
    if not _PATH.fullmatch(value):
        raise ValueError("must be letters, digits, '_' and '-', in parts separated by '/'")
    return value


def _paths(values: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(_path(value) for value in values)  # here, not by the type: one line for the setting, not one for each


def _issuer(value: str | None) -> str | None:
    return parse_issuer(value) if value else None


def _domain(value: str) -> str:
    if not _DOMAIN.fullmatch(value) or len(value) > 200:
        raise ValueError("must be a lower-case DNS domain without a dot at its end, such as cluster.local")
    return value


def _address(value: str) -> str:
    if not re.fullmatch(r"https?://[^\s/]+/?", value):
        raise ValueError("must be http:// or https://, a host and perhaps a port, such as https://vault.vault.svc:8200")
    return value.rstrip("/")


def _listen(value: str) -> str:
    host, colon, port = value.rpartition(":")
    if not colon or not host or not port.isdecimal() or not 0 <= int(port) <= 65535:
        raise ValueError("must be an address and a port, such as 0.0.0.0:8080 or [::]:8080")
    return value


Seconds = Annotated[float, BeforeValidator(duration)]
WholeSeconds = Annotated[int, BeforeValidator(duration)]
MaybeSeconds = Annotated[int | None, BeforeValidator(duration)]
Words = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split)]
Windows = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split_windows)]
Revoked = Annotated[tuple[RevokeWhen, ...], NoDecode, BeforeValidator(_split_revoked)]
VaultPath = Annotated[str, AfterValidator(_path)]
VaultPaths = Annotated[Words, AfterValidator(_paths)]
IssuerName = Annotated[str | None, AfterValidator(_issuer)]
Domain = Annotated[str, AfterValidator(_domain)]
Address = Annotated[str, AfterValidator(_address)]
Listen = Annotated[str, AfterValidator(_listen)]
