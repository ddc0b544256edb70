"""An Event's name is one that the API server takes, whatever the pod is called."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from certmanager.kube import project
from certmanager.kube.event_object import event_object

SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")


@given(st.integers(1, 60), st.sampled_from("-."))
def test_a_long_pods_event_is_not_cut_into_a_name_that_is_refused(tail: int, between: str) -> None:
    name = f"{'a' * (252 - tail)}{between}{'b' * tail}"
    pod = project.pod({"metadata": {"name": name, "namespace": "shop"}})
    made = event_object(pod, ("Normal", "Reason", "message"), 1, (1.8e9, 1.8e9))["metadata"]["name"]
    assert len(made) <= 253
    assert SUBDOMAIN.fullmatch(made)
