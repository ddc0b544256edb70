"""The page for users is made from the code and is up to date."""

from __future__ import annotations

import re
from pathlib import Path

from certmanager.domain.annotations import ANNOTATIONS
from certmanager.domain.annotations_doc import annotations_markdown
from certmanager.domain.reasons import Reason

PAGE = Path(__file__).parents[3] / "docs" / "annotations.md"


def test_the_page_says_what_the_code_says() -> None:
    remake = "from certmanager.domain.annotations_doc import annotations_markdown as page; print(page(), end='')"
    assert PAGE.read_text("utf-8") == annotations_markdown(), f'run: python -c "{remake}" > docs/annotations.md'


def test_every_annotation_and_every_reason_has_its_line() -> None:
    page = annotations_markdown()
    assert all(f"\n| `podcert.io/{spec.name}` | " in page for spec in ANNOTATIONS)
    assert all(f"\n| `{reason}` | {reason.meaning} |" in page for reason in Reason)


def test_every_reason_is_one_camel_case_word_and_has_a_meaning() -> None:
    for reason in Reason:
        assert re.fullmatch(r"(?:[A-Z][A-Za-z]*)+", reason)
        assert len(reason) <= 128
        assert reason.meaning.endswith(".")
