"""A policy file is read strictly: all of it, or a list of everything that is wrong, each with its line."""

from __future__ import annotations

import contextlib
import ipaddress
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from certmanager.domain.limits import Grants
from certmanager.domain.model import KeyType, Mode, Rotation
from certmanager.domain.policy import IdentityPolicy, Rule
from certmanager.policy.parse import KEYS, RULES_LIMIT, PolicyError, parse_policy

PAGE = (Path(__file__).parents[3] / "docs" / "policy.md").read_text("utf-8")


def problems(text: str) -> str:
    with pytest.raises(PolicyError) as caught:
        parse_policy(text)
    return str(caught.value)


def rule_with(line: str) -> str:
    return f"rules:\n  - name: r\n    namespaces: [a]\n    {line}\n"


def test_the_example_of_the_docs_is_read_key_by_key() -> None:
    (example,) = re.findall(r"```yaml\n(rules:.*?)```", PAGE, re.DOTALL)
    shop, payments, nobody = parse_policy(example).rules
    assert shop == Rule(
        name="shop",
        namespaces=("shop", "shop-*"),
        mount="pki-shop",
        sign_role="shop",
        roles=("shop-long",),
        modes=(Mode.SIGN,),
        key_types=(KeyType.EC_256, KeyType.EC_384),
        ttl=86400,
        max_ttl=7 * 86400,
        rotations=(Rotation.RESTART, Rotation.REFRESH),
        grants=Grants(
            dns=("shop.example.com", "*.shop.example.com"),
            wildcards=("*.shop.example.com",),
            networks=(ipaddress.ip_network("10.20.0.0/16"), ipaddress.ip_network("fd00:20::/64")),
            uris=("https://shop.example.com/*", "urn:example:shop"),
        ),
    )
    assert payments.namespace_labels == {"example.com/team": "payments"}
    assert (nobody.namespaces, nobody.enroll) == (("*",), False)


def test_the_table_of_the_docs_has_every_key_and_no_other() -> None:
    section = PAGE.split("\n## The keys of a rule\n")[1].split("\n## ")[0]
    rows = [line.split("|")[1] for line in section.splitlines() if line.startswith("| `")]
    assert sorted(key for row in rows for key in re.findall(r"`(\w+)`", row)) == sorted(KEYS)


def test_a_policy_without_rules_is_a_policy() -> None:
    assert parse_policy("rules: []") == IdentityPolicy((), given=True)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "it is empty"),
        ("# nothing\n", "it is empty"),
        ("- a", "line 1: the file: must be a mapping"),
        ("rulez: []", "line 1: rulez: is no key of the file; did you mean rules?"),
        ("rules: {}", "line 1: rules: must be a list"),
        ("rules: [x]", "line 1: a rule: must be a mapping"),
        ("rules:\n  - namespaces: [a]", "line 2: name: is missing"),
        ("rules:\n  - name: Bad Name\n    namespaces: [a]", 'line 2: name="Bad Name": must be a-z'),
        ("rules:\n  - name: r", "line 2: rule r: namespaces: or namespace_labels must say what the rule is for"),
        ("rules: [", "line 1: it is not YAML"),
        ("a: 1\n---\nb: 2", "it is not YAML"),
        ("rules: []\nrules: []", "line 2: rules: must not stand there twice"),
        ("[" * 100000, "it is not YAML"),
        ("a: &a [*a]", "is no key of the file"),
        ("\x00", "it is not YAML"),
        ("# " + "x" * 1024 * 1024, "more than 1048576 characters"),
    ],
)
def test_a_file_that_is_no_policy_is_refused(text: str, said: str) -> None:
    assert said in problems(text)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("nmae: x", "line 4: nmae: is no key of a rule; did you mean name?"),
        ("dns-names: [a.b]", "did you mean dns_names?"),
        ("modes: []", "line 4: rule r: modes: must not be an empty list"),
        ("modes: [sing]", 'modes="sing": must be one of sign, issue'),
        ("modes: [sign, sign]", "must not name the same value twice"),
        ("key_types: [ec-512]", 'key_types="ec-512": must be one of ec-256'),
        ("rotations: [often]", 'rotations="often"'),
        ("roles: [../sys]", 'roles="../sys": must be words of letters'),
        ("mount: pki/../sys", 'mount="pki/../sys"'),
        ("issuer: a/b", 'issuer="a/b": must be letters, digits'),
        ("issuer: ..", 'issuer="..": must be letters, digits'),
        ("mount: [pki]", "mount: must be text; write one value"),
        ("mount: yes", 'mount="yes": must be text; put it in quotes'),
        ("mount: null", 'mount="null": must be text'),
        ("ttl: 5 parsecs", 'ttl="5 parsecs": must be a duration'),
        ("{ttl: 2h, max_ttl: 1h}", ""),
        ("enroll: maybe", 'enroll="maybe": must be true or false'),
        ('dns_names: ["*"]', 'dns_names="*": must not be every name there is'),
        ("dns_names: [a..b]", 'dns_names="a..b"'),
        ("dns_names: [Shop.example.com]", "must be lower case"),
        ("dns_names: a.b", "dns_names: must be a list"),
        ("wildcards: [a.b]", "must begin with '*.'"),
        ("ip_ranges: [10.0.0.1/8]", "did you mean 10.0.0.0/8?"),
        ("ip_ranges: [ten]", "must be a CIDR block"),
        ("uris: ['https://*']", "must name a host after https://"),
        ("uris: ['https:///*']", "must name a host after https://"),
        ("uris: ['https://a.b/c*']", "must have '/' or ':' before the '*'"),
        ("uris: ['https://a.b/*/c']", "must have '*' as its last character only"),
        ("uris: ['https://me@a.b/*']", "must not have '@' or '%'"),
        ("uris: ['urn:*']", "must have '/' or ':' before the '*'"),
        ("namespace_labels: {}", "must be a mapping that is not empty"),
        ("namespace_labels: {a b: c}", "must have the key of a label"),
        ("namespace_labels: {a: true}", "must be text; put it in quotes"),
        ("<<: {mount: pki}", "<<: is no key of a rule"),
    ],
)
def test_every_mistake_is_told_with_its_line_field_value_and_rule(line: str, said: str) -> None:
    assert said in problems(rule_with(line))


def test_two_namespaces_patterns_with_other_characters_are_refused() -> None:
    assert 'namespaces="a?"' in problems('rules: [{name: r, namespaces: ["a?", "[ab]"]}]')


def test_bounds_that_contradict_each_other_are_refused() -> None:
    assert "must not be more than max_ttl (3600s)" in problems(rule_with("min_ttl: 2h\n    max_ttl: 1h"))
    assert 'ttl="7200s": must be between min_ttl and max_ttl' in problems(rule_with("ttl: 2h\n    max_ttl: 1h"))


def test_two_rules_of_one_name_are_refused() -> None:
    assert "must not stand there twice" in problems("rules: [{name: a, namespaces: [x]}, {name: a, namespaces: [y]}]")


def test_all_mistakes_are_told_at_once_and_a_long_list_is_counted() -> None:
    text = problems(
        "rules:\n" + "".join(f"  - name: r{i}\n    modes: [no-{i}]\n    namespaces: [a]\n" for i in range(30))
    )
    assert text.count("\n") == 20
    assert text.endswith("and 10 more problems")


def test_too_many_rules_are_refused() -> None:
    assert "must be at most 1000" in problems(f"rules: [{'{}, ' * (RULES_LIMIT + 1)}]")


def test_a_token_in_the_wrong_place_is_not_repeated() -> None:
    token = "hvs." + "CAESIJ" * 8
    assert token not in problems(rule_with(f"mount: '{token} '"))


SNIPPETS = st.lists(
    st.sampled_from(
        [
            "rules:",
            "- name: a",
            "  namespaces: [a]",
            "  ttl: 1h",
            "  uris: [x:y]",
            "[",
            "{",
            "*a",
            "&a",
            "!!binary x",
            "\t",
            "? ",
        ]
    ),
    max_size=12,
)


@given(st.text(max_size=80) | SNIPPETS.map("\n".join))
def test_any_text_is_a_policy_or_is_refused(text: str) -> None:
    with contextlib.suppress(PolicyError):
        assert parse_policy(text).given
