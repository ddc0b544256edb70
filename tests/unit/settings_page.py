"""`docs/settings.md`, made from the settings themselves: the docs cannot say anything else than the code does.

    python -m tests.unit.settings_page > docs/settings.md

Here and not in the package: only whoever changes a setting needs it, and `test_settings_page` reminds them.
"""

from __future__ import annotations

import types
from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from typing import Any, Final, Literal, Union, get_args, get_origin

import click
from annotated_types import Ge, Gt, Le, Lt
from pydantic import BeforeValidator
from pydantic.fields import FieldInfo

from certmanager.cli import run
from certmanager.settings import Settings, variable
from certmanager.settings.checks import duration

PAGE: Final = Path(__file__).parents[2] / "docs" / "settings.md"

_HEAD: Final = """\
# Settings of the manager

<!-- Made from certmanager/settings/fields.py by tests/unit/settings_page.py; tests/unit/test_settings_page.py compares. -->

Every setting is an environment variable and a key of a YAML file; some are flags of `podcert run` too. A flag is stronger
than the environment, the environment is stronger than the file, and the file is stronger than the default. The file is
named by `--config` or `PODCERT_CONFIG`; without either there is none. All settings are read once, at the start, and checked
together: whatever is wrong is said with the variable, the rule and what to do, and the manager ends with status 2. A key
that is not in this table is an error in the file; a variable that is not in it is ignored.

`VAULT_*` variables mean what they mean to the
[Vault CLI](https://developer.hashicorp.com/vault/docs/commands#configure-environment-variables). Durations are written as
`90s`, `24h` or `1h30m`, or as seconds; lists with commas. What a pod may choose for itself is in
[annotations.md](annotations.md), the settings of the init container in [fetcher.md](fetcher.md).

| variable | YAML key | flag | values | default | meaning |
|---|---|---|---|---|---|
"""

_TAIL: Final = """
An example of a file:

```yaml
vault_addr: https://vault.vault.svc.cluster.local:8200
vault_cacert: /etc/podcert/vault-ca.pem
auth: kubernetes
ttl: 24h
roles: [pods-long, pods-client]
namespaces: [shop, default]
```
"""


def page() -> str:
    """The whole page, ending in one newline."""
    return _HEAD + "".join(_row(name, field) for name, field in Settings.model_fields.items()) + _TAIL


def _row(name: str, field: FieldInfo) -> str:
    flag = _flags().get(name)
    cells = (
        f"`{variable(name)}`",
        f"`{name}`",
        f"`{flag}`" if flag else "",
        _values(field),
        _default(field),
        field.description or "",
    )
    return "| " + " | ".join(cells) + " |\n"


def _flags() -> dict[str, str]:
    return {str(each.name): each.opts[0] for each in run.params if isinstance(each, click.Option)}


def _is_duration(field: FieldInfo) -> bool:
    return any(isinstance(each, BeforeValidator) and each.func is duration for each in field.metadata)


def _values(field: FieldInfo) -> str:
    kind = "a duration" if _is_duration(field) else next(_kinds(field.annotation), "text")
    limits = [_limit(each) for each in field.metadata]
    return ", ".join([kind, *(limit for limit in limits if limit)])


def _kinds(annotation: Any) -> Iterator[str]:
    if get_origin(annotation) is Literal:
        yield ", ".join(f"`{value}`" for value in get_args(annotation))
    elif get_origin(annotation) in (Union, types.UnionType):
        for part in get_args(annotation):
            yield from _kinds(part)
    elif get_origin(annotation) is tuple:
        yield "a list"
    elif isinstance(annotation, type):
        if issubclass(annotation, Enum):
            yield ", ".join(f"`{member.value}`" for member in annotation)
        elif annotation is not types.NoneType:
            yield _TYPES.get(annotation, "text")


_TYPES: Final = {bool: "`true`, `false`", int: "a whole number", float: "a number", Path: "a path"}


def _limit(condition: object) -> str:
    match condition:
        case Ge(ge=bound):
            return f"at least {bound}"
        case Gt(gt=bound):
            return f"more than {bound}"
        case Le(le=bound):
            return f"at most {bound}"
        case Lt(lt=bound):
            return f"less than {bound}"
    return ""


def _default(field: FieldInfo) -> str:
    value = field.default
    if value is None or value == ():
        return ""
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if _is_duration(field):
        return f"`{value:g}s`"
    if isinstance(value, Enum):
        value = value.value
    return f"`{value:.4g}`" if isinstance(value, float) else f"`{value}`"


if __name__ == "__main__":
    print(page(), end="")
