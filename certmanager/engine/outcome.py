"""What a reconcile says to the worker that ran it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Outcome:
    """A reconcile that did not fail.

    Attributes:
        reason: the decision's reason; the metric's label and the log's field.
        again_in: seconds after which the key has to be looked at again, or None.
    """

    reason: str
    again_in: float | None = None
