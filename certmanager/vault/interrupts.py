"""Ctrl-C, held back while Vault is told, or tells, what must not be left half done.

Used by the commands that people run at a terminal: `podcert ca` between writes that belong together, `podcert vault init` until
the keys, which Vault tells once, are kept.
"""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator


@contextlib.contextmanager
def undisturbed() -> Iterator[None]:
    """Holds SIGINT back until the block is left, and raises `KeyboardInterrupt` then if it came; in the main thread only."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, _frame: came.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if came:
        raise KeyboardInterrupt
