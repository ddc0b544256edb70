"""Maintenance windows: when pods may be replaced although nothing forces it. Cron times by APScheduler's CronTrigger."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from apscheduler.triggers.cron import CronTrigger


@dataclass(frozen=True, slots=True)
class Window:
    """Opens at each time of `trigger` for `seconds`."""

    trigger: CronTrigger
    seconds: float


def parse_window(text: str, seconds: float) -> Window:
    """`text` is a crontab line of five fields, optionally with a time zone behind it: `0 2 * * sat Europe/Berlin`.

    Without a zone it is UTC. Days of the week are best named (`sat`): APScheduler counts them from Monday as 0.

    Raises:
        ValueError: with the rule that is broken.
    """
    fields = text.split()
    if len(fields) not in (5, 6):
        raise ValueError("must be five cron fields (minute hour day month weekday) and perhaps a time zone")
    if any(part.isdecimal() for part in fields[4].replace("-", ",").split(",")):
        raise ValueError(
            "must name its days of the week (mon, tue, …): their numbers mean different days to different programs"
        )
    try:
        zone = ZoneInfo(fields[5]) if len(fields) == 6 else UTC
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(f"{fields[5]!r} is not a time zone such as Europe/Berlin") from None
    try:
        trigger = CronTrigger.from_crontab(" ".join(fields[:5]), timezone=zone)
    except ValueError as error:
        raise ValueError(f"is not a crontab line: {error}") from None
    return Window(trigger, seconds)


def opens_in(windows: Sequence[Window], now: float) -> float:
    """Seconds until one of the windows opens; 0 while one is open, or when there are none."""
    if not windows:
        return 0.0
    waits = []
    for window in windows:
        # The first opening after now less the length is either still open or the next one.
        since = datetime.fromtimestamp(now, UTC) - timedelta(seconds=window.seconds)
        opening = window.trigger.get_next_fire_time(None, since)
        if opening is not None:
            waits.append(max(0.0, opening.timestamp() - now))
    return min(waits, default=86400.0)
