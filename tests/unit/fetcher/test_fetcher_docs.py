"""What the documentation says of settings and exit statuses is what the code does."""

from pathlib import Path

import pytest

from fetcher.flags import _EPILOG
from fetcher.settings import OPTIONS, Option

PAGE = (Path(__file__).parents[3] / "docs" / "fetcher.md").read_text(encoding="utf-8")
ROWS = [[cell.strip() for cell in line.strip("|").split("|")] for line in PAGE.splitlines() if line.startswith("|")]


@pytest.mark.parametrize("option", OPTIONS, ids=lambda option: option.variable)
def test_the_table_has_each_setting_with_its_default_and_help(option: Option) -> None:
    row = next(row for row in ROWS if row[0] == f"`{option.variable}`")
    assert row[1].strip("`") in {option.default, "(required)"}
    assert row[2].replace("`", "") == option.help


def test_the_table_has_no_setting_that_is_not_there() -> None:
    documented = {row[0].strip("`") for row in ROWS if row[0].startswith(("`POD", "`KUBERNETES"))}
    assert documented == {option.variable for option in OPTIONS}


def test_the_page_and_the_help_have_the_same_exit_statuses() -> None:
    told = [line.split()[0] for line in _EPILOG.splitlines() if line.startswith("  ")]
    documented = [status for row in ROWS for status in row[0].split(", ") if status.isdigit()]
    assert documented == told
