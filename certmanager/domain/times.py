"""Times as Kubernetes and RFC 3339 write them, for the annotations on our Secrets; inside, times are seconds."""

from __future__ import annotations

from datetime import UTC, datetime


def rfc3339(seconds: float) -> str:
    """`2026-11-22T13:25:25Z` for seconds since the epoch (UTC), whole seconds, rounded down."""
    return datetime.fromtimestamp(seconds // 1, tz=UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def parse_rfc3339(text: str) -> float | None:
    """Seconds since the epoch, or None for what is not a time with an offset (RFC 3339 §5.6)."""
    try:
        parsed = datetime.fromisoformat(text)
    except ValueError:
        return None
    return None if parsed.tzinfo is None else parsed.timestamp()
