"""Bootstrap's texts: how values compare, how they are shown, quoted for a shell and read by the CLI, and a dry run's script."""

from __future__ import annotations

import shlex
import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from certmanager.vault.bootstrap import (
    Result,
    Status,
    command,
    commands,
)
from certmanager.vault.bootstrap.compare import Difference, Value, differences, same, shown
from certmanager.vault.bootstrap.options import Duration
from certmanager.vault.bootstrap.step import payload

DAY = Duration(86400)


@pytest.mark.parametrize(
    ("wanted", "found", "expected"),
    [
        (DAY, 86400, True),
        (DAY, "24h", True),
        (DAY, "86400", True),
        (DAY, 3600, False),
        (DAY, True, False),
        (DAY, None, False),
        (DAY, "soon", False),
        (Duration(0), None, True),
        (("a", "b"), ["b", "a"], True),
        (("a", "b"), "b, a", True),
        (("a",), ["a", "b"], False),
        (("a",), None, False),
        ((), None, True),
        ((), "", True),
        ((), [], True),
        (True, True, True),
        (True, "true", True),
        (True, 1, False),
        (True, None, False),
        (False, None, True),
        (False, "false", True),
        (False, True, False),
        (256, 256, True),
        (256, "256", True),
        (256, None, False),
        ("ec", "ec", True),
        ("ec", "rsa", False),
        ("", None, True),
        ("pem", "pem\n", True),
        ("ec", ["ec"], False),
    ],
)
def test_values_are_the_same_when_vault_acts_the_same_by_them(wanted: Value, found: object, expected: bool) -> None:
    assert same(wanted, found) is expected


def test_only_wanted_fields_are_compared_and_both_values_are_told() -> None:
    found = {"ttl": 3600, "organization": ["acme"], "require_cn": False}
    assert differences({"ttl": DAY, "require_cn": False}, found) == (Difference("ttl", "1h", "24h"),)


def test_of_a_thing_that_is_not_there_every_field_is_told() -> None:
    assert differences({"ttl": DAY}, None) == (Difference("ttl", "absent", "24h"),)


@pytest.mark.parametrize(("seconds", "text"), [(86400, "24h"), (5400, "90m"), (61, "61s"), (0, "0s")])
def test_a_duration_is_written_as_vault_writes_it(seconds: int, text: str) -> None:
    assert str(Duration(seconds)) == text


VALUES = st.one_of(st.booleans(), st.integers(0, 10**9), st.text(), st.lists(st.text()).map(tuple))


@given(VALUES)
def test_whatever_vault_holds_is_shown_as_one_line_of_printable_ascii(value: object) -> None:
    text = shown(value)
    assert text.isascii()
    assert text.isprintable()
    assert text


ARGUMENT = st.text(st.characters(codec="utf-8", exclude_characters="\0"))


@given(st.lists(ARGUMENT, min_size=1))
def test_a_command_line_splits_into_the_words_it_was_made_of(words: list[str]) -> None:
    assert shlex.split(commands.line(*words)) == ["vault", *words]


@settings(max_examples=30, deadline=None)
@given(st.lists(ARGUMENT, min_size=1, max_size=4))
def test_a_real_shell_takes_a_command_line_as_it_was_meant(words: list[str]) -> None:
    script = "vault() { printf '%s\\0' \"$@\"; }\n" + commands.line(*words)
    done = subprocess.run(["sh"], input=script.encode(), capture_output=True, check=True)
    assert done.stdout.decode().split("\0")[:-1] == words


VALUE_TEXT = st.text("@\\-,a ='\"$\n").filter(lambda text: text != "-" and not text.startswith("\\@"))


@given(st.dictionaries(st.from_regex(r"[a-z_]{1,9}", fullmatch=True), VALUE_TEXT))
def test_the_cli_reads_every_field_back_and_never_a_file(values: dict[str, Value]) -> None:
    words = shlex.split(commands.fields("write", "pki/roles/pods", values))[3:]
    found = {name: _as_the_cli_reads(value) for name, _, value in (word.partition("=") for word in words)}
    assert found == values


def _as_the_cli_reads(value: str) -> str:
    """Vault's kv-builder: `@` begins a file's name, a backslash before it takes that meaning away."""
    assert not value.startswith("@")
    assert value != "-"
    return value[1:] if value.startswith("\\@") else value


@pytest.mark.parametrize("value", ["-", "\\@file"])
def test_what_the_cli_cannot_be_told_is_refused(value: str) -> None:
    with pytest.raises(ValueError, match="cannot be given"):
        commands.text(value)


def test_a_here_document_ends_where_it_should() -> None:
    with pytest.raises(ValueError, match="EOF"):
        commands.here_document("cat", "a\nEOF\nrm")


@given(st.text(), st.text(), st.text())
def test_a_dry_run_prints_comments_and_commands_and_no_other_line(name: str, found: str, wanted: str) -> None:
    lines: list[str] = []
    report = command.TextReport(lines.append, dry_run=True)
    differing = (Difference(name, shown(found), wanted),)
    report.add(Result(name, Status.WOULD_CHANGE, differing, "vault read x"))
    report.end(None)
    assert [line for line in lines if not line.startswith("# ")] == ["vault read x"]
    assert all(len(line.splitlines()) == 1 for line in lines)


def test_the_payload_says_durations_as_text() -> None:
    assert payload({"ttl": DAY, "flag": False, "list": ("a",)}) == {"ttl": "24h", "flag": False, "list": ("a",)}
