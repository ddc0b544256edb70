"""Logs: one JSON object, or one readable line, for each thing that happened; all of them through `redact`.

Set up once by the composition root. Podcert's modules use structlog or the standard library's `logging`; both, and those
of the libraries (urllib3, kubernetes, hvac, apscheduler), end in the same renderer and the same redaction.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import MutableMapping
from enum import StrEnum
from typing import Any, Final, TextIO

import structlog
from structlog.typing import Processor

from certmanager.observe.redact import redact


class LogFormat(StrEnum):
    """`PODCERT_LOG_FORMAT`."""

    JSON = "json"
    CONSOLE = "console"


class LogLevel(StrEnum):
    """`PODCERT_LOG_LEVEL`."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


LIBRARIES: Final = {
    "urllib3": logging.INFO,
    "requests": logging.INFO,
    "hvac": logging.INFO,
    "kubernetes": logging.INFO,
    "client": logging.WARNING,
    "apscheduler": logging.WARNING,
    "asyncio": logging.WARNING,
}
"""The most that a library may say, also at level debug: below it some of them write requests and answers."""


def configure(form: LogFormat, level: LogLevel, stream: TextIO | None = None) -> None:
    """Sets up structlog and the standard library's root logger. May be called again.

    Args:
        form: JSON for machines, console for people.
        level: the least that is written.
        stream: standard error by default.
    """
    target = stream or sys.stderr
    threshold = logging.getLevelNamesMapping()[level.value.upper()]
    before: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    after = _renderer(form)
    structlog.configure(
        processors=[*before, *after],
        wrapper_class=structlog.make_filtering_bound_logger(threshold),
        logger_factory=structlog.WriteLoggerFactory(file=target),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(target)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.add_logger_name, *before],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *after],
        )
    )
    logging.basicConfig(level=threshold, handlers=[handler], force=True)
    logging.captureWarnings(True)
    for name, least in LIBRARIES.items():
        logging.getLogger(name).setLevel(max(least, threshold))


def _renderer(form: LogFormat) -> list[Processor]:
    """From an event to a finished, redacted line."""
    if form is LogFormat.JSON:
        return [
            structlog.processors.format_exc_info,
            structlog.processors.EventRenamer("message"),
            structlog.processors.JSONRenderer(sort_keys=True),
            _redact_line,
        ]
    return [structlog.processors.format_exc_info, structlog.dev.ConsoleRenderer(colors=False), _redact_line]


def _redact_line(_logger: object, _method: str, line: MutableMapping[str, Any] | str) -> str:
    return redact(str(line))
