"""Prometheus and promtool, from Debian's package: the real ones, a server as a process of its own on the loopback."""

from __future__ import annotations

import contextlib
import json
import shutil
import socket
import subprocess
import urllib.parse
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.cluster import machine
from tests.cluster.paths import REPOSITORY, ClusterError
from tests.left_out import leave_out

RULES = REPOSITORY / "manifests" / "monitoring" / "podcert.rules.yaml"


def need() -> None:
    """Install the package where that is possible; else leave the test out."""
    try:
        machine.install(machine.MONITORING)
    except ClusterError as error:
        leave_out("Prometheus", str(error))


def promtool(*arguments: str, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
    """Run promtool; its status says what it found."""
    need()
    program = shutil.which("promtool")
    assert program is not None
    return subprocess.run([program, *arguments], input=stdin, capture_output=True, text=True, timeout=120, check=False)


@dataclass(frozen=True)
class Alert:
    """An alert that is pending or fires."""

    name: str
    state: str
    labels: dict[str, str]
    annotations: dict[str, str]


@dataclass(frozen=True)
class Prometheus:
    """A server that runs."""

    url: str

    def alerts(self) -> list[Alert]:
        """Those that fire."""
        found = [
            Alert(one["labels"]["alertname"], one["state"], one["labels"], one["annotations"])
            for one in self._get("alerts")["alerts"]
        ]
        return [one for one in found if one.state == "firing"]

    def names(self) -> set[str]:
        """The names of those that fire."""
        return {one.name for one in self.alerts()}

    def query(self, text: str) -> list[dict[str, Any]]:
        """The result of an instant query, a vector."""
        return list(self._get(f"query?query={urllib.parse.quote(text)}")["result"])

    def rules(self) -> list[dict[str, Any]]:
        """All rules, with their health."""
        return [rule for group in self._get("rules")["groups"] for rule in group["rules"]]

    def ready(self) -> bool:
        """It answers."""
        try:
            with urllib.request.urlopen(f"{self.url}/-/ready", timeout=5) as answer:  # noqa: S310 - http, loopback
                return bool(answer.status == 200)
        except OSError:
            return False

    def _get(self, path: str) -> Any:
        with urllib.request.urlopen(f"{self.url}/api/v1/{path}", timeout=10) as answer:  # noqa: S310 - http, loopback
            body = json.load(answer)
        assert body["status"] == "success", body
        return body["data"]


@contextlib.contextmanager
def serving(target: str, folder: Path, seconds: int = 1) -> Iterator[Prometheus]:
    """A Prometheus that scrapes `target` (host:port) and has the alerts, both every so many seconds.

    The rules are those of the manifest, word for word; only the pauses before an alert fires (`for`) are a second each.
    """
    need()
    program = shutil.which("prometheus")
    assert program is not None
    rules = yaml.safe_load(RULES.read_text())
    for group in rules["groups"]:
        for rule in group["rules"]:
            if "for" in rule:
                rule["for"] = "1s"
    (folder / "rules.yaml").write_text(yaml.safe_dump(rules))
    pace = f"{seconds}s"
    config = {
        "global": {"scrape_interval": pace, "scrape_timeout": pace, "evaluation_interval": pace},
        "rule_files": ["rules.yaml"],
        "scrape_configs": [
            {"job_name": "certificate-manager", "honor_labels": True, "static_configs": [{"targets": [target]}]}
        ],
    }
    (folder / "prometheus.yaml").write_text(yaml.safe_dump(config))
    port = free_port()
    options = [
        f"--config.file={folder / 'prometheus.yaml'}",
        f"--storage.tsdb.path={folder / 'tsdb'}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--storage.tsdb.retention.time=1h",
    ]
    with (folder / "prometheus.log").open("wb") as log:
        process = subprocess.Popen([program, *options], cwd=folder, stdout=log, stderr=log)
    try:
        yield Prometheus(f"http://127.0.0.1:{port}")
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(20)


def free_port() -> int:
    """A port of the loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
