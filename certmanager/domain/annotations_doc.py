"""`docs/annotations.md`, made from the tables that decide: the docs cannot say anything else than the code does."""

from __future__ import annotations

from typing import Final

from certmanager.domain.annotations import ANNOTATIONS, VALUE_LIMIT_BYTES, AnnotationSpec
from certmanager.domain.model import ENROLL_LABEL, PREFIX
from certmanager.domain.reasons import Reason

_HEAD: Final = f"""\
# Labels, annotations and reasons

<!-- Made from certmanager/domain/annotations.py and reasons.py; tests/unit/domain/test_annotations_doc.py compares. -->

A pod takes part when it carries the label `{ENROLL_LABEL}: "true"`. `"false"`, or no such label, means that it does
not; every other value is refused. The label and all annotations belong on the pod, which for a workload means on its
template.

## Annotations

All are optional. Values are read strictly: whatever is not understood is refused, and one Event tells everything that is
wrong with the pod, each time with the value, the rule and what to do. An annotation `{PREFIX}…` that is not in this
table is refused too, and so is a value over {VALUE_LIMIT_BYTES} bytes.
"""

_NAMES: Final = f"""\
### The pod's own names

Names come from what the API server knows of a pod, never from what the pod says of itself. A pod may choose among:

- `<service>.<namespace>.svc.<cluster-domain>`, `<service>.<namespace>.svc` and `<service>.<namespace>` of each Service
  whose selector matches it (not of type ExternalName, not without a selector);
- `<hostname>.<subdomain>.<namespace>.svc.<cluster-domain>` and its shorter forms, when `subdomain` is a headless Service
  that selects the pod: every pod of a StatefulSet has such a name;
- `<pod>.<namespace>.svc.<cluster-domain>`, only when no Service selects it, its name has no dot, and there is no Service
  of that name.

Without `{PREFIX}dns-names` it gets the long name of each Service and its own headless one, or else the last one. Any other
name needs a grant in the administrator's [policy](policy.md); that page also has the table of what a name may look like, and
shows `podcert explain`, which says what a pod would get and why.
"""

_REASONS: Final = """\
## Reasons

The same word is the Event's reason, the metric's label and the log's field.

| reason | meaning |
|---|---|
"""


def annotations_markdown() -> str:
    """The whole page, ending in one newline."""
    rows = "".join(_row(spec) for spec in ANNOTATIONS)
    table = f"\n| annotation | what it says | values | without it | rule | example |\n|---|---|---|---|---|---|\n{rows}"
    reasons = "".join(f"| `{reason}` | {reason.meaning} |\n" for reason in Reason)
    return f"{_HEAD}{table}\n{_NAMES}\n{_REASONS}{reasons}"


def _row(spec: AnnotationSpec) -> str:
    cells = (f"`{PREFIX}{spec.name}`", spec.meaning, spec.values, spec.default, spec.rule, f"`{spec.example}`")
    return "| " + " | ".join(cells) + " |\n"
