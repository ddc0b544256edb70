"""What the documentation says of settings and exit statuses is what the code does."""

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from fetcher import publish
from fetcher.flags import _EPILOG
from fetcher.options import OPTIONS, Option
from fetcher.reload import SIGNALS

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


def snippet(language: str, mark: str) -> str:
    found = [text for text in re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL) if mark in text]
    assert len(found) == 1
    return str(found[0])


@pytest.fixture
def volume(tmp_path: Path) -> Path:
    with publish.staged(tmp_path, {"cert.pem": b"CERT\n", "key.pem": b"KEY\n", "ca-cert.pem": b"CA\n"}) as staged:
        staged.commit()
    return tmp_path


def test_the_python_way_to_read_a_pair_works_as_it_is_written(volume: Path) -> None:
    names: dict[str, Any] = {}
    exec(snippet("python", "read_pair"), names)  # noqa: S102 - the page's own text
    assert names["read_pair"](str(volume)) == (b"CERT\n", b"KEY\n")


def test_the_shells_way_to_read_a_pair_works_as_it_is_written(volume: Path, tmp_path: Path) -> None:
    target = tmp_path / "pair"
    text = snippet("sh", "cd -P").replace("/var/run/secrets/certs", str(volume)).replace("/tmp/pair.pem", str(target))  # noqa: S108
    subprocess.run(["sh", "-euc", text], check=True, timeout=20)
    assert target.read_bytes() == b"CERT\nKEY\n"


def test_the_page_names_every_signal() -> None:
    row = next(row for row in ROWS if row[0].startswith("`--signal"))
    assert set(re.findall(r"`([A-Z0-9]+)`", row[1])) == set(SIGNALS)


def test_the_pages_sidecar_is_the_examples() -> None:
    page = yaml.safe_load(snippet("yaml", "--refresh"))
    example = Path(__file__).parents[3] / "manifests" / "examples" / "nginx-refresh.yaml"
    deployment = next(d for d in yaml.safe_load_all(example.read_text()) if d["kind"] == "Deployment")
    spec = deployment["spec"]["template"]["spec"]
    assert spec["shareProcessNamespace"] is page["shareProcessNamespace"] is True
    told, used = page["initContainers"][0], spec["initContainers"][0]
    for field in ("name", "restartPolicy", "args", "startupProbe"):
        assert told[field] == used[field]
