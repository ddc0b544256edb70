"""One watch's answer: bytes become lines, lines become events, and what goes wrong a domain error.

The innermost of the three layers of `watch`. Nothing is waited for that the socket already has: an event is handed on
the moment its line is complete.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

import urllib3

from certmanager.kube.errors import Target, cause_of, garbage, translate, unreachable

Json = Mapping[str, Any]

MAX_LINE: Final = 16 * 1024 * 1024
"""Bytes of one event; etcd holds objects of 1.5 MiB, so more than this is not an event."""


def lines(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """Cuts chunks into lines; a line that the end of the connection cut is dropped, a watch sends it again.

    Raises `ValueError` when a line is longer than `MAX_LINE`.
    """
    rest = b""
    for chunk in chunks:
        head, *more = chunk.split(b"\n")
        rest += head
        for line in more:
            if rest.strip():
                yield rest
            rest = line
        if len(rest) > MAX_LINE:
            raise ValueError("a line of the watch has no end")


def events(response: urllib3.BaseHTTPResponse, path: str) -> Iterator[tuple[str, Json]]:
    """The events of one watch: `(type, object)`, types ADDED, MODIFIED, DELETED and BOOKMARK.

    Raises:
        Expired: the API server says 410 in the stream.
        NotYet: the connection broke, was silent for too long, or did not carry events.
    """
    target = Target("GET", path)
    for line in lines(_chunks(response, target)):
        try:
            event = json.loads(line)
            kind, item = event["type"], event["object"]
        except (ValueError, TypeError, KeyError):
            raise garbage(target) from None
        if not isinstance(item, dict):
            raise garbage(target)
        if kind == "ERROR":
            code = item.get("code")
            body = json.dumps(item).encode()
            raise translate(target, code if isinstance(code, int) and code >= 400 else 500, {}, body)
        yield kind, item


def _chunks(response: urllib3.BaseHTTPResponse, target: Target) -> Iterator[bytes]:
    """What the socket has, without waiting for more: the API server flushes one chunk per event."""
    try:
        if getattr(response, "chunked", False):
            yield from response.stream(65536)
            return
        while data := response.read1(65536):
            yield data
        return
    except (urllib3.exceptions.HTTPError, OSError, ValueError, AttributeError) as error:
        # ValueError and AttributeError: another thread shut the socket down while this one was about to read it.
        cause = cause_of(error)
    raise unreachable(target, cause)
