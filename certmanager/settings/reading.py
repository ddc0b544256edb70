"""Reads the settings, flags, then the environment, then a YAML file, and says what is wrong with all of them at once.

The first step of `podcert run`; `podcert explain` reads them too. No value is repeated in a message: one may be a token.
"""

from __future__ import annotations

from difflib import get_close_matches
from pathlib import Path

import yaml
from pydantic import ValidationError

from certmanager.domain.problems import shown
from certmanager.settings.fields import Settings, variable


class SettingsError(Exception):
    """Settings that cannot be used; the text has one line per field: its variable and the rule."""


def load(file: Path | None = None, **flags: object) -> Settings:
    """Reads the settings.

    Args:
        file: a YAML file, or None.
        flags: values given on the command line; None means not given.

    Raises:
        SettingsError: with one line per field that is wrong.
    """
    if file is not None and (problem := _file_problem(file)):
        raise SettingsError(f"settings file {file}: {problem}")
    given = {name: value for name, value in flags.items() if value is not None}
    source = type("Settings", (Settings,), {"yaml_path": file, "__doc__": Settings.__doc__})
    try:
        settings = source(**given)
    except ValidationError as error:
        raise SettingsError(_explain(error)) from None
    assert isinstance(settings, Settings)  # noqa: S101 - for the type checker
    return settings


def _file_problem(file: Path) -> str | None:
    """What keeps the file from being read as settings, without any of its values: one of them may be a token."""
    try:
        content = yaml.safe_load(file.read_text("utf-8"))
    except FileNotFoundError:
        return "there is no such file"
    except OSError as error:
        return f"it cannot be read: {error.strerror}"
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        mark = getattr(error, "problem_mark", None)
        return f"it is not YAML{f' (line {mark.line + 1})' if mark else ''}; write `key: value` lines"
    if not isinstance(content, dict):
        return None if content is None else "must be a mapping: `key: value` lines"
    known = {*Settings.model_fields, *(variable(name) for name in Settings.model_fields if name.startswith("vault_"))}
    said = []
    for key in sorted(map(str, content.keys() - known)):
        near = get_close_matches(key.lower().removeprefix("podcert_"), known, 1)
        said.append(f"`{shown(key)}` is no setting{f', did you mean {near[0]}?' if near else ''}")
    return f"{'; '.join(said)}; see docs/settings.md" if said else None


def _explain(error: ValidationError) -> str:
    # `input` is left out on purpose: it may be a token. Settings that are no secret are named by their variable.
    lines = []
    for item in error.errors(include_url=False, include_context=False, include_input=False):
        field = str(item["loc"][0]) if item["loc"] else ""
        name = field if field.isupper() else variable(field) if field else "settings"
        lines.append(f"{name}: {item['msg'].removeprefix('Value error, ')}")
    return "\n".join(lines)
