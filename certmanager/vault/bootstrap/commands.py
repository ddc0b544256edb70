"""The same thing said to Vault's own CLI: command lines that can be pasted into a shell, as `vault …` or `bao …`.

Sources: POSIX quoting (shlex), and the CLI's own reading of `key=value`, where `@` begins a file's name and `-` is the
standard input (https://developer.hashicorp.com/vault/docs/commands/write). Pure.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping

from certmanager.vault.bootstrap.compare import Value
from certmanager.vault.bootstrap.options import Duration


def line(*words: str) -> str:
    """`vault` and the words, quoted for a POSIX shell."""
    return shlex.join(("vault", *words))


def fields(verb: str, path: str, values: Mapping[str, Value]) -> str:
    """`vault write PATH key=value …` (or `patch`)."""
    return line(verb, path, *(f"{name}={text(value)}" for name, value in values.items()))


def text(value: Value) -> str:
    """A value as the CLI reads it. Raises ValueError for the two that it cannot be told: `-` and what begins with `\\@`."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, tuple):
        return ",".join(value)
    if isinstance(value, str):
        if value == "-" or value.startswith("\\@"):
            raise ValueError("a value that is '-' or begins with '\\@' cannot be given to the CLI")
        return f"\\{value}" if value.startswith("@") else value
    return str(value) if isinstance(value, Duration) else f"{value}"


def here_document(command: str, body: str) -> str:
    """A command that reads `body` from its standard input. The body must not have the line EOF."""
    if "EOF" in body.splitlines():
        raise ValueError("the text has the line EOF")
    return f"{command} <<'EOF'\n{body.rstrip()}\nEOF"
