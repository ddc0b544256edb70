"""docs/ca.md says what the command has and does."""

from __future__ import annotations

import re
from pathlib import Path

import click

from certmanager.cli import main
from certmanager.domain.ca_change import MEANING, Phase

PAGE = (Path(__file__).parents[3] / "docs" / "ca.md").read_text("utf-8")


def test_every_option_of_rotate_is_in_the_page_and_no_other() -> None:
    group = main.commands["ca"]
    assert isinstance(group, click.Group)
    options = {name for option in group.commands["rotate"].params for name in option.opts if name.startswith("--")}
    section = PAGE.partition("| option | meaning |")[2].partition("\n\n")[0]
    named = set(re.findall(r"--[a-z][a-z-]+", section))
    assert named | {"--kubeconfig", "--context", "--output"} == options


def test_the_table_of_phases_has_each() -> None:
    section = PAGE.partition("## Phases")[2].partition("## ")[0]
    assert re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE) == [str(phase) for phase in Phase]


def test_what_the_page_shows_of_a_phase_is_what_is_printed() -> None:
    assert f"phase: {Phase.DISTRIBUTING} ({MEANING[Phase.DISTRIBUTING]})" in PAGE
