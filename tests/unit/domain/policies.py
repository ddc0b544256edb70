"""Rules and what they decide, for the tests of the policy: a rule `shop` that grants names, addresses and URIs."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import replace

from certmanager.domain.limits import Grants
from certmanager.domain.model import Pod, Request
from certmanager.domain.policy import IdentityPolicy, Rule
from certmanager.domain.request import Rejection, Verdict, decide_request
from certmanager.domain.terms import Defaults
from tests.unit.domain.builders import DEFAULTS, service

TRUSTING = replace(DEFAULTS, trust_domain="example.org")
GRANTS = Grants(
    dns=("shop.example.com", "*.below.example.com"),
    wildcards=("*.wild.example.com",),
    networks=(ipaddress.ip_network("10.20.0.0/16"), ipaddress.ip_network("fd00:20::/64")),
    uris=("https://shop.example.com/exact", "https://shop.example.com/app/*", "urn:example:*"),
)
SHOP = Rule("shop", namespaces=("default",), grants=GRANTS)


def no_labels(namespace: str) -> Mapping[str, str]:
    """For rules that do not go by labels."""
    raise AssertionError(f"the labels of {namespace} do not matter here")


def terms(rule: Rule, configured: Defaults = DEFAULTS) -> Defaults:
    """The settings as the rule has them in `default`."""
    return IdentityPolicy((rule,), given=True).defaults(configured, "default", no_labels)


def decided(of: Pod, rule: Rule, configured: Defaults = DEFAULTS) -> Verdict:
    """What a pod with the Service `web` gets under the rule."""
    return decide_request(of, [service()], terms(rule, configured))


def refused(of: Pod, rule: Rule, configured: Defaults = DEFAULTS) -> Rejection:
    """Why it gets nothing."""
    verdict = decided(of, rule, configured)
    assert isinstance(verdict, Rejection), verdict
    return verdict


def granted(of: Pod, rule: Rule, configured: Defaults = DEFAULTS) -> Request:
    """What it gets."""
    verdict = decided(of, rule, configured)
    assert isinstance(verdict, Request), verdict
    return verdict
