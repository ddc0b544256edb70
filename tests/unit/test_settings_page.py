"""The page of settings is made from the code and is up to date."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from certmanager.settings import Settings, load, variable
from tests.unit.settings_page import PAGE, page


def test_the_page_says_what_the_code_says() -> None:
    assert PAGE.read_text("utf-8") == page(), "run: python -m tests.unit.settings_page > docs/settings.md"


def test_every_setting_has_its_line_with_a_meaning() -> None:
    lines = page().splitlines()
    for name in Settings.model_fields:
        (line,) = [each for each in lines if each.startswith(f"| `{variable(name)}` | `{name}` |")]
        assert re.search(r"\| [A-Z`][^|]{15,}\. \|$", line), f"{name} needs a description that is a sentence: {line}"


def test_no_setting_shows_as_a_type_of_the_library() -> None:
    assert not re.search(r"pydantic|PosixPath|SecretStr|None", page())


def test_the_example_file_can_be_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in Settings.model_fields:
        monkeypatch.delenv(variable(name), raising=False)
    (example,) = re.findall(r"```yaml\n(.*?)```", page(), re.DOTALL)
    file = tmp_path / "podcert.yaml"
    file.write_text(example)
    settings = load(file)
    assert {name: getattr(settings, name) for name in ("auth", "ttl", "namespaces")} == {
        "auth": "kubernetes",
        "ttl": 86400,
        "namespaces": ("shop", "default"),
    }
    assert set(yaml.safe_load(example)) <= set(Settings.model_fields)
