"""`python -m tests.prove main-job|rotation|identity [--only WORDS]`. Status 0 when every line holds, 1 when one does not."""

from __future__ import annotations

import argparse
import importlib
import sys

from tests.prove.proof import prove

SUBJECTS = {"main-job": "tests.prove.main_job", "rotation": "tests.prove.rotation", "identity": "tests.prove.identity"}


def main() -> int:
    """See the module's docstring."""
    parser = argparse.ArgumentParser(prog="python -m tests.prove", description="What is promised, one line each.")
    parser.add_argument("subject", choices=sorted(SUBJECTS))
    parser.add_argument("--only", default="", metavar="WORDS", help="only lines that contain these words")
    options = parser.parse_args()
    return min(1, prove(importlib.import_module(SUBJECTS[options.subject]).PROOFS, options.only))


if __name__ == "__main__":
    sys.exit(main())
