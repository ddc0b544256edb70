"""A page of docs as a script: the commands of its `sh` blocks in order, in one shell, and what each block should print.

A `text` block directly after a `sh` block holds lines that have to be in that block's output; `…` stands for anything.
"""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from certmanager.observe.redact import redact

_FENCE: Final = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_MARK: Final = "@@ step "
_FINISHED: Final = "@@ finished"


@dataclass(frozen=True)
class Step:
    """One block: where it is (line of the page), what is run, and lines that its output has to hold."""

    line: int
    commands: str
    expected: tuple[str, ...] = ()


def steps(page: str) -> list[Step]:
    """The blocks of a page, in order."""
    found: list[Step] = []
    end = -1
    for block in _FENCE.finditer(page):
        language, body = block[1], block[2]
        follows = not page[end : block.start()].strip() if end >= 0 else False
        end = -1
        if language == "sh":
            found.append(Step(page.count("\n", 0, block.start()) + 1, body.rstrip("\n")))
            end = block.end()
        elif language == "text" and follows:
            last = found[-1]
            found[-1] = Step(last.line, last.commands, tuple(line.strip() for line in body.splitlines()))
    return found


def shows(output: str, expected: str) -> bool:
    """Whether a line of the output holds the expected text; `…` stands for anything within the line."""
    pattern = ".*?".join(re.escape(part) for part in expected.split("…"))
    return re.search(pattern, output) is not None


def script(blocks: list[Step], port: int) -> str:
    """All blocks as one bash script that ends at the first command that fails.

    Args:
        blocks: what is run.
        port: where a block that ends with `&` is going to listen; it is waited for, as a person would.
    """
    listening = f"for _ in {{1..150}}; do (: < /dev/tcp/127.0.0.1/{port}) 2>/dev/null && break; sleep 0.1; done"
    lines = ["set -euo pipefail", "trap 'kill $(jobs -p) 2>/dev/null || :' EXIT"]
    for index, step in enumerate(blocks):
        lines.append(f"echo {shlex.quote(f'{_MARK}{index}')}")
        if "s_client" in step.commands:
            # A Service's rules reach the node a moment after its pod is ready.
            lines += ["tries=0", f"until (\n{step.commands}\n); do ((++tries < 20)); sleep 0.5; done"]
        else:
            lines.append(step.commands)
        if step.commands.endswith("&"):
            lines.append(listening)
    return "\n".join([*lines, f"echo '{_FINISHED}'", ""])


@dataclass(frozen=True)
class Place:
    """Where the script runs: folder, environment, and the port that the page's port-forward gets."""

    folder: Path
    environment: Mapping[str, str]
    port: int


def run(blocks: list[Step], place: Place, seconds: float = 300.0) -> dict[int, str]:
    """Runs all blocks; returns the output of each that began, by index, without secrets. Ends all that it started."""
    log = place.folder / "output.log"
    with log.open("w") as output:
        process = subprocess.Popen(
            ["bash", "-c", script(blocks, place.port)],
            cwd=place.folder,
            env=place.environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            output.write("\n(not done in time)\n")
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
    parts = re.split(rf"^{_MARK}(\d+)$", redact(log.read_text(errors="replace")), flags=re.MULTILINE)
    return {int(parts[index]): parts[index + 1] for index in range(1, len(parts), 2)}


def problem(blocks: list[Step], outputs: Mapping[int, str]) -> str | None:
    """What went wrong, with the line of the page and the end of the output; None when nothing did."""
    for index, step in enumerate(blocks):
        output = outputs.get(index, "")
        ended = index + 1 in outputs or _FINISHED in output
        if not ended:
            return f"line {step.line}: failed:\n{step.commands}\n\n{output[-3000:]}"
        missing = [line for line in step.expected if not shows(output, line)]
        if missing:
            return f"line {step.line}: its output lacks {missing}:\n{step.commands}\n\n{output[-3000:]}"
    return None
