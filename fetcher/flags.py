"""The command line, apart from the settings because argparse costs a start more than all else that is ours.

A pod's manifest sets variables; flags are for a person who tries the fetcher by hand.
"""

import argparse
from collections.abc import Sequence
from typing import Any

from fetcher import reload
from fetcher.errors import SettingsError
from fetcher.options import OPTIONS

_EPILOG = """\
Each flag is also an environment variable, named in brackets; a flag is stronger.

exit status:
  0    the files are there
  1    the time limit is over
  2    a setting is missing or wrong
  3    the files cannot be written into the volume
  4    the application could not be reloaded; the files are there
  70   a defect of the fetcher itself; please report it
  130  interrupted (SIGINT)
  143  asked to stop (SIGTERM); with --refresh that is 0
"""


def parse(arguments: Sequence[str]) -> tuple[dict[str, str], reload.Action | None]:
    """Return the values of the flags that were given, by variable, and the action that they name.

    Exits with 0 for `--help`, 2 if a flag is unknown; raises SettingsError if an action's words are wrong.
    """
    given = vars(_parser().parse_args(arguments))
    if given.pop("check"):
        raise SettingsError("--check is not the first argument; it must be; put it first, with nothing but --directory")
    words = {name: given.pop(name) for name in ("signal", "process", "http", "exec")}
    return {variable: value for variable, value in given.items() if value is not None}, _action(words)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="podcert-fetcher",
        description="Wait for this pod's certificate, verify it and publish it as files.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--check", action="store_true", help="only say, as the exit status, if good files are there")
    for option in OPTIONS:
        default = f"; default {option.default}" if option.default else ""
        text = f"{option.help} [{option.variable}{default}]"
        alone = {"nargs": "?", "const": "true"} if option.default == "false" else {}
        parser.add_argument(option.flag, dest=option.variable, metavar="VALUE", help=text, **alone)  # type: ignore[arg-type]
    group = parser.add_argument_group("after each swap, a sidecar does one of these (flags only)")
    group.add_argument("--signal", metavar="NAME", help=f"send this signal to --process: {', '.join(reload.SIGNALS)}")
    group.add_argument("--process", metavar="PROGRAM", help="the program's name, in a shared process namespace")
    group.add_argument("--http", nargs=2, metavar=("METHOD", "URL"), help="GET or POST a URL of a loopback address")
    group.add_argument("--exec", nargs=argparse.REMAINDER, metavar="PROGRAM", help="run this, with all that follows")
    return parser


def _action(words: dict[str, Any]) -> reload.Action | None:
    signal = words["signal"] is not None or words["process"] is not None
    if signal + (words["http"] is not None) + (words["exec"] is not None) > 1:
        raise SettingsError(
            "more than one of --signal, --http and --exec is given; it must be one; take the others out"
        )
    problem = ""
    try:
        if signal:
            return reload.signal_process(words["signal"] or "", words["process"] or "")
        if words["http"] is not None:
            return reload.call_http(*words["http"])
        return None if words["exec"] is None else reload.run_command(words["exec"])
    except ValueError as error:
        problem = str(error)
    raise SettingsError(problem)
