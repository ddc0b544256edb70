"""`podcert status`: how each enrolled pod stands, as a table or as JSON. Changes nothing."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field

from certmanager.commands.cluster import Cluster, told
from certmanager.console import Console, Target, UsageError
from certmanager.domain.errors import PodcertError
from certmanager.domain.pod_status import PodStatus, Warned, statuses
from certmanager.domain.times import rfc3339
from certmanager.kube.kubeconfig import client

Row = Sequence[str]


@dataclass(frozen=True, slots=True)
class Options:
    """As given on the command line; `namespace` None is all of them, no `pods` all pods."""

    pods: tuple[str, ...] = ()
    namespace: str | None = "default"
    output: str = "text"
    target: Target = field(default_factory=Target)


def main(options: Options, console: Console) -> int:
    """Exit status 0; 1 when it cannot be found out, or a named pod is not there; 2 for wrong usage."""
    try:
        if options.pods and options.namespace is None:
            raise UsageError("pods are named in one namespace: leave -A out")
        found = _look(Cluster(client(options.target, console)), options, console)
    except UsageError as error:
        console.err(f"podcert: {error}")
        return 2
    except PodcertError as error:
        console.err(f"podcert: {told(error)}")
        return 1
    missing = [name for name in options.pods if name not in {each.pod for each in found}]
    if options.output == "json":
        console.out(json.dumps({"pods": [as_dict(each) for each in found]}, indent=2))
    elif found:
        console.out(
            "\n".join(table(found, console.now(), wide=options.output == "wide", everywhere=options.namespace is None))
        )
    elif not missing:
        where = "" if options.namespace is None else f" in namespace {options.namespace}"
        console.err(f'podcert: no pod{where} has the label podcert.io/enroll: "true"')
    for name in missing:
        console.err(f"podcert: there is no enrolled pod {name} in namespace {options.namespace}")
    return 1 if missing else 0


def _look(there: Cluster, options: Options, console: Console) -> list[PodStatus]:
    pods = [pod for pod in there.pods(options.namespace) if not options.pods or pod.name in options.pods]
    warnings: dict[str, Warned] = {}
    try:
        warnings = there.warnings(options.namespace)
    except PodcertError as error:
        console.err(f"podcert: Events were not looked at: {told(error)}")
    return statuses(pods, there.secrets(options.namespace), warnings, console.now())


def as_dict(status: PodStatus) -> dict[str, object]:
    """For programs: times in RFC 3339, null where there are none."""
    found: dict[str, object] = asdict(status)
    for name in ("served_until", "renewal_at"):
        seconds = getattr(status, name)
        found[name] = None if seconds is None else rfc3339(seconds)
    return {_camel(name): value for name, value in found.items()}


def table(found: Sequence[PodStatus], now: float, *, wide: bool, everywhere: bool) -> list[str]:
    """Lines in columns, as kubectl prints them."""
    head = ["POD", "STATE", "REASON", "SERVED UNTIL", "RENEWAL", "STRATEGY", "SERIAL"]
    rows = [(["NAMESPACE"] if everywhere else []) + head + (["SECRET", "NAMES"] if wide else [])]
    for each in found:
        row = [each.namespace] if everywhere else []
        serial = each.serial if wide else _short(each.serial)
        row += [
            each.pod,
            each.state,
            each.reason,
            _when(each.served_until),
            _in(each.renewal_at, now),
            f"{each.strategy}, in place" if each.in_place else each.strategy,
            serial,
        ]
        rows.append(row + ([each.secret, ",".join(each.names)] if wide else []))
    cells = [[_shown(cell) for cell in row] for row in rows]
    widths = [max(len(row[column]) for row in cells) for column in range(len(cells[0]))]
    return ["   ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells]


def _shown(text: str) -> str:
    """Printable, or a dash: an annotation's text must not drive somebody's terminal."""
    return "".join(char if char.isprintable() else "?" for char in text) or "-"


def _short(serial: str) -> str:
    return serial if len(serial) <= 11 else f"{serial[:11]}…"


def _when(seconds: float | None) -> str:
    return "" if seconds is None else rfc3339(seconds)


def _in(seconds: float | None, now: float) -> str:
    """`in 7h52m`, `12m ago`."""
    if seconds is None:
        return ""
    left = abs(seconds - now)
    for unit, length, smaller, part in (("d", 86400, "h", 3600), ("h", 3600, "m", 60), ("m", 60, "s", 1)):
        if left >= length:
            text = f"{left // length:.0f}{unit}{left % length // part:.0f}{smaller}"
            break
    else:
        text = f"{left:.0f}s"
    return f"in {text}" if seconds > now else f"{text} ago"


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)
