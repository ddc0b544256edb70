"""Fields of Vault's answers, each taken with its type: an answer that lacks one is not Vault's (`NotYet`)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from certmanager.vault import errors
from certmanager.vault.errors import Call


def data_of(body: Mapping[str, Any], call: Call) -> Mapping[str, Any]:
    """The object `data`."""
    data = body.get("data")
    if not isinstance(data, dict):
        raise errors.unreadable(call, "it has no `data`")
    return data


def text(data: Mapping[str, Any], field: str, call: Call) -> str:
    """A text that is not empty."""
    value = data.get(field)
    if not isinstance(value, str) or not value.strip():
        raise errors.unreadable(call, f"`data.{field}` is missing or no text")
    return value


def texts(data: Mapping[str, Any], field: str, call: Call) -> tuple[str, ...]:
    """A list of texts; empty when it is absent."""
    value = data.get(field)
    if value is None:
        return ()
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        raise errors.unreadable(call, f"`data.{field}` is no list of texts")
    return tuple(value)
