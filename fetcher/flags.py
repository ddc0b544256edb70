"""The command line, apart from the settings because argparse costs a start more than all else that is ours.

A pod's manifest sets variables; flags are for a person who tries the fetcher by hand.
"""

import argparse
from collections.abc import Sequence

from fetcher.settings import OPTIONS

_EPILOG = """\
Each flag is also an environment variable, named in brackets; a flag is stronger.

exit status:
  0    the files are there
  1    the time limit is over
  2    a setting is missing or wrong
  3    the files cannot be written into the volume
  70   a defect of the fetcher itself; please report it
  130  interrupted (SIGINT)
  143  asked to stop (SIGTERM)
"""


def parse(arguments: Sequence[str]) -> dict[str, str]:
    """Return the values of the flags that were given, by variable; exits with 0 for `--help`, 2 if one is wrong."""
    parser = argparse.ArgumentParser(
        prog="podcert-fetcher",
        description="Wait for this pod's certificate, verify it and publish it as files.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    for option in OPTIONS:
        default = f"; default {option.default}" if option.default else ""
        text = f"{option.help} [{option.variable}{default}]"
        parser.add_argument(option.flag, dest=option.variable, metavar="VALUE", help=text)
    return {variable: value for variable, value in vars(parser.parse_args(arguments)).items() if value is not None}
