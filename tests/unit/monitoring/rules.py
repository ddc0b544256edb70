"""The rules of manifests/monitoring, and the PrometheusRule that is made from them.

python -m tests.unit.monitoring.rules > manifests/monitoring/prometheusrule.yaml
"""

from __future__ import annotations

from typing import Any, Final

import yaml

from tests.cluster.paths import REPOSITORY

FOLDER: Final = REPOSITORY / "manifests" / "monitoring"
PLAIN: Final = FOLDER / "podcert.rules.yaml"
OPERATOR: Final = FOLDER / "prometheusrule.yaml"

HEAD: Final = """\
# The alerts for the Prometheus operator (https://prometheus-operator.dev): those of podcert.rules.yaml, from which this is made.
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: certificate-manager
  namespace: podcert
  labels:
    app.kubernetes.io/name: certificate-manager
    app.kubernetes.io/part-of: podcert
    # Your Prometheus may select rules by a label, such as `release: …` for kube-prometheus-stack: add it here.
spec:
"""


def groups() -> list[dict[str, Any]]:
    """The groups of the plain file."""
    return list(yaml.safe_load(PLAIN.read_text("utf-8"))["groups"])


def alerts() -> dict[str, dict[str, Any]]:
    """Every alert by its name."""
    return {rule["alert"]: rule for group in groups() for rule in group["rules"] if "alert" in rule}


def prometheus_rule() -> str:
    """The text of prometheusrule.yaml: the plain file's, comments and all, under `spec`."""
    text = PLAIN.read_text("utf-8")
    lines = text[text.index("groups:\n") :].splitlines()
    return HEAD + "".join(f"  {line}\n" if line else "\n" for line in lines)


if __name__ == "__main__":
    print(prometheus_rule(), end="")
