"""What must not be in the repository: keys, tokens, paths of somebody's machine, addresses of package registries."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

PATTERNS = {
    "a PEM private key with a body": re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----\s*\\?n?\s*[A-Za-z0-9+/]{40}"),
    "a Vault token": re.compile(r"\bhv[sb]\.[A-Za-z0-9_-]{24,}|(?<![\w.])s\.(?=\w*[0-9])[A-Za-z0-9]{24,}\b"),
    "a JSON Web Token": re.compile(r"\beyJ[A-Za-z0-9_-]{20,}\.eyJ[A-Za-z0-9_-]{20,}\."),
    "somebody's home folder": re.compile(r"(?<![\w.$~}-])/(home/[a-z]+|root|Users/[A-Za-z]+)/"),
    "a path of the machine it was built on": re.compile(r"(?<![\w.])/(work|tmp/(lead|mut|brief))/"),
    "the address of a package registry": re.compile(
        r"(pypi\.org|pythonhosted\.org|proxy\.golang\.org|sum\.golang\.org|deb\.debian\.org|registry\.npmjs\.org)",
        re.IGNORECASE,
    ),
    "a lock file's address": re.compile(r"^\s*--(extra-)?(index-url|find-links)|@ file:", re.MULTILINE),
}

EXCEPTIONS: dict[tuple[str, str], str] = {
    ("tests/unit/test_repository.py", "a lock file's address"): "the patterns themselves",
    ("tests/unit/vault/test_vault_errors.py", "a Vault token"): "made up, to show that no message quotes one",
}
"""By file and finding, the reason why it is no leak."""


def tracked() -> list[str]:
    """The files that git tracks, or the test is left out where this is no checkout (an unpacked archive)."""
    done = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip("not a git checkout")
    return [name for name in done.stdout.split("\0") if name and (ROOT / name).is_file()]


def findings() -> set[tuple[str, str]]:
    """File and what was found in it."""
    found = set()
    for name in tracked():
        text = (ROOT / name).read_text(encoding="utf-8", errors="replace")
        found |= {(name, what) for what, pattern in PATTERNS.items() if pattern.search(text)}
    return found


def test_nothing_is_in_the_repository_that_must_not_be() -> None:
    assert sorted(findings() - set(EXCEPTIONS)) == []


def test_every_exception_is_still_needed() -> None:
    assert sorted(set(EXCEPTIONS) - findings()) == []


@pytest.mark.parametrize(
    ("what", "text"),
    [
        (
            "a PEM private key with a body",
            "-----BEGIN PRIVATE KEY-----\n" + "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQ" * 2,
        ),
        ("a Vault token", "hvs." + "CAESIJ" * 8),
        ("a Vault token", "token s." + "abcd3fgh" * 3),
        ("somebody's home folder", "see /" + "home/jane/project"),
        ("the address of a package registry", "https://PyPI." + "org/simple"),
    ],
)
def test_the_search_finds_what_it_is_for(what: str, text: str) -> None:
    assert PATTERNS[what].search(text)
