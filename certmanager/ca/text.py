"""A picture of a change of the CA as text for people and as JSON for programs. Names come from others, and are shown escaped."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

from certmanager.ca.look import Picture
from certmanager.domain.ca_change import MEANING, Issuer
from certmanager.domain.ca_pods import Standing, Verdict, counts
from certmanager.domain.problems import listed, shown
from certmanager.domain.times import rfc3339

_LISTED: Final = 20
"""Pods of a kind that are listed one by one; JSON has all."""

_DIGITS: Final = 12
"""Of a fingerprint, enough to tell CAs apart."""


def as_text(picture: Picture) -> str:
    """Several lines, the last one not ended."""
    return "\n".join(_lines(picture))


def _lines(picture: Picture) -> Iterator[str]:
    header = ("ISSUER", "STATE", "DEFAULT", "ENDS", "SHA-256", "SUBJECT")
    yield from table([header, *(_row(issuer) for issuer in picture.authorities.issuers)])
    yield ""
    yield f"phase: {picture.phase} ({MEANING[picture.phase]})"
    for problem in picture.problems:
        yield f"problem: {printable(problem)}"
    for doubt in picture.doubts:
        yield f"in doubt: {printable(doubt)}"
    yield f"pods: {_counted(picture)}"
    for standing in (Standing.WAITING, Standing.STUCK, Standing.ENDED):
        found = picture.of(standing)
        if found:
            yield f"{standing}:"
        for verdict in found[:_LISTED]:
            yield f"  {stuck_lines(verdict) if standing is Standing.STUCK else _plain(verdict)}"
        if len(found) > _LISTED:
            yield f"  and {len(found) - _LISTED} more (-o json lists all)"
    for note in picture.notes:
        yield f"note: {printable(note)}"


def _row(issuer: Issuer) -> tuple[str, ...]:
    state = str(issuer.state) if issuer.has_key else f"{issuer.state}, no key"
    default = "yes" if issuer.default else ""
    return (
        shown(issuer.label),
        state,
        default,
        rfc3339(issuer.not_after),
        issuer.fingerprint[:_DIGITS],
        shown(issuer.subject),
    )


def progress(picture: Picture) -> str:
    """One line of where it stands."""
    line = f"{picture.phase}: {_counted(picture)}"
    waiting = picture.of(Standing.WAITING)
    return f"{line}; waiting for {listed([_name(verdict) for verdict in waiting], 3)}" if waiting else line


def _counted(picture: Picture) -> str:
    numbers = counts(picture.verdicts)
    parts = [f"{len(picture.verdicts)} with a certificate"]
    parts += [f"{number} {standing}" for standing, number in numbers.items() if number]
    if picture.without:
        parts.append(f"{len(picture.without)} without a certificate yet")
    return ", ".join(parts)


def stuck_lines(verdict: Verdict) -> str:
    """A pod that cannot follow: why, and what to do."""
    return f"{_plain(verdict)}; {printable(verdict.remedy)}"


def _plain(verdict: Verdict) -> str:
    return f"{_name(verdict)} ({shown(verdict.workload)}, {verdict.strategy}): {printable(verdict.why)}"


def _name(verdict: Verdict) -> str:
    return f"{shown(verdict.namespace)}/{shown(verdict.pod)}"


def as_dict(picture: Picture) -> dict[str, Any]:
    """For `json.dumps`: times in RFC 3339."""
    return {
        "mount": picture.authorities.mount,
        "phase": str(picture.phase),
        "next": picture.change.next.id if picture.change.next else None,
        "issuers": [_issuer(issuer) for issuer in picture.authorities.issuers],
        "counts": {str(standing): number for standing, number in counts(picture.verdicts).items()},
        "pods": [_verdict(verdict) for verdict in picture.verdicts if verdict.standing is not Standing.FOLLOWED],
        "withoutCertificate": list(picture.without),
        "problems": list(picture.problems),
        "doubts": list(picture.doubts),
        "notes": list(picture.notes),
    }


def _issuer(issuer: Issuer) -> dict[str, Any]:
    return {
        "id": issuer.id,
        "name": issuer.name,
        "subject": issuer.subject,
        "notBefore": rfc3339(issuer.not_before),
        "notAfter": rfc3339(issuer.not_after),
        "state": str(issuer.state),
        "default": issuer.default,
        "key": issuer.has_key,
        "fingerprint": issuer.fingerprint,
        "anchors": sorted(issuer.anchors),
    }


def _verdict(verdict: Verdict) -> dict[str, Any]:
    return {
        "namespace": verdict.namespace,
        "pod": verdict.pod,
        "workload": verdict.workload,
        "strategy": verdict.strategy,
        "standing": str(verdict.standing),
        "why": verdict.why,
        "remedy": verdict.remedy or None,
    }


def printable(text: str) -> str:
    """Nothing in it moves the cursor or turns the line round."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode("ascii") for char in text)


def table(rows: Sequence[tuple[str, ...]]) -> Iterator[str]:
    """Columns wide enough for what is in them."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
