"""`python -m fetcher` is the same as `podcert-fetcher`, and ends on SIGTERM from its very first moment.

A container's first process has no default action for a signal: without a handler the kernel drops it, and the kubelet
would wait out the whole grace period. So the handler comes before the imports, which take most of a start.
"""

import os
import signal
import sys
from typing import NoReturn


def _end(_signal: int, _frame: object) -> NoReturn:
    os._exit(143)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, _end)
    from fetcher.cli import main

    sys.exit(main())
