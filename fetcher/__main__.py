"""`python -m fetcher` is the same as `podcert-fetcher`."""

import sys

from fetcher.cli import main

if __name__ == "__main__":
    sys.exit(main())
